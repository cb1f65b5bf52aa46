"""Access levels, and which one a user's grants give."""

from __future__ import annotations

from collections.abc import Mapping

NONE, READ, WRITE = "none", "ro", "rw"
LEVELS = (NONE, READ, WRITE)
"""Weakest first."""

Grants = Mapping[str, Mapping[str, str]]
"""A database (or ``*``) to ``{"": level of the database, collection (or ``*``): level}``."""


def allows(held: str, wanted: str) -> bool:
    """Whether a held level is at least the wanted one."""
    return LEVELS.index(held) >= LEVELS.index(wanted)
