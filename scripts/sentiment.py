"""Ask the served classifier for the sentiment of reviews: texts or a CSV in, a table or a CSV out.

python scripts/sentiment.py "A moving film." "Dull."      texts
python scripts/sentiment.py -                             one review a line of the standard input
python scripts/sentiment.py --csv reviews.csv --column text --output answers.csv
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from workshop.data.tables import read_table
from workshop.errors import DataInvalidError, WorkshopError, print_error
from workshop.files import standard_input, write_text
from workshop.settings import load_settings
from workshop.text.sentiment.client import Sentiment, SentimentClient
from workshop.text.sentiment.signatures import END_TO_END_ONNX, END_TO_END_PYTORCH
from workshop.triton.client import TritonClient

SHOWN = 80
ANSWER = ("label", "probability", "truncated")


def main(arguments: list[str] | None = None) -> int:
    """Classify what was given; the exit code is 1 when that failed, and then nothing was written."""
    options = parse_arguments(arguments)
    try:
        table = _from_csv(options) if options.csv else _from_arguments(options.texts)
        reviews = table[options.column].tolist()
        with TritonClient.from_settings(load_settings()) as client:
            answers = SentimentClient(client, options.model)(reviews)
        if options.output:
            columns = {name: [getattr(answer, name) for answer in answers] for name in ANSWER}
            write_text(options.output, table.assign(**columns).to_csv(index=False))
            print(f"wrote {len(answers)} answers to {options.output}")
        else:
            Console(soft_wrap=True).print(_shown(reviews, answers))
    except WorkshopError as error:
        print_error(error)
        return 1
    return 0


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="*", metavar="text", help="a review; - reads one a line from standard input")
    parser.add_argument("--csv", type=Path, help="a table with one review a row")
    parser.add_argument("--column", default="text", help="its column that holds the reviews (default: %(default)s)")
    parser.add_argument("--encoding", default="utf-8", help="of the table (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="write the table and the answers as CSV instead of showing them")
    models = [END_TO_END_ONNX.name, END_TO_END_PYTORCH.name]
    parser.add_argument("--model", default=models[0], choices=models, help="the ensemble (default: %(default)s)")
    options = parser.parse_args(arguments)
    if bool(options.texts) == bool(options.csv):
        parser.error("give texts or --csv, one of them")
    if options.texts:
        options.column = "text"
    return options


def _from_arguments(texts: list[str]) -> pd.DataFrame:
    reviews = []
    for text in texts:
        reviews += standard_input().splitlines() if text == "-" else [text]
    if not reviews:
        raise DataInvalidError("standard input holds no review", hint="one review a line")
    return pd.DataFrame({"text": reviews}, dtype=str)


def _from_csv(options: argparse.Namespace) -> pd.DataFrame:
    table = read_table(options.csv, str(options.csv), options.encoding)
    if options.column not in table.columns:
        raise DataInvalidError(
            f"{options.csv}: no column {options.column!r}; found {', '.join(map(str, table.columns))}",
            hint="--column NAME",
        )
    if taken := [name for name in ANSWER if name in table.columns]:
        raise DataInvalidError(
            f"{options.csv}: the answers would replace the column {' and '.join(taken)}", hint="rename it in the table"
        )
    return table


def _shown(reviews: list[str], answers: list[Sentiment]) -> Table:
    table = Table("review", "label", "probability", "cut")
    for review, answer in zip(reviews, answers, strict=True):
        shown = review if len(review) <= SHOWN else f"{review[: SHOWN - 1]}…"
        table.add_row(escape(shown), answer.label, f"{answer.probability:.3f}", "yes" if answer.truncated else "")
    return table


if __name__ == "__main__":
    sys.exit(main())
