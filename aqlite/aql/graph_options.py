"""``OPTIONS`` of traversals and path searches, with their defaults and ArangoDB's rules."""

from __future__ import annotations

from typing import Any

from aqlite.errors import ArangoError

_TRAVERSAL_DEFAULTS: dict[str, Any] = {
    "order": "dfs",
    "uniqueVertices": "none",
    "uniqueEdges": "path",
    "weightAttribute": "",
    "defaultWeight": 1,
    "vertexCollections": None,
    "edgeCollections": None,
}
_PATH_DEFAULTS: dict[str, Any] = {
    "weightAttribute": None,
    "defaultWeight": 1,
    "vertexCollections": None,
    "edgeCollections": None,
}


def traversal_options(given: dict[str, Any]) -> dict[str, Any]:
    """Complete options of a traversal.

    Raises:
        ArangoError: 10, for a combination that ArangoDB refuses.
    """
    options = {**_TRAVERSAL_DEFAULTS, **{key: given[key] for key in _TRAVERSAL_DEFAULTS if key in given}}
    if "order" not in given and given.get("bfs") is True:
        options["order"] = "bfs"
    _expect(options, "order", ("dfs", "bfs", "weighted"))
    _expect(options, "uniqueVertices", ("none", "path", "global"))
    if options["uniqueEdges"] == "global":
        raise _refused("uniqueEdges: 'global' is not supported, use 'path' or 'none'")
    _expect(options, "uniqueEdges", ("none", "path"))
    if options["uniqueVertices"] == "global" and options["order"] == "dfs":
        raise _refused("uniqueVertices: 'global' is only supported with order: 'bfs' or 'weighted'")
    if options["order"] == "weighted":
        _check_weight(options)
    return options


def path_options(given: dict[str, Any]) -> dict[str, Any]:
    """Complete options of a path search."""
    options = {**_PATH_DEFAULTS, **{key: given[key] for key in _PATH_DEFAULTS if key in given}}
    _check_weight(options)
    return options


def _check_weight(options: dict[str, Any]) -> None:
    weight = options["defaultWeight"]
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or weight < 0:
        raise ArangoError(1948, f"AQL: negative or invalid default weight {weight!r} (while parsing)")


def _expect(options: dict[str, Any], name: str, allowed: tuple[str, ...]) -> None:
    if options[name] not in allowed:
        raise _refused(f"{name} expects one of {', '.join(allowed)}, got {options[name]!r}")


def _refused(what: str) -> ArangoError:
    return ArangoError(10, f"AQL: bad parameter: {what} (while parsing)")
