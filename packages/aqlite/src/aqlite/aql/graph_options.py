"""``OPTIONS`` of traversals and path searches, with their defaults and ArangoDB's rules."""

from __future__ import annotations

from typing import Any

from aqlite.errors import ArangoError

_TRAVERSAL_DEFAULTS: dict[str, Any] = {
    "order": "dfs",
    "uniqueVertices": "none",
    "uniqueEdges": "path",
    "weightAttribute": None,
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
    _check_values(options)
    return options


def path_options(given: dict[str, Any]) -> dict[str, Any]:
    """Complete options of a path search."""
    options = {**_PATH_DEFAULTS, **{key: given[key] for key in _PATH_DEFAULTS if key in given}}
    _check_values(options)
    return options


def _check_values(options: dict[str, Any]) -> None:
    attribute = options["weightAttribute"]
    if attribute is not None and not isinstance(attribute, str):
        raise _refused(f"weightAttribute expects a string, got {attribute!r:.60}")
    for name in ("vertexCollections", "edgeCollections"):
        names = [options[name]] if isinstance(options[name], str) else options[name]
        if names is not None and not (isinstance(names, list) and all(isinstance(item, str) for item in names)):
            raise _refused(f"{name} expects a string or an array of strings, got {names!r:.60}")
        options[name] = names
    weight = options["defaultWeight"]
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or weight < 0:
        raise ArangoError(1948, f"AQL: negative or invalid default weight {weight!r} (while parsing)")


def _expect(options: dict[str, Any], name: str, allowed: tuple[str, ...]) -> None:
    if options[name] not in allowed:
        raise _refused(f"{name} expects one of {', '.join(allowed)}, got {options[name]!r}")


def _refused(what: str) -> ArangoError:
    return ArangoError(10, f"AQL: bad parameter: {what} (while parsing)")
