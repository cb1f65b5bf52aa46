"""What ties together the traces that one piece of work leaves: its request id, in errors, logs and at the servers.

Inside ``with request_id("run-7"):`` every request to Triton carries that id in the protocol's own field, every one to
the store in the header ``x-request-id``, and every line that is logged has it. Outside, each call of the Triton client
makes up one of its own.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

from workshop.errors import SettingsError

LogFormat = Literal["text", "json"]
REQUEST_LOG = "workshop.requests"
"""The logger that has a line for every request of the Triton client, at level INFO."""
HEADER = "x-request-id"

_CURRENT: ContextVar[str] = ContextVar("request_id", default="")
# what aqlite takes for an id, and what Triton puts into a line of its log as it is
_ID = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)


def new_request_id() -> str:
    """An id that no other request has."""
    return uuid.uuid4().hex[:16]


def current_request_id() -> str:
    """The id of the work under way, empty where it was given none."""
    return _CURRENT.get()


@contextmanager
def request_id(value: str = "") -> Iterator[str]:
    """Give an id to all that is asked inside the block; empty makes one up.

    Raises:
        SettingsError: the id holds other characters than letters, digits and ``.:/+=@-_``, or more than 128.
    """
    value = value or new_request_id()
    if not _ID.fullmatch(value):
        raise SettingsError(f"{value!r} cannot be a request id: expected at most 128 letters, digits and .:/+=@-_")
    token = _CURRENT.set(value)
    try:
        yield value
    finally:
        _CURRENT.reset(token)


def mention(text: str, value: str) -> str:
    """A message with the request's id, unless it names it already."""
    return text if not value or value in text else f"{text} (request id {value})"


def configure_logs(form: LogFormat, *, requests: bool, level: str = "WARNING") -> None:
    """Log to standard error, with ``requests`` also a line for every request to Triton.

    Args:
        form: ``text`` for people, or ``json``: one object a line, with ``request_id`` where there is one.
        requests: whether requests are logged.
        level: of all other loggers.
    """
    handler = logging.StreamHandler()
    handler.addFilter(_add_request_id)
    if form == "json":
        from pythonjsonlogger.json import JsonFormatter  # only where it is asked for

        names = {"asctime": "time", "levelname": "level", "name": "logger"}
        handler.setFormatter(JsonFormatter(("asctime", "levelname", "name", "message"), rename_fields=names))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger(REQUEST_LOG).setLevel(logging.INFO if requests else logging.WARNING)


def _add_request_id(record: logging.LogRecord) -> bool:
    if not hasattr(record, "request_id") and (value := current_request_id()):
        record.request_id = value
    return True
