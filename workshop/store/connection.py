"""Connect to ArangoDB, or to aqlite, through python-arango; its errors become the workshop's own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import requests
from arango import ArangoClient
from arango.database import StandardDatabase
from arango.exceptions import ArangoClientError, ArangoServerError
from arango.http import DefaultHTTPClient

from workshop.errors import (
    QueryError,
    SettingsError,
    StoreAuthError,
    StoreError,
    StoreSchemaError,
    StoreTimeoutError,
    StoreUnreachableError,
)
from workshop.logs import HEADER, current_request_id, mention
from workshop.settings import Settings

REQUEST_SECONDS = 300.0
"""Longest time one request may take; the driver's own default of 60 s is too short for building a vector index."""

CONNECT_SECONDS = 5.0
"""Longest time a server may take to accept a connection; of several coordinators the next one is tried after it."""

PROBE_SECONDS = 10.0
"""Longest time one of the questions of :func:`wait_ready` may take."""

# https://docs.arango.ai/arangodb/stable/develop/error-codes/
_SCHEMA_CODES = frozenset({1203, 1207, 1218, 1228, 1924, 1925})
_DATABASE_NOT_FOUND = 1228


def connect(
    settings: Settings, *, database: str | None = None, request_timeout: float = REQUEST_SECONDS
) -> StandardDatabase:
    """Open the workshop's database, and create it when the server does not have it yet.

    Of several coordinators the first is asked, as long as it can be reached, then the next. A request that was accepted
    and not answered is not sent to another one, which could do the same work twice.

    Args:
        settings: address, user and password of the server, or of the coordinators of a cluster.
        database: another database than ``settings.arango_database``.
        request_timeout: seconds one request may take.

    Raises:
        StoreUnreachableError: nothing answers at the address.
        StoreAuthError: user or password was refused.
    """
    name = database or settings.arango_database
    with store_errors(f"connect to {settings.effective_arango_url} as {settings.arango_user}"):
        system = _open(settings, "_system", request_timeout, retries=2)
        if not system.has_database(name):
            system.create_database(name)
        return _open(settings, name, request_timeout, retries=2)


def wait_ready(settings: Settings, *, timeout: float = 60.0) -> str:
    """Wait until the server answers and accepts the password.

    Returns:
        The server's version.

    Raises:
        StoreUnreachableError: it did not answer within ``timeout`` seconds.
        StoreAuthError: it answers, but refuses the user or the password.
    """
    end = time.monotonic() + timeout
    servers = len(settings.arango_hosts)
    while True:
        # of several servers each may be asked in turn
        limit = min(PROBE_SECONDS, max(end - time.monotonic(), 0.05) / servers)
        try:
            return server_version(_open(settings, "_system", limit, retries=0))
        except (StoreUnreachableError, StoreTimeoutError) as error:
            left = end - time.monotonic()
            if left <= 0:
                raise StoreUnreachableError(
                    f"no store answered at {settings.effective_arango_url} within {timeout:.0f} s: {error}",
                    hint="make up, or set ARANGO_URL to a running server",
                ) from error
            time.sleep(min(0.25, left))


def _open(settings: Settings, name: str, request_timeout: float, *, retries: int) -> StandardDatabase:
    """A database by name, without asking the server anything."""
    hosts = settings.arango_hosts
    http = _HttpClient(request_timeout=request_timeout, retry_attempts=retries, backoff_factor=0.2)
    client = ArangoClient(
        hosts=hosts,
        resolver_max_tries=len(hosts),
        http_client=http,
        serializer=_to_json,
        deserializer=orjson.loads,
    )
    # a coordinator whose machine is gone does not even refuse; the driver's sessions, made above, take one number only
    http.request_timeout = (min(CONNECT_SECONDS, request_timeout), request_timeout)
    return client.db(name, username=settings.arango_user, password=store_password(settings))


def change_password(settings: Settings, old: str) -> None:
    """Give the user of a server elsewhere the password of the settings.

    Args:
        settings: address, user and the new password.
        old: the password the server accepts now.

    Raises:
        SettingsError: the settings hold no password.
        StoreAuthError: the old password was refused.
        StoreUnreachableError: nothing answers at the address.
    """
    if not settings.arango_password:
        raise SettingsError("no new password is set", hint="write ARANGO_ROOT_PASSWORD=... into .env")
    database = connect(settings.model_copy(update={"arango_password": old}), database="_system")
    with store_errors(f"change the password of {settings.arango_user}"):
        database.update_user(settings.arango_user, password=settings.arango_password)


def server_version(database: StandardDatabase) -> str:
    """Version of the server, such as ``"3.12.6"``."""
    with store_errors("ask the store for its version"):
        return str(database.version())


def server_name(database: StandardDatabase) -> str:
    """Which server answers, such as ``"ArangoDB 3.12.6"`` or ``"aqlite 1.0.0 (speaks ArangoDB 3.12.6)"``."""
    with store_errors("ask the store what it is"):
        answer = database.version(details=True)
    stand_in = answer["details"].get("aqlite-version")
    spoken = f"ArangoDB {answer['version']}"
    return f"aqlite {stand_in} (speaks {spoken})" if stand_in else spoken


@contextmanager
def store_errors(action: str) -> Iterator[None]:
    """Turn what python-arango and its HTTP library raise inside the block into the workshop's store errors.

    Args:
        action: what the block does, in the infinitive; it opens the message.
    """
    try:
        yield
    except requests.exceptions.Timeout as error:
        raise StoreTimeoutError(
            f"could not {action}: no answer in time ({error})", hint="look at the server's log, then run it again"
        ) from error
    except (ConnectionError, requests.exceptions.RequestException, ArangoClientError) as error:
        raise StoreUnreachableError(
            f"could not {action}: {error}", hint="make up, or set ARANGO_URL to a running server"
        ) from error
    except ArangoServerError as error:
        raise _from_server(action, error) from error


class _HttpClient(DefaultHTTPClient):
    """The driver's HTTP client, but nothing is retried in silence, a timeout stays a timeout, and ids go along."""

    def send_request(self, session: requests.Session, method: str, url: str, headers: Any = None, **more: Any) -> Any:
        """Send a request, with the id of the work it belongs to."""
        if value := current_request_id():
            headers = {**(headers or {}), HEADER: value}
        return super().send_request(session, method, url, headers, **more)

    def create_session(self, host: str) -> requests.Session:
        """Make the session of one server."""
        session = super().create_session(host)
        for adapter in session.adapters.values():
            adapter.max_retries = adapter.max_retries.new(connect=0, read=False)
        return session


def _from_server(action: str, error: ArangoServerError) -> StoreError:
    code = error.error_code or 0
    message = f"could not {action}: the store answered HTTP {error.http_code}, error {code}: {error.error_message}"
    message = mention(message, current_request_id())
    if error.http_code in (401, 403):
        return StoreAuthError(
            message,
            hint="the server keeps the password it was made with: set ARANGO_ROOT_PASSWORD to that one, or "
            "make password, which gives the server the present one and keeps all data",
        )
    if code in _SCHEMA_CODES:
        hint = "check WORKSHOP_ARANGO_DATABASE" if code == _DATABASE_NOT_FOUND else "load the data first"
        return StoreSchemaError(message, hint=hint)
    if 1500 <= code < 1600:
        return QueryError(message)
    return StoreError(message)


def store_password(settings: Settings) -> str:
    """The password of the settings, else the one that the local stack wrote, else none."""
    if settings.arango_password:
        return settings.arango_password
    written = settings.stack_password_file
    return written.read_text(encoding="ascii").strip() if written.is_file() else ""


def _to_json(value: Any) -> str:
    # orjson would write NaN as null, and the loss would go unnoticed
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
