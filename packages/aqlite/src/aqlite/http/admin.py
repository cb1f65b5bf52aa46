"""Routes about the server itself."""

from __future__ import annotations

import os
import platform
import sys
import time

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


def metrics(request: Request) -> Reply:
    """GET /_admin/metrics[/v2]."""
    lines = [
        "# HELP arangodb_server_statistics_server_uptime_total Number of seconds elapsed since server start.",
        "# TYPE arangodb_server_statistics_server_uptime_total counter",
        f"arangodb_server_statistics_server_uptime_total {time.time() - request.server.started:.3f}",
        "",
    ]
    return Reply("\n".join(lines).encode(), content_type="text/plain; version=0.0.4")


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


def license_info(request: Request) -> Reply:
    """GET /_admin/license."""
    return Reply({"upgrading": False, "license": "none", "python": sys.version.split()[0]})
