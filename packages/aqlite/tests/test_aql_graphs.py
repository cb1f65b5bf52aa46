"""Traversals and path searches: every option on a small graph, and random graphs against NetworkX."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import networkx as nx
import pytest
from aql_support import Database
from hypothesis import given, settings
from hypothesis import strategies as st

#   A -> B -> C -> E      weights as written; a second edge collection f holds  A -> D
#   A -> D -> E -> A
EDGES = [("A", "B", 1), ("B", "C", 1), ("C", "E", 1), ("D", "E", 1), ("A", "D", 9), ("E", "A", 2)]


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database(tmp_path_factory.mktemp("graphs"))
    database.collection("v", [{"_key": key, "name": key.lower()} for key in "ABCDE"])
    database.collection("w", [{"_key": "X"}])
    edges = [{"_key": a + b, "_from": f"v/{a}", "_to": f"v/{b}", "w": w} for a, b, w in EDGES]
    database.collection("e", edges, kind="edge")
    database.collection("f", [{"_key": "AX", "_from": "v/A", "_to": "w/X"}], kind="edge")
    database.graph("g", "e", "v")
    yield database
    database.close()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("FOR x IN OUTBOUND 'v/A' e RETURN x._key", ["B", "D"]),
        ("FOR x IN INBOUND 'v/A' e RETURN x._key", ["E"]),
        ("FOR x IN ANY 'v/A' e SORT x._key RETURN x._key", ["B", "D", "E"]),
        ("FOR x IN OUTBOUND DOCUMENT('v/A') e RETURN x._key", ["B", "D"]),
        ("FOR x IN OUTBOUND 'v/A' GRAPH 'g' RETURN x._key", ["B", "D"]),
        ("FOR x IN OUTBOUND 'v/A' e, f RETURN x._id", ["v/B", "v/D", "w/X"]),
        ("FOR x IN OUTBOUND 'v/A' e, INBOUND f RETURN x._key", ["B", "D"]),
        ("FOR x IN ANY 'v/A' OUTBOUND e RETURN x._key", ["B", "D"]),
        ("FOR x IN 0..0 OUTBOUND 'v/A' e RETURN x._key", ["A"]),
        ("FOR x IN 2 OUTBOUND 'v/A' e RETURN x._key", ["C", "E"]),
        ("FOR x IN 0..2 OUTBOUND 'v/A' e RETURN x._key", ["A", "B", "C", "D", "E"]),
        ("FOR x IN 1..3 OUTBOUND 'v/A' e OPTIONS {order: 'bfs'} RETURN x._key", ["B", "D", "C", "E", "E", "A"]),
        ("FOR x IN 1..9 OUTBOUND 'v/A' e OPTIONS {order: 'bfs', uniqueVertices: 'global'} RETURN x._key",
         ["B", "D", "C", "E"]),
        ("FOR x IN 1..9 OUTBOUND 'v/A' e OPTIONS {uniqueVertices: 'path'} RETURN x._key", ["B", "C", "E", "D", "E"]),
        ("FOR x IN 3..3 OUTBOUND 'v/B' e OPTIONS {uniqueEdges: 'none'} RETURN x._key", ["A"]),
        ("FOR x, y IN OUTBOUND 'v/A' e RETURN y._key", ["AB", "AD"]),
        ("FOR x, y IN 0..0 OUTBOUND 'v/A' e RETURN y", [None]),
        ("FOR x, y, p IN 2 OUTBOUND 'v/A' e RETURN [p.vertices[*]._key, p.edges[*]._key]",
         [[["A", "B", "C"], ["AB", "BC"]], [["A", "D", "E"], ["AD", "DE"]]]),
        ("FOR x, y, p IN 1..3 OUTBOUND 'v/A' e FILTER p.vertices[1]._key == 'B' RETURN x._key", ["B", "C", "E"]),
        ("FOR x, y, p IN 1..3 OUTBOUND 'v/A' e FILTER p.edges[*].w ALL == 1 RETURN x._key", ["B", "C", "E"]),
        ("FOR x IN 1..3 OUTBOUND 'v/A' e PRUNE x._key == 'B' RETURN x._key", ["B", "D", "E", "A"]),
        ("FOR x, y IN 1..3 OUTBOUND 'v/A' e PRUNE y.w == 9 RETURN x._key", ["B", "C", "E", "D"]),
        ("FOR x, y, p IN 1..3 OUTBOUND 'v/A' e PRUNE LENGTH(p.edges) == 2 RETURN x._key", ["B", "C", "D", "E"]),
        ("FOR x IN 1..3 OUTBOUND 'v/A' e PRUNE stop = x._key IN ['B', 'D'] RETURN [x._key, stop]",
         [["B", True], ["D", True]]),
        ("FOR x, y, p IN 0..9 OUTBOUND 'v/A' e "
         "OPTIONS {order: 'weighted', weightAttribute: 'w', uniqueVertices: 'global'} RETURN [x._key, p.weights]",
         [["A", [0]], ["B", [0, 1]], ["C", [0, 1, 2]], ["E", [0, 1, 2, 3]], ["D", [0, 9]]]),
        ("FOR x IN 1..1 OUTBOUND 'v/A' e, f OPTIONS {vertexCollections: 'w'} RETURN x._key", ["X"]),
        ("FOR x IN 1..1 OUTBOUND 'v/A' e, f OPTIONS {edgeCollections: ['f']} RETURN x._key", ["X"]),
        ("FOR s IN v FILTER s._key IN ['A', 'B'] FOR x IN OUTBOUND s e RETURN [s._key, x._key]",
         [["A", "B"], ["A", "D"], ["B", "C"]]),
        ("FOR x IN OUTBOUND 'v/A' e FOR z IN OUTBOUND x e RETURN z._key", ["C", "E"]),
        ("FOR x, y IN OUTBOUND SHORTEST_PATH 'v/A' TO 'v/E' e RETURN [x._key, y._key]",
         [["A", None], ["D", "AD"], ["E", "DE"]]),
        ("FOR x IN OUTBOUND SHORTEST_PATH 'v/A' TO 'v/E' GRAPH 'g' OPTIONS {weightAttribute: 'w'} RETURN x._key",
         ["A", "B", "C", "E"]),
        ("FOR x IN INBOUND SHORTEST_PATH 'v/E' TO 'v/B' e RETURN x._key", ["E", "C", "B"]),
        ("FOR x IN ANY SHORTEST_PATH 'v/B' TO 'v/D' e RETURN x._key", ["B", "A", "D"]),
        ("FOR x IN OUTBOUND SHORTEST_PATH 'v/A' TO 'v/A' e RETURN x._key", ["A"]),
        ("FOR x IN OUTBOUND SHORTEST_PATH 'w/X' TO 'v/A' f RETURN x._key", []),
        ("FOR x IN OUTBOUND SHORTEST_PATH 'v/nobody' TO 'v/A' e RETURN x", []),
        ("FOR p IN OUTBOUND K_SHORTEST_PATHS 'v/A' TO 'v/E' e RETURN [p.vertices[*]._key, p.weight]",
         [[["A", "D", "E"], 2], [["A", "B", "C", "E"], 3]]),
        ("FOR p IN OUTBOUND K_SHORTEST_PATHS 'v/A' TO 'v/E' e OPTIONS {weightAttribute: 'w'} LIMIT 1 "
         "RETURN [p.edges[*]._key, p.weight]", [[["AB", "BC", "CE"], 3]]),
        ("FOR p IN 1..2 OUTBOUND K_PATHS 'v/A' TO 'v/E' e RETURN p.vertices[*]._key", [["A", "D", "E"]]),
        ("FOR p IN 1..9 OUTBOUND K_PATHS 'v/A' TO 'v/E' e RETURN LENGTH(p.edges)", [3, 2]),
        ("FOR p IN ANY ALL_SHORTEST_PATHS 'v/B' TO 'v/E' e SORT p.vertices[1]._key RETURN p.vertices[*]._key",
         [["B", "A", "E"], ["B", "C", "E"]]),
    ],
)  # fmt: skip
def test_graph_query(db: Database, query: str, expected: list) -> None:
    assert db.rows(query) == expected


@pytest.mark.parametrize("start", ["null", "5", "'no-id'", "{}", "{_id: 5}"])
def test_wrong_start_warns(db: Database, start: str) -> None:
    for query in (f"OUTBOUND {start} e", f"OUTBOUND SHORTEST_PATH {start} TO 'v/A' e"):
        result = db.result(f"FOR x IN {query} RETURN x")
        assert result.rows == []
        assert [warning["code"] for warning in result.warnings] == [10]


def test_edge_to_nowhere_gives_null_and_warns(db: Database) -> None:
    db.collection("dangling", [{"_from": "v/A", "_to": "v/gone"}], kind="edge")
    result = db.result("FOR x, y IN OUTBOUND 'v/A' dangling RETURN [x, y._to]")
    assert result.rows == [[None, "v/gone"]]
    assert result.warnings[0]["code"] == 1202
    db.drop("dangling")


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("FOR x IN OUTBOUND 'v/A' GRAPH 'none' RETURN x", 1924),
        ("FOR x IN OUTBOUND 'v/A' v RETURN x", 1218),
        ("FOR x IN OUTBOUND 'v/A' nowhere RETURN x", 1203),
        ("FOR x IN 2..1 OUTBOUND 'v/A' e RETURN x", 1501),
        ("FOR x IN -1 OUTBOUND 'v/A' e RETURN x", 1501),
        ("FOR y IN 1..2 FOR x IN y OUTBOUND 'v/A' e RETURN x", 1501),
        ("FOR x IN OUTBOUND 'v/A' e OPTIONS {uniqueVertices: 'global'} RETURN x", 10),
        ("FOR x IN OUTBOUND 'v/A' e OPTIONS {uniqueEdges: 'global'} RETURN x", 10),
        ("FOR x IN OUTBOUND 'v/A' e OPTIONS {order: 'sideways'} RETURN x", 10),
        ("FOR x IN OUTBOUND SHORTEST_PATH 'v/A' TO 'v/E' e OPTIONS {defaultWeight: -1} RETURN x", 1948),
        ("FOR x, x IN OUTBOUND 'v/A' e RETURN x", 1511),
        ("INSERT {} INTO v FOR x IN OUTBOUND 'v/A' GRAPH 'g' RETURN x", 1579),
    ],
)
def test_refused_graph_queries(db: Database, query: str, number: int) -> None:
    assert db.error(query).error_num == number


def test_negative_weights_are_refused(db: Database) -> None:
    db.collection("minus", [{"_from": "v/A", "_to": "v/B", "w": -1}], kind="edge")
    query = "FOR x IN OUTBOUND SHORTEST_PATH 'v/A' TO 'v/B' minus OPTIONS {weightAttribute: 'w'} RETURN x"
    assert db.error(query).error_num == 1948
    db.drop("minus")


# --- against NetworkX -----------------------------------------------------------------------------------------
graphs = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(1, 5)), max_size=16, unique_by=lambda e: e[:2]
)


class RandomGraph:
    """A graph in the database and the same one in NetworkX."""

    def __init__(self, db: Database, edges: list[tuple[int, int, int]]) -> None:
        self.db = db
        db.rows("FOR x IN re REMOVE x IN re")
        documents = [{"_from": f"rv/{a}", "_to": f"rv/{b}", "w": w} for a, b, w in edges]
        db.rows("FOR x IN @x INSERT x INTO re", {"x": documents})
        self.graph = nx.DiGraph()
        self.graph.add_nodes_from(range(7))
        self.graph.add_weighted_edges_from(edges, "w")

    def rows(self, query: str) -> list[Any]:
        return self.db.rows(query)


@pytest.fixture(scope="module")
def random_db(db: Database) -> Database:
    db.collection("rv", [{"_key": str(n)} for n in range(7)])
    db.collection("re", kind="edge")
    return db


@settings(max_examples=40, deadline=None)
@given(graphs)
def test_paths_agree_with_networkx(random_db: Database, edges: list[tuple[int, int, int]]) -> None:
    random = RandomGraph(random_db, edges)
    graph, ends = random.graph, "'rv/0' TO 'rv/6' re"
    reachable = nx.has_path(graph, 0, 6)
    simple = [[str(n) for n in path] for path in nx.all_simple_paths(graph, 0, 6, cutoff=4)]
    keys = "RETURN p.vertices[*]._key"
    assert sorted(random.rows(f"FOR p IN 1..4 OUTBOUND K_PATHS {ends} {keys}")) == sorted(simple)

    shortest = nx.all_shortest_paths(graph, 0, 6) if reachable else []
    expected = sorted([str(n) for n in path] for path in shortest)
    assert sorted(random.rows(f"FOR p IN OUTBOUND ALL_SHORTEST_PATHS {ends} {keys}")) == expected
    found = random.rows(f"FOR x IN OUTBOUND SHORTEST_PATH {ends} RETURN x._key")
    assert found in expected if reachable else found == []

    weighted = "OPTIONS {weightAttribute: 'w'}"
    weights = random.rows(f"FOR p IN OUTBOUND K_SHORTEST_PATHS {ends} {weighted} LIMIT 5 RETURN p.weight")
    ordered = nx.shortest_simple_paths(graph, 0, 6, weight="w") if reachable else ()
    assert weights == [nx.path_weight(graph, path, "w") for path in islice(ordered, 5)]
    lightest = random.rows(f"FOR x, y IN OUTBOUND SHORTEST_PATH {ends} {weighted} RETURN y.w")
    assert sum(w or 0 for w in lightest) == (weights[0] if weights else 0)


@settings(max_examples=40, deadline=None)
@given(graphs, st.integers(0, 2), st.integers(2, 4), st.sampled_from(["OUTBOUND", "INBOUND", "ANY"]))
def test_traversals_agree_with_networkx(
    random_db: Database, edges: list[tuple[int, int, int]], low: int, high: int, direction: str
) -> None:
    random = RandomGraph(random_db, edges)
    views = {"OUTBOUND": random.graph, "INBOUND": random.graph.reverse(), "ANY": random.graph.to_undirected()}
    distances = nx.single_source_shortest_path_length(views[direction], 0, cutoff=high)
    expected = sorted(str(node) for node, distance in distances.items() if low <= distance)
    options = "OPTIONS {order: 'bfs', uniqueVertices: 'global'}"
    assert sorted(random.rows(f"FOR x IN {low}..{high} {direction} 'rv/0' re {options} RETURN x._key")) == expected

    depth_first = random.rows(f"FOR x, y, p IN {low}..{high} {direction} 'rv/0' re RETURN p.edges[*]._key")
    breadth_first = random.rows(
        f"FOR x, y, p IN {low}..{high} {direction} 'rv/0' re OPTIONS {{order: 'bfs'}} RETURN p.edges[*]._key"
    )
    assert sorted(depth_first) == sorted(breadth_first) == sorted(trails(random, direction, low, high))


def trails(random: RandomGraph, direction: str, low: int, high: int) -> list[list[str]]:
    """Edge keys of all trails (no edge twice) from vertex 0, found by trying everything."""
    edges = random.rows("FOR x IN re RETURN [x._key, x._from, x._to]")
    found, waiting = [], [([], "rv/0")]
    while waiting:
        keys, vertex = waiting.pop()
        if low <= len(keys):
            found.append(keys)
        if len(keys) == high:
            continue
        for key, source, target in edges:
            if key in keys:
                continue
            if direction != "INBOUND" and source == vertex:
                waiting.append(([*keys, key], target))
            elif direction != "OUTBOUND" and target == vertex:
                waiting.append(([*keys, key], source))
    return found
