"""Access levels, and which one a user's grants give.

Source: https://docs.arango.ai/arangodb/stable/operations/administration/user-management/ (Permission Resolution)
"""

from __future__ import annotations

from collections.abc import Mapping

NONE, READ, WRITE = "none", "ro", "rw"
LEVELS = (NONE, READ, WRITE)
"""Weakest first."""

SYSTEM, ANY = "_system", "*"
_FIXED = {"_queues": READ, "_frontend": WRITE}

Grants = Mapping[str, Mapping[str, str]]
"""A database (or ``*``) to ``{"": level of the database, collection (or ``*``): level}``."""


def allows(held: str, wanted: str) -> bool:
    """Whether a held level is at least the wanted one."""
    return LEVELS.index(held) >= LEVELS.index(wanted)


def database_level(grants: Grants, database: str) -> str:
    """The database's own grant; without one the higher of the wildcard's and that on ``_system``."""
    own = _grant(grants, database, "")
    return own or _highest(_grant(grants, ANY, ""), _grant(grants, SYSTEM, ""))


def collection_level(grants: Grants, database: str, collection: str) -> str:
    """The collection's own grant; without one the highest of the wildcards' and of the database levels.

    System collections follow their database.
    """
    if collection.startswith("_"):
        if (database, collection) == (SYSTEM, "_users"):
            return NONE
        return _FIXED.get(collection) or database_level(grants, database)
    own = _grant(grants, database, collection)
    if own is not None:
        return own
    places = [(database, ""), (database, ANY), (ANY, ""), (ANY, ANY), (SYSTEM, "")]
    return _highest(*(_grant(grants, place, what) for place, what in places))


def _grant(grants: Grants, database: str, what: str) -> str | None:
    return grants.get(database, {}).get(what)


def _highest(*levels: str | None) -> str:
    return max((level for level in levels if level is not None), key=LEVELS.index, default=NONE)
