"""Fine-tune the sentiment classifier and write its weights with a manifest; rebuilds checkpoints/sentiment/.

python scripts/train_sentiment.py                                       the weights in checkpoints/sentiment/
python scripts/train_sentiment.py --csv reviews.csv --folder weights    own reviews: text, rating (praise above 0), film

Interrupted, it goes on where it was when it is started again with the same options.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress as ProgressBar

from workshop.data.sentiment import Reviews, load_movie_snippets, read_reviews, split_reviews
from workshop.errors import SettingsError, WorkshopError
from workshop.evaluate.sentiment import calibration
from workshop.evaluate.sentiment_training import FINE_TUNED, compare
from workshop.export.weights import MANIFEST
from workshop.files import sha256_of, write_text
from workshop.settings import load_settings
from workshop.text.sentiment.checkpoint import load_sentiment, published_path, save_sentiment
from workshop.text.sentiment.model import SentimentClassifier
from workshop.text.sentiment.training import Progress, SentimentTraining, fine_tune, predict
from workshop.text.sources import TextModelSource, minilm_source

HELD_OUT = 0.2


def main(arguments: list[str] | None = None) -> int:
    """Train, compare with the rivals, write; the exit code is 1 when that failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--csv", type=Path, help="own reviews instead of the movie-review snippets")
    parser.add_argument("--size", choices=["tiny", "default"], default="default", help="of the snippets")
    parser.add_argument("--epochs", type=int, default=SentimentTraining.epochs)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="0: as many as PyTorch takes")
    parser.add_argument("--folder", type=Path, help="default: checkpoints/sentiment; needed with --csv or --size tiny")
    options = parser.parse_args(arguments)
    console = Console(soft_wrap=True)
    try:
        train(options, console)
    except WorkshopError as error:
        console.print(f"[red]failed[/red]  {error}")
        return 1
    return 0


def train(options: argparse.Namespace, console: Console) -> None:
    """Train as the options say."""
    if options.folder is None and (options.csv or options.size == "tiny"):
        raise SettingsError("--csv and --size tiny do not replace the published weights", hint="add --folder weights")
    if options.threads:
        torch.set_num_threads(options.threads)
    settings = load_settings()
    source = minilm_source()
    reviews = read_reviews(options.csv) if options.csv else load_movie_snippets(settings, options.size)
    parts = split_reviews(reviews, held_out=HELD_OUT, seed=options.seed)
    config = SentimentTraining(epochs=options.epochs, seed=options.seed)
    state = settings.data_dir / "sentiment" / "training.pt"
    with ProgressBar(console=console) as bar:
        task = bar.add_task("training", total=None)

        def show(progress: Progress) -> None:
            bar.update(
                task, completed=progress.step, total=progress.steps, description=f"training, loss {progress.loss:.3f}"
            )

        model = fine_tune(source, parts[0], config, state_path=state, on_step=show)
    path = (options.folder or published_path(settings).parent) / published_path(settings).name
    name = options.csv.name if options.csv else f"movie-review snippets, {len(reviews)}"
    publish(path, model, source, parts, {"data": name, "training": asdict(config)}, console)


def publish(
    path: Path,
    model: SentimentClassifier,
    source: TextModelSource,
    parts: tuple[Reviews, Reviews],
    about: dict[str, Any],
    console: Console,
) -> None:
    """Write the weights, judge what the file holds beside the rivals, and write the manifest."""
    train_part, test = parts
    save_sentiment(path, model, source, about)
    restored, _ = load_sentiment(path, source)
    probabilities = predict(restored, source, test.texts)
    _, verdicts = compare(source, train_part, test, probabilities)
    manifest = {
        "origin": "trained by scripts/train_sentiment.py",
        "licence": "Apache-2.0",
        "base": {"name": source.name, "sha256": source.sha256},
        **about,
        "reviews": {
            "training": len(train_part),
            "held_out": len(test),
            "held_out_with_a_sign": int(test.decided.sum()),
        },
        "held_out_accuracy": {name: asdict(verdict.accuracy) for name, verdict in verdicts.items()},
        "ahead_of": {name: asdict(interval) for name, interval in verdicts[FINE_TUNED].ahead_of.items()},
        "rank_correlation": {name: verdict.rank_correlation for name, verdict in verdicts.items()},
        "calibration_error": calibration(probabilities[test.decided], test.labels[test.decided]).error,
        "files": {path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)}},
    }
    write_text(path.with_name(MANIFEST), json.dumps(manifest, indent=2) + "\n")
    for name, verdict in verdicts.items():
        console.print(f"[green]held-out accuracy[/green]  {name}: {verdict.accuracy}", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
