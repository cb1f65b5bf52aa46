"""Parameters of notebooks, checked before anything runs.

Papermill only warns about a name that the notebook does not declare, and the run then goes on with the defaults; here
it is an error. A value must also be of the kind of the default in the cell tagged ``parameters``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence

import papermill

from workshop.errors import RunnerError, UnknownParameterError
from workshop.runner.index import Entry
from workshop.settings import Settings


def parse_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """Split ``NAME=VALUE`` texts from a command line.

    Raises:
        RunnerError: a text has no ``=`` or no name.
    """
    parsed = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise RunnerError(f"{text!r} is not a parameter", hint="write NAME=VALUE, for example SEED=7")
        parsed[name.strip()] = value
    return parsed


def assign_parameters(entries: Sequence[Entry], given: Mapping[str, str]) -> dict[str, dict[str, object]]:
    """Decide which parameters each notebook gets.

    Args:
        entries: the notebooks about to run.
        given: what the user asked for, as text; every name must be declared by at least one of the notebooks.

    Returns:
        Notebook name to the parameters papermill injects.

    Raises:
        UnknownParameterError: none of the notebooks declares a name.
        RunnerError: a value is not of the kind of the default.
    """
    declared = {entry.name: declared_parameters(entry) for entry in entries}
    known = sorted(set().union(*declared.values()))
    if unknown := [name for name in given if name not in known]:
        raise UnknownParameterError(
            f"no parameter {', '.join(map(repr, unknown))} in {', '.join(declared)}; declared there: "
            f"{', '.join(known) or 'none'}",
            hint="look at the cell tagged 'parameters' near the top of the notebook",
        )
    assigned: dict[str, dict[str, object]] = {}
    for notebook, defaults in declared.items():
        assigned[notebook] = {
            name: _like(default, name, given[name]) for name, default in defaults.items() if name in given
        }
    return assigned


def given_settings(given: Mapping[str, str]) -> dict[str, str]:
    """Those of the given parameters that are settings: they hold for the whole run, not only where they are declared.

    Returns:
        Setting's name to the text given; an empty text leaves the setting as it is and is left out.
    """
    return {name.lower(): text for name, text in given.items() if name.lower() in Settings.model_fields and text}


def declared_parameters(entry: Entry) -> dict[str, object]:
    """Names and default values of a notebook's parameters; a default that is no literal is given as None."""
    inferred = papermill.inspect_notebook(str(entry.path))
    return {name: _literal(parameter["default"]) for name, parameter in inferred.items()}


def _literal(source: str) -> object:
    try:
        return ast.literal_eval(source)
    except (ValueError, SyntaxError):
        return None


def _like(default: object, name: str, text: str) -> object:
    """Read ``text`` as a value of the same kind as ``default``; text stays text where text is expected."""
    if isinstance(default, str):
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if default is not None and type(value) is not type(default):
        raise RunnerError(f"parameter {name}={text}: expected {type(default).__name__}, such as {default!r}")
    return value
