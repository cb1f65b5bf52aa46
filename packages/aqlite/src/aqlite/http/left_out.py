"""Routes of ArangoDB that aqlite knows and leaves out: each answers 501, and the README lists them."""

from __future__ import annotations

import re

LEFT_OUT: dict[str, tuple[str, ...]] = {
    "Views and analyzers": (
        "POST /_api/view",
        "* /_api/view/{name}",
        "* /_api/view/{name}/properties",
        "PUT /_api/view/{name}/rename",
        "POST /_api/analyzer",
        "DELETE /_api/analyzer/{name}",
    ),
    "Queries": (
        "PUT /_api/query/properties",
        "GET /_api/query/rules",
        "* /_api/query-cache",
        "* /_api/query-cache/{name}",
        "* /_api/query-plan-cache",
        "* /_api/aqlfunction",
        "* /_api/aqlfunction/{name}",
        "* /_api/traversal",
        "* /_api/control_pregel",
        "* /_api/control_pregel/{name}",
        "GET /_api/schema",
        "GET /_api/schema/{name}",
    ),
    "Distributed and older ways": (
        "* /_api/batch",
        "* /_api/simple/{name}",
        "* /_api/export",
        "* /_api/dump/{name}",
        "* /_api/endpoint",
        "* /_api/replication/{name}",
        "* /_api/wal/{name}",
        "* /_api/cluster/{name}",
        "* /_admin/cluster/{name}",
        "* /_admin/backup/{name}",
    ),
    "JavaScript": (
        "* /_api/foxx",
        "* /_api/foxx/{name}",
        "* /_api/tasks",
        "* /_api/tasks/{name}",
        "POST /_admin/execute",
        "POST /_admin/test",
        "* /_admin/aardvark",
        "* /_admin/aardvark/{name}",
        "* /_admin/routing/{name}",
    ),
    "The server": (
        "GET /_api/engine/stats",
        "* /_api/user/{name}/config",
        "GET /_admin/activities",
        "* /_admin/auth/reload",
        "* /_admin/crashes",
        "* /_admin/crashes/{name}",
        "GET /_admin/deployment/id",
        "GET /_admin/options-description",
        "GET /_admin/options-public",
        "PUT /_admin/server/mode",
        "* /_admin/server/jwt",
        "* /_admin/server/tls",
        "* /_admin/server/encryption",
        "* /_admin/server/api-calls",
        "PUT /_admin/license",
        "* /_admin/log",
        "* /_admin/log/{name}",
        "* /_admin/statistics-description",
        "* /_admin/usage-metrics",
        "* /_admin/telemetrics",
        "* /_admin/wal/{name}",
        "DELETE /_admin/shutdown",
        "GET /_admin/shutdown",
    ),
}


def _pattern(route: str) -> tuple[str, re.Pattern[str]]:
    method, path = route.split(" ")
    return method, re.compile(re.sub(r"\\{name\\}", ".+", re.escape(path)))


_PATTERNS = [_pattern(route) for routes in LEFT_OUT.values() for route in routes]


def is_left_out(method: str, path: str) -> bool:
    """Whether the route is one of ArangoDB's that aqlite has not."""
    return any(known in ("*", method) and pattern.fullmatch(path) for known, pattern in _PATTERNS)
