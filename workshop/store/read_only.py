"""Queries that a stranger may write: they read, and no more than so many rows, seconds and bytes.

The store itself holds the query to that: it runs in a stream transaction that declares no collection to write to, in
which ArangoDB refuses every change (error 1652), with ArangoDB's own limits of run time and memory. Nothing is judged
by the words of the query. https://docs.arango.ai/arangodb/stable/develop/transactions/stream-transactions/
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from arango.database import StandardDatabase
from arango.exceptions import ArangoServerError, TransactionAbortError

from workshop.errors import QueryError
from workshop.store.connection import store_errors

LONGEST_QUERY = 20_000
"""Characters."""
TRANSACTION_MB = 128


@dataclass(frozen=True)
class Limits:
    """How far a query may go.

    Attributes:
        rows: handed out at most.
        seconds: of run time.
        megabytes: of the store's memory.
    """

    rows: int = 200
    seconds: float = 5.0
    megabytes: int = 256


@dataclass(frozen=True)
class Found:
    """What a query gave.

    Attributes:
        rows: its results, at most ``Limits.rows``.
        more: whether there were more.
        seconds: how long it took, the way there and back included.
    """

    rows: list[Any]
    more: bool
    seconds: float


def read_only_query(
    database: StandardDatabase, text: str, bind_vars: Mapping[str, Any] | None = None, *, limits: Limits | None = None
) -> Found:
    """Run a query that can change nothing.

    Args:
        database: the store.
        text: AQL of any origin.
        bind_vars: its values.
        limits: how far it may go.

    Raises:
        QueryError: the query is blank, too long, wrong, would change something, or went beyond its limits.
        StoreError: as :func:`workshop.store.connection.store_errors`.
    """
    limits = limits or Limits()
    if not text.strip():
        raise QueryError("the query is blank", hint="RETURN 1, or one of the examples")
    if len(text) > LONGEST_QUERY:
        raise QueryError(f"the query has {len(text):,} characters, expected at most {LONGEST_QUERY:,}")
    with store_errors("run the query"):
        names = [found["name"] for found in database.collections() if not found["system"]]
        started = time.perf_counter()
        transaction = database.begin_transaction(
            read=names, allow_implicit=False, max_size=TRANSACTION_MB * 2**20, lock_timeout=int(limits.seconds) + 1
        )
        try:
            cursor = transaction.aql.execute(
                text,
                bind_vars=dict(bind_vars or {}),
                batch_size=limits.rows + 1,
                max_runtime=limits.seconds,
                memory_limit=limits.megabytes * 2**20,
                stream=True,  # ArangoDB then stops computing where reading stops
                ttl=int(limits.seconds) + 1,
            )
            rows = list(cursor.batch())
            cursor.close(ignore_missing=True)
        except ArangoServerError as error:
            raise _explained(error, limits) from error
        finally:
            # the store ends it by itself too; an error of the query is the one to tell
            with suppress(TransactionAbortError, ConnectionError):
                transaction.abort_transaction()
    return Found(rows[: limits.rows], len(rows) > limits.rows, time.perf_counter() - started)


def _explained(error: ArangoServerError, limits: Limits) -> Exception:
    """The store's refusal in words that fit the console; anything else as it is."""
    said = f"the store refused the query, error {error.error_code}: {error.error_message}"
    if error.error_code == 1652:
        return QueryError(said, hint="queries here may read only, and nothing of the system's collections")
    if error.error_code in (1500, 1521, 32):
        return QueryError(
            said, hint=f"a query may take {limits.seconds:g} s and {limits.megabytes} MB here: LIMIT what it looks at"
        )
    if error.error_code == 1203:
        return QueryError(said, hint="RETURN COLLECTIONS() lists what there is")
    if error.error_code is not None and 1500 <= error.error_code < 1600:
        return QueryError(said)
    return error
