"""The server's log: lines for people, or one JSON object a line."""

from __future__ import annotations

import logging

from pythonjsonlogger.json import JsonFormatter

from aqlite.http.observed import REQUEST_LOG

FORMATS = ("text", "json")
_FIELDS = ("asctime", "levelname", "name", "message")


def configure_logs(form: str, *, requests: bool) -> None:
    """Log warnings and errors to standard error, with ``requests`` also a line about every request.

    Args:
        form: ``text`` or ``json``.
        requests: whether every request is logged.
    """
    handler = logging.StreamHandler()
    if form == "json":
        names = {"asctime": "time", "levelname": "level", "name": "logger"}
        handler.setFormatter(JsonFormatter(_FIELDS, rename_fields=names))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    if requests:
        logging.getLogger(REQUEST_LOG).setLevel(logging.INFO)
