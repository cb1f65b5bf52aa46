"""Commands of ``scripts/`` that notebooks and documents name: the script, its subcommand and its options exist."""

from __future__ import annotations

import argparse
import functools
import importlib
import re
import sys
from unittest import mock

import nbformat
import pytest

from workshop.settings import PROJECT_ROOT

DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "deploy/**/*.md", "docker/**/*.md", "notebooks/**/*.ipynb", "notebooks/*.toml")
    for path in PROJECT_ROOT.glob(pattern)
)
COMMAND = re.compile(r"scripts/(\w+\.(?:py|sh))((?:[ \t]+(?:\\\n[ \t]*)?[^\s`#;|\"']+)*)")
SPAN = re.compile(r"`([a-z][a-z-]*(?: [^`\n]*)?)`")
OPTION = re.compile(r"^--?[a-zA-Z][\w-]*")


class Parsed(Exception):  # noqa: N818 - no error: it carries the parser out of the script
    """A script has reached its command line."""


@functools.cache
def parser_of(script: str) -> argparse.ArgumentParser | None:
    """The parser that a Python script hands its arguments to; None when it takes none."""
    module = importlib.import_module(f"scripts.{script.removesuffix('.py')}")
    if "argparse" not in vars(module):
        return None

    def stop(parser, *_, **__):
        raise Parsed(parser)

    with (
        mock.patch.object(argparse.ArgumentParser, "parse_known_args", stop),
        mock.patch.object(sys, "argv", [script]),
        pytest.raises(Parsed) as reached,
    ):
        module.main()
    return reached.value.args[0]


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser | None]:
    """The words that may come first; each has a parser of its own where the script uses subparsers."""
    first = next((action for action in parser._actions if not action.option_strings), None)
    choices = first.choices if first else None
    return choices if isinstance(choices, dict) else dict.fromkeys(choices or ())


def mistakes(script: str, words: list[str]) -> list[str]:
    """What a command names that its script does not have."""
    path = PROJECT_ROOT / "scripts" / script
    if not path.is_file():
        return [f"there is no scripts/{script}"]
    options = [found[0] for word in words if (found := OPTION.match(word))]
    if script.endswith(".sh"):
        text = path.read_text(encoding="utf-8")
        return [f"{script} has no {option}" for option in options if option not in text]
    parser = parser_of(script)
    if parser is None:
        return [f"{script} takes no {option}" for option in options]
    wrong = []
    if words and re.fullmatch(r"[a-z][a-z-]+", words[0]) and (known := subcommands(parser)):
        if words[0] not in known:
            return [f"{script} has no command {words[0]}"]
        parser = known[words[0]] or parser
    for option in options:
        if option not in parser._option_string_actions:
            wrong.append(f"{script} {words[0]}: no {option}")
    return wrong


def texts(path) -> list[str]:
    """What of a file people read: the sources of a notebook's cells, or the whole file."""
    if path.suffix == ".ipynb":
        return [cell.source for cell in nbformat.read(path, 4).cells]
    return [path.read_text(encoding="utf-8")]


def commands(text: str) -> list[tuple[str, list[str]]]:
    """Script and words of every command in a text; a span `` `pack --core x` `` belongs to a script named beside it."""
    found = [(script, words.replace("\\\n", " ").split()) for script, words in COMMAND.findall(text)]
    named = {script for script, _ in found if script.endswith(".py") and (PROJECT_ROOT / "scripts" / script).is_file()}
    for span in SPAN.findall(text):
        words = span.split()
        found += [(script, words) for script in named if (p := parser_of(script)) and words[0] in subcommands(p)]
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT_ROOT)))
def test_every_command_that_is_named_exists(path):
    wrong = [fault for text in texts(path) for script, words in commands(text) for fault in mistakes(script, words)]
    assert not wrong


def test_what_does_not_exist_is_found():
    text = (
        "`scripts/sagemaker.py deploy --dry-run` and `pack --plan FILE`, `scripts/stack.py fly`,\n"
        "    scripts/sagemaker.py pack --target X \\\n        --cores onnx   # --comment\n"
        "`scripts/nowhere.py`, `scripts/check_environment.py --all`, `scripts/build_tensorrt.sh --plan`"
    )
    assert {fault for script, words in commands(text) for fault in mistakes(script, words)} == {
        "sagemaker.py pack: no --plan",
        "stack.py has no command fly",
        "sagemaker.py pack: no --cores",
        "there is no scripts/nowhere.py",
        "check_environment.py takes no --all",
        "build_tensorrt.sh has no --plan",
    }
