"""Which attributes the ``OPTIONS`` of each statement may have."""

from __future__ import annotations

from typing import Any

_WRITE = {"waitForSync", "exclusive", "ignoreErrors", "refillIndexCaches"}
_MERGE = {"keepNull", "mergeObjects"}
_INDEX = {"indexHint", "forceIndexHint", "disableIndex", "useCache"}
_GRAPH = {"weightAttribute", "defaultWeight", "vertexCollections", "edgeCollections", "algorithm", "parallelism"}
_KNOWN: dict[str, set[str]] = {
    "FOR": _INDEX | {"maxProjections", "lookahead"},
    "traversal": _GRAPH
    | {"bfs", "order", "uniqueVertices", "uniqueEdges", "maxProjections", "useCache", "indexHint", "forceIndexHint"},
    "path search": _GRAPH | {"useCache", "indexHint", "forceIndexHint"},
    "COLLECT": {"method", "disableIndex"},
    "INSERT": _WRITE | _MERGE | {"overwrite", "overwriteMode", "versionAttribute"},
    "UPDATE": _WRITE | _MERGE | {"ignoreRevs", "versionAttribute"},
    "REPLACE": _WRITE | {"ignoreRevs", "versionAttribute"},
    "REMOVE": _WRITE | {"ignoreRevs"},
    "UPSERT": _WRITE | _MERGE | _INDEX | {"ignoreRevs", "readOwnWrites", "versionAttribute"},
}


def unknown_options(statement: str, options: dict[str, Any]) -> list[str]:
    """Names of the options that a statement does not have, each worth a warning."""
    return [name for name in options if name not in _KNOWN[statement]]
