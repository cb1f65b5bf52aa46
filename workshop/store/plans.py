"""What of a query's plan crosses the network of a cluster: the steps to look for in ``explain``.

On a cluster a coordinator plans a query and DB-Servers hold the data. The optimizer marks each crossing with a step of
its own; a plan with few of them is one that stays where the data are. A single server has none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from arango.database import StandardDatabase

from workshop.store.connection import store_errors

CROSSINGS = {
    "RemoteNode": "rows go from one server to another",
    "ScatterNode": "every row goes to every shard of a collection",
    "DistributeNode": "a row goes to the one shard that it belongs to",
    "GatherNode": "the coordinator collects the rows of several shards",
    "SingleRemoteOperationNode": "one document by its key, asked of the one server that has it",
    "MultipleRemoteModificationNode": "documents are written by the coordinator, in one request for each shard",
}
"""Type of a step to what happens there."""


def explain(database: StandardDatabase, query: str, **variables: object) -> dict[str, Any]:
    """The plan that the server would run.

    Args:
        database: of the query.
        query: AQL.
        variables: its bind variables; a collection's is ``**{"@name": "products"}``.

    Raises:
        QueryError: the server cannot plan it.
    """
    with store_errors("explain a query"):
        return database.aql.explain(query, bind_vars=variables)


def network_steps(plan: Mapping[str, Any]) -> dict[str, int]:
    """How often a plan crosses the network, by type of step; empty where it does not."""
    counts = Counter(node["type"] for node in _nodes(plan))
    return {kind: counts[kind] for kind in CROSSINGS if counts[kind]}


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The steps of a plan, and those of its subqueries that were not spliced into it."""
    for node in plan["nodes"]:
        yield node
        if "subquery" in node:
            yield from _nodes(node["subquery"])
