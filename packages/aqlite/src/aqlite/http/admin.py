"""Routes about the server itself."""

from __future__ import annotations

import os
import platform
import sys
import time
from datetime import datetime, timezone
from typing import Any

from aqlite import ARANGODB_VERSION, __version__
from aqlite.errors import ArangoError
from aqlite.http.request import Reply, Request, ok
from aqlite.storage.indexes import ALIASES, KINDS
from aqlite.storage.keygen import GENERATORS


def version(request: Request) -> Reply:
    """GET /_api/version."""
    shown = {"server": "arango", "license": "community", "version": ARANGODB_VERSION}
    if request.flag("details"):
        shown["details"] = {
            "mode": "server",
            "host": request.server.id,
            "aqlite-version": __version__,
            "architecture": "64bit",
            "platform": platform.system().lower(),
            "python-version": platform.python_version(),
            "server-version": ARANGODB_VERSION,
        }
    return Reply(shown)


def engine(request: Request) -> Reply:
    """GET /_api/engine."""
    supports = {"dfdb": False, "indexes": list(KINDS), "aliases": ALIASES}
    return Reply({"name": "rocksdb", "supports": supports})


def status(request: Request) -> Reply:
    """GET /_admin/status."""
    return Reply(
        {
            "server": "arango",
            "version": ARANGODB_VERSION,
            "license": "community",
            "mode": "server",
            "operationMode": "server",
            "foxxApi": False,
            "host": platform.node(),
            "pid": os.getpid(),
            "serverInfo": {
                "maintenance": False,
                "readOnly": False,
                "role": "SINGLE",
                "writeOpsEnabled": True,
                "progress": {"phase": "in wait", "feature": "", "recoveryTick": 0},
            },
        }
    )


def server_time(request: Request) -> Reply:
    """GET /_admin/time."""
    return ok({"time": time.time()})


def role(request: Request) -> Reply:
    """GET /_admin/server/role."""
    return ok({"role": "SINGLE", "mode": "default"})


def mode(request: Request) -> Reply:
    """GET /_admin/server/mode."""
    return ok({"mode": "default", "readOnly": False})


def server_id(request: Request) -> Reply:
    """GET /_admin/server/id."""
    raise ArangoError(501, "only available in a cluster; aqlite is a single server")


def availability(request: Request) -> Reply:
    """GET /_admin/server/availability."""
    return ok({"mode": "default"})


def target_version(request: Request) -> Reply:
    """GET /_admin/database/target-version."""
    major, minor, patch = ARANGODB_VERSION.split(".")
    return ok({"version": f"{int(major):d}{int(minor):02d}{int(patch):02d}"})


def statistics(request: Request) -> Reply:
    """GET /_admin/statistics."""
    return ok({"time": time.time(), "enabled": True, "server": {"uptime": time.time() - request.server.started}})


def echo(request: Request) -> Reply:
    """GET and POST /_admin/echo."""
    return ok(
        {
            "authorized": True,
            "user": request.user,
            "database": request.database,
            "protocol": "http",
            "requestType": request.method,
            "parameters": request.query,
            "headers": {name: value for name, value in request.headers.items() if name != "authorization"},
            "requestBody": request.body.decode("utf-8", "replace"),
        }
    )


def key_generators(request: Request) -> Reply:
    """GET /_api/key-generators."""
    return ok({"keyGenerators": list(GENERATORS)})


def views(request: Request) -> Reply:
    """GET /_api/view: aqlite has no views."""
    return ok({"result": []})


def compact(request: Request) -> Reply:
    """PUT /_admin/compact: returns unused pages of the file to the disk."""
    request.server.store.compact()
    return Reply({})


def options(request: Request) -> Reply:
    """GET /_admin/options: what ArangoDB calls them, as far as aqlite has them."""
    limits = request.server.limits
    return Reply(
        {
            "server.authentication": True,
            "database.extended-names": True,
            "http.max-body-size": limits.body_bytes,
            "query.max-runtime": limits.query_seconds,
            "query.memory-limit": limits.query_memory,
            "transaction.streaming-idle-timeout": limits.transaction_idle_seconds,
            "ttl.frequency": limits.expiry_seconds,
        }
    )


def support_info(request: Request) -> Reply:
    """GET /_admin/support-info."""
    return Reply(
        {
            "deployment": {"type": "single"},
            "date": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "host": {
                "id": request.server.id,
                "role": "SINGLE",
                "version": ARANGODB_VERSION,
                "license": "community",
                "os": platform.platform(),
                "platform": platform.system().lower(),
                "maintenance": False,
                "readOnly": False,
                "engine": {"name": "rocksdb"},
                "processStats": {"uptime": time.time() - request.server.started, "processId": os.getpid()},
                "cpuStats": {"numberOfCores": os.cpu_count()},
            },
        }
    )


def analyzers(request: Request) -> Reply:
    """GET /_api/analyzer: the built-in ones, of which ``TOKENS()`` knows ``identity`` and ``text_en``."""
    return ok({"result": [_analyzer(name) for name in ("identity", *(f"text_{code}" for code in _LANGUAGES))]})


def analyzer(request: Request) -> Reply:
    """GET /_api/analyzer/{name}."""
    name = request.path["name"].removeprefix("_system::").removeprefix("::")
    if name != "identity" and name.removeprefix("text_") not in _LANGUAGES:
        raise ArangoError(1202, f"unable to find analyzer '{name}'")
    return ok(_analyzer(name))


_LANGUAGES = ("de", "en", "es", "fi", "fr", "it", "nl", "no", "pt", "ru", "sv", "zh")


def _analyzer(name: str) -> dict[str, Any]:
    features = ["norm", "frequency"] if name == "identity" else ["norm", "frequency", "position"]
    if name == "identity":
        return {"name": name, "type": "identity", "properties": {}, "features": features}
    language = {
        "locale": name.removeprefix("text_"),
        "case": "lower",
        "stopwords": [],
        "accent": False,
        "stemming": True,
    }
    return {"name": name, "type": "text", "properties": language, "features": features}


def license_info(request: Request) -> Reply:
    """GET /_admin/license."""
    return Reply({"upgrading": False, "license": "none", "python": sys.version.split()[0]})
