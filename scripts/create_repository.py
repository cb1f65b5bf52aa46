#!/usr/bin/env python3
"""Put Hub models into Triton's model repository: text generators and text classifiers on the Python backend.

Without models named: facebook/opt-125m, gpt2 and distilbert-base-uncased-finetuned-sst-2-english where they can be had,
otherwise the SmolLM2 generator and the project's sentiment classifier, which need no model hub. Nothing is written
unless every model was found.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from workshop.errors import ModelSourceError, RepositoryError, WorkshopError, print_error
from workshop.settings import Settings, load_settings
from workshop.text.generation.entries import (
    DEFAULT_MAX_LENGTH,
    Entry,
    check_entries,
    classifier_entry,
    generator_entries,
    remove_entry,
    write_entry,
)
from workshop.text.generation.hub import HubModel, find_hub_model
from workshop.text.generation.smollm2 import GGUF_FILE, NAME, prepare_smollm2, smollm2_folder
from workshop.text.sentiment.prepare import prepare_sentiment
from workshop.text.sentiment.signatures import SENTIMENT_CLASSIFIER, SENTIMENT_MODELS
from workshop.triton.repository import read_config

DEFAULT_GENERATORS = ("facebook/opt-125m", "gpt2")
DEFAULT_CLASSIFIERS = ("distilbert-base-uncased-finetuned-sst-2-english",)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns 1 when it cannot be carried out, in which case nothing was written."""
    options = parse_arguments(arguments)
    try:
        settings = load_settings()
        repository = options.repository or settings.model_repository
        if options.remove:
            for name in options.remove:
                if not options.dry_run:
                    remove_entry(name, repository)
                print(f"{'would remove' if options.dry_run else 'removed'} {repository / name}")
            return 0
        entries, with_sentiment = collect(options, settings)
        if not entries:
            raise RepositoryError("no model is left to write", hint="name one: --gen-models or --class-models")
        check_entries(entries, repository)
        if with_sentiment:
            place_sentiment(settings.model_copy(update={"model_repository": repository}), dry_run=options.dry_run)
        for entry in entries:
            if not options.dry_run:
                write_entry(entry, repository)
            model = entry.signature.parameters["huggingface_model"]
            print(f"{'would write' if options.dry_run else 'wrote'} {repository / entry.name} ({model})")
    except WorkshopError as error:
        print_error(error)
        return 1
    return 0


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    models = {"type": _names, "default": [], "metavar": "MODEL,..."}
    parser.add_argument("--gen-models", **models, help=f"generators: Hub ids, folders, or {NAME}")
    parser.add_argument("--class-models", **models, help="classifiers: Hub ids or folders")
    parser.add_argument(
        "--gen-max-len",
        type=int,
        default=DEFAULT_MAX_LENGTH,
        help=f"tokens to generate when a request does not say (default {DEFAULT_MAX_LENGTH})",
    )
    parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"], default="fp32", help="of the generators")
    parser.add_argument(
        "--engine", choices=["torch", "llama.cpp"], default="torch", help=f"llama.cpp runs the 4-bit {NAME}"
    )
    parser.add_argument("--repository", type=Path, help="default: the setting WORKSHOP_MODEL_REPOSITORY")
    parser.add_argument("--dry-run", action="store_true", help="say what would be written; nothing is downloaded")
    parser.add_argument("--remove", type=_names, default=[], metavar="NAME,...", help="delete entries made here")
    return parser.parse_args(arguments)


def _names(text: str) -> list[str]:
    return [name for name in (part.strip() for part in text.split(",")) if name]


def collect(options: argparse.Namespace, settings: Settings) -> tuple[list[Entry], bool]:
    """The entries of the models that were named, or of the default set, in which a model may be missing.

    Also says whether the project's own classifier takes the place of the default ones.
    """
    named = options.gen_models or options.class_models
    download = not options.dry_run
    generators = [_generator(model, settings, download=download) for model in options.gen_models]
    classifiers = [find_hub_model(model, "text-classification", download=download) for model in options.class_models]
    with_sentiment = False
    if not named and options.engine == "torch":
        generators = _those_found(DEFAULT_GENERATORS, "text-generation", download=download)
        classifiers = _those_found(DEFAULT_CLASSIFIERS, "text-classification", download=download)
        with_sentiment = not classifiers
        if with_sentiment:
            print(f"classifier: {SENTIMENT_CLASSIFIER.name}, whose weights come with the project")
    if not generators and not named:
        print(f"generator: {NAME}, whose weights come from a package")
        generators = [_generator(NAME, settings, download=download)]
    entries = [entry for model in generators for entry in _generator_entries(model, options, settings)]
    return entries + [classifier_entry(model, settings.data_dir) for model in classifiers], with_sentiment


def place_sentiment(settings: Settings, *, dry_run: bool) -> None:
    """Place the project's sentiment classifier with the models that it chains.

    Raises:
        RepositoryError: the repository has another model under one of their names.
    """
    for signature in SENTIMENT_MODELS:
        folder = settings.model_repository / signature.name
        if folder.exists() and read_config(folder) != signature.to_config():
            raise RepositoryError(f"{folder} is there and is another model; it is left as it is", hint="rename it")
    if not dry_run:
        prepare_sentiment(settings)
    said = "would write" if dry_run else "wrote"
    steps = ", ".join(step.model for step in SENTIMENT_CLASSIFIER.steps)
    print(f"{said} {settings.model_repository / SENTIMENT_CLASSIFIER.name} (chains {steps})")


def _generator_entries(model: HubModel, options: argparse.Namespace, settings: Settings) -> list[Entry]:
    quantised = model.folder / GGUF_FILE
    return generator_entries(
        model,
        settings.data_dir,
        max_length=options.gen_max_len,
        engine=options.engine,
        precision=options.precision,
        gguf_file=quantised if options.engine == "llama.cpp" else None,
        name=f"{NAME}-q4" if options.engine == "llama.cpp" else "",
    )


def _generator(asked: str, settings: Settings, *, download: bool) -> HubModel:
    if asked != NAME:
        return find_hub_model(asked, "text-generation", download=download)
    if not download and not smollm2_folder(settings.data_dir).is_dir():
        raise ModelSourceError(
            f"{NAME} is not unpacked yet, and a dry run does not fetch it", hint="leave out --dry-run"
        )
    return find_hub_model(str(prepare_smollm2(settings.data_dir)), "text-generation")


def _those_found(models: tuple[str, ...], task: str, *, download: bool) -> list[HubModel]:
    found = []
    for model in models:
        try:
            found.append(find_hub_model(model, task, download=download))
        except ModelSourceError as error:
            print(f"left out {model}: {str(error).splitlines()[0]}")
    return found


if __name__ == "__main__":
    sys.exit(main())
