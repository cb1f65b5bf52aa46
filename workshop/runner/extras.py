"""Which optional packages a set of notebooks needs, and whether they are installed."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from workshop.errors import RunnerError
from workshop.runner.index import Entry
from workshop.settings import PROJECT_ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_NAME = re.compile(r"[A-Za-z0-9._-]+")


def packages_of(extra: str, project: Path = PROJECT_ROOT) -> list[str]:
    """Names of the packages that an extra of ``pyproject.toml`` adds, without those of the extras it builds on.

    Raises:
        RunnerError: there is no such extra.
    """
    described = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = described["optional-dependencies"]
    if extra not in extras:
        raise RunnerError(f"pyproject.toml has no extra {extra!r}; it has {', '.join(sorted(extras))}")
    names = [_NAME.match(requirement).group() for requirement in extras[extra]]
    return [name for name in names if name != described["name"]]


def check_extras(entries: Iterable[Entry]) -> None:
    """See that every package is installed that the notebooks name by their extras.

    Raises:
        RunnerError: one is not; the message says which notebook needs it, and what brings it.
    """
    for entry in entries:
        for extra in sorted(entry.extras):
            if missing := [name for name in packages_of(extra) if not _installed(name)]:
                raise RunnerError(
                    f"notebook {entry.name} needs the extra {extra!r}; not installed: {', '.join(missing)}",
                    hint=f"make setup, or in an environment of your own: pip install '.[{extra}]'",
                )


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
