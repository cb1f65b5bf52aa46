"""AQL lives in ``aql/*.aql``; this module finds those files and runs them with bind variables."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

from arango.database import StandardDatabase

from workshop.errors import QueryError
from workshop.store.connection import store_errors

logger = logging.getLogger(__name__)


def query_text(name: str) -> str:
    """The text of ``aql/<name>.aql``.

    Raises:
        QueryError: there is no such file.
    """
    folder = resources.files("workshop.store") / "aql"
    file = folder / f"{name}.aql"
    if not file.is_file():
        known = sorted(entry.name.removesuffix(".aql") for entry in folder.iterdir() if entry.name.endswith(".aql"))
        raise QueryError(f"there is no query {name!r}", hint=f"one of: {', '.join(known)}")
    return file.read_text(encoding="utf-8")


def run_query(database: StandardDatabase, name: str, bind_vars: Mapping[str, Any] | None = None) -> list[Any]:
    """Run ``aql/<name>.aql`` and return all its results; warnings of the server go to the log.

    Raises:
        QueryError: the store refuses the query, or it fails.
    """
    text = query_text(name)
    with store_errors(f"run query {name!r}"):
        cursor = database.aql.execute(text, bind_vars=dict(bind_vars or {}), batch_size=1000)
        for warning in cursor.warnings() or ():
            logger.warning("query %r: %s", name, warning.get("message", warning))
        return list(cursor)


def stream_query(
    database: StandardDatabase, name: str, bind_vars: Mapping[str, Any] | None = None, *, batch_size: int = 10_000
) -> Iterator[Any]:
    """Run ``aql/<name>.aql`` and give its results as the server finds them; neither side holds all of them.

    Args:
        database: the store.
        name: of the query.
        bind_vars: the values.
        batch_size: results in one answer of the server.

    Raises:
        QueryError: the store refuses the query, or it fails.
    """
    text = query_text(name)
    with store_errors(f"run query {name!r}"):
        yield from database.aql.execute(text, bind_vars=dict(bind_vars or {}), batch_size=batch_size, stream=True)


def run_query_on(
    database: StandardDatabase, name: str, collections: Mapping[str, str], bind_vars: Mapping[str, Any] | None = None
) -> list[Any]:
    """Run ``aql/<name>.aql``, whose ``@@name`` stand for collections that each catalogue has under names of its own.

    Args:
        database: the store.
        name: of the query.
        collections: a query's name of a collection to its name in the database; those that it does not use are left
            out.
        bind_vars: the values.

    Raises:
        QueryError: the store refuses the query, or it fails.
    """
    return run_query(database, name, {**(bind_vars or {}), **collection_bind_vars(query_text(name), collections)})


def collection_bind_vars(text: str, collections: Mapping[str, str]) -> dict[str, str]:
    """The bind variables of a query's ``@@name``; collections that it does not use are left out."""
    used = set(re.findall(r"@@(\w+)", text))
    return {f"@{part}": collection for part, collection in collections.items() if part in used}
