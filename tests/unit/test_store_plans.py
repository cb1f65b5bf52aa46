"""Crossings of the network in the plans of a cluster, in the form that ``explain`` gives them."""

from __future__ import annotations

from workshop.store.plans import network_steps


def plan(*types: str, **subqueries: dict) -> dict:
    nodes = [{"type": kind, "id": number} for number, kind in enumerate(types)]
    return {"nodes": nodes + [{"type": "SubqueryNode", "subquery": inner} for inner in subqueries.values()]}


def test_a_plan_of_one_server_crosses_nothing():
    assert network_steps(plan("SingletonNode", "IndexNode", "FilterNode", "ReturnNode")) == {}


def test_crossings_are_counted_by_kind():
    joined = plan("SingletonNode", "IndexNode", "ScatterNode", "RemoteNode", "IndexNode", "RemoteNode", "GatherNode")
    assert network_steps(joined) == {"RemoteNode": 2, "ScatterNode": 1, "GatherNode": 1}


def test_crossings_of_subqueries_count_too():
    outer = plan("SingletonNode", "ReturnNode", inner=plan("RemoteNode", "GatherNode", inner=plan("RemoteNode")))
    assert network_steps(outer) == {"RemoteNode": 2, "GatherNode": 1}
