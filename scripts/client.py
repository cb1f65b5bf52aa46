#!/usr/bin/env python3
"""Ask a served generator or classifier: ``python scripts/client.py -m MODEL --prompt TEXT``.

Prints what the model takes and gives, and its answers as a table; with --stream the text as it comes, with --json
nothing but JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from workshop.errors import WorkshopError, print_error
from workshop.files import standard_input
from workshop.settings import load_settings
from workshop.text.generation.client import prompt_rows, stream
from workshop.triton.client import TritonClient
from workshop.triton.signature import ModelSignature
from workshop.triton.transport import Parameters

SAMPLING = {
    "max_tokens": int,
    "temperature": float,
    "top_p": float,
    "top_k": int,
    "seed": int,
    "num_sequences": int,
    "prompt_format": str,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when every prompt was answered, 1 on errors."""
    options = parse_arguments(arguments)
    try:
        prompts = list(read_prompts(options.prompt))
        with connect(options) as client:
            if options.stream:
                show_streams(client, options, prompts)
            else:
                show_answers(client, options, prompts)
    except WorkshopError as error:
        print_error(error)
        return 1
    return 0


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", required=True, help="name of the served model")
    parser.add_argument(
        "--prompt", action="append", required=True, metavar="TEXT", help="may be repeated; - reads standard input"
    )
    parser.add_argument("--url", help="host:port of Triton; default: the settings")
    parser.add_argument("--protocol", choices=["grpc", "http"], help="default: the settings")
    parser.add_argument("--stream", action="store_true", help="print the text as it comes")
    parser.add_argument("--json", action="store_true", help="one JSON object for each prompt, nothing else")
    parser.add_argument("--stop", action="append", metavar="TEXT", help="ends the text; may be repeated")
    parser.add_argument("--return-full-text", action="store_true", help="the prompt before the text")
    for name, kind in SAMPLING.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind)
    return parser.parse_args(arguments)


def connect(options: argparse.Namespace) -> TritonClient:
    """The client for the server that the options, else the settings name."""
    changes = {"triton_protocol": options.protocol} if options.protocol else {}
    given = {"url": options.url} if options.url else {}
    return TritonClient.from_settings(load_settings(**changes), **given)


def read_prompts(given: Sequence[str]) -> Iterator[str]:
    """The prompts of the command line; ``-`` stands for all of standard input as one prompt."""
    for prompt in given:
        yield standard_input().strip() if prompt == "-" else prompt


def sampling(options: argparse.Namespace) -> Parameters:
    """The request parameters that were given."""
    asked = {name: getattr(options, name) for name in SAMPLING if getattr(options, name) is not None}
    if options.stop:
        asked["stop"] = json.dumps(options.stop)
    if options.return_full_text:
        asked["return_full_text"] = True
    return asked


def show_streams(client: TritonClient, options: argparse.Namespace, prompts: list[str]) -> None:
    """Print each text as it comes."""
    for prompt in prompts:
        for index, piece in stream(client, options.model, prompt, parameters=sampling(options)):
            if options.json:
                print(json.dumps({"index": index, **vars(piece)}), flush=True)
            else:
                print(piece.text, end="", flush=True)
        if not options.json:
            print()


def show_answers(client: TritonClient, options: argparse.Namespace, prompts: list[str]) -> None:
    """Print the model's metadata and its answers as tables, or as JSON."""
    signature = client.signature(options.model)
    answer = client.infer(options.model, {"prompt": prompt_rows(prompts)}, parameters=sampling(options))
    if options.json:
        for number, prompt in enumerate(prompts):
            print(json.dumps({"prompt": prompt} | {name: _plain(array[number]) for name, array in answer.items()}))
        return
    console = Console(soft_wrap=True)
    console.print(metadata(signature))
    for number, prompt in enumerate(prompts):
        table = Table("Name", "Shape", "Data", title=escape(prompt), title_justify="left")
        for name, array in answer.items():
            shown = ", ".join(map(str, _plain(array[number])))
            table.add_row(name, str(list(array[number].shape)), escape(shown))
        console.print(table)


def metadata(signature: ModelSignature) -> Table:
    """What a model takes and gives."""
    table = Table("", "Name", "Type", "Shape", title=f"{signature.name}, batches of up to {signature.max_batch_size}")
    for kind, specs in (("input", signature.inputs), ("output", signature.outputs)):
        for spec in specs:
            table.add_row(kind, spec.name, spec.dtype, str(list(spec.dims)))
    return table


def _plain(array: np.ndarray) -> list:
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in array.tolist()]


if __name__ == "__main__":
    sys.exit(main())
