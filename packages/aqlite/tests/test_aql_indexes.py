"""The optimiser: which index a query uses, that results are those of a scan, vector search, and what explain shows."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from aql_support import Database
from hypothesis import given, settings
from hypothesis import strategies as st

from aqlite.aql import QueryOptions


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database(tmp_path_factory.mktemp("indexes"))
    documents = [
        {"_key": f"k{i}", "n": i % 10, "s": f"s{i % 7}", "u": i, "o": {"x": i}, "tags": ["a", "b", "c"][: i % 4]}
        for i in range(60)
    ]
    database.collection("c", documents)
    edges = [{"_key": str(i), "_from": f"c/k{i}", "_to": f"c/k{i + 1}", "kind": i % 2} for i in range(20)]
    database.collection("e", edges, kind="edge")
    database.index("c", "n", "s")
    database.index("c", "u", unique=True)
    database.index("c", "o.x", sparse=True)
    database.index("c", "tags[*]")
    yield database
    database.close()


@pytest.mark.parametrize(
    ("condition", "index"),
    [
        ("d._key == 'k3'", "primary"),
        ("d._id == 'c/k3'", "primary"),
        ("'k3' == d._key", "primary"),
        ("d._key IN ['k3', 'k4', 'k3', 5]", "primary"),
        ("d._key == 'k1' || d._key == 'k2'", "primary"),
        ("d.n == 3", "n_s"),
        ("d.n == 3 && d.s == 's3'", "n_s"),
        ("d.n == 3 && d.s > 's3'", "n_s"),
        ("d.n IN [3, 4]", "n_s"),
        ("d.n > 7", "n_s"),
        ("d.n >= 2 && d.n < 4", "n_s"),
        ("7 < d.n", "n_s"),
        ("d.n == 3 || d.n == 5", "n_s"),
        ("(d.n == 3 && d.s == 's3') || d.n == 5", "n_s"),
        ("d.n == 3 && d.u == 13", "u"),
        ("d.u == 13.0", "u"),
        ("d.o.x == 5", "o.x"),
        ("d.o.x > 50", "o.x"),
        ("'c' IN d.tags[*]", "tags[*]"),
        ("d['n'] == 3", "n_s"),
        ("d.n == 1 + 2", "n_s"),
        ("d.n == LENGTH([1, 2, 3])", "n_s"),
        ("d.s == 's3'", None),
        ("d.n != 3", None),
        ("d.o.x < 5", None),
        ("d.o.x == null", None),
        ("d.n == d.u", None),
        ("NOT (d.n == 3)", None),
        ("d.n == 3 || d.s == 's1'", None),
        ("d.n + 0 == 3", None),
        ("'c' IN d.tags", None),
        ("d.n == RAND()", None),
    ],
)
def test_filters_choose_an_index_and_find_what_a_scan_finds(db: Database, condition: str, index: str | None) -> None:
    query = f"FOR d IN c FILTER {condition} SORT d._key RETURN d._key"
    assert set(db.indexes_used(query)) == ({index} - {None})
    result = db.result(query)
    scan = db.result(query.replace("IN c", "IN c OPTIONS {disableIndex: true}", 1))
    assert result.rows == scan.rows
    assert scan.stats["scannedFull"] == 60
    if index is not None:
        assert result.stats["scannedFull"] == 0
        assert result.stats["scannedIndex"] < 60


@pytest.mark.parametrize(
    ("query", "nodes"),
    [
        ("FOR d IN c SORT d.n, d.s LIMIT 5 RETURN [d.n, d.s]", ["IndexNode", "LimitNode"]),
        ("FOR d IN c SORT d.n DESC LIMIT 5 RETURN d.n", ["IndexNode", "LimitNode"]),
        ("FOR d IN c FILTER d.n == 3 SORT d.s RETURN d.s", ["IndexNode"]),
        ("FOR d IN c FILTER d.n == 3 SORT d.n, d.s DESC RETURN d.s", ["IndexNode", "SortNode"]),
        ("FOR d IN c FILTER d.n > 3 SORT d.n DESC, d.s DESC RETURN [d.n, d.s]", ["IndexNode"]),
        ("FOR d IN c FILTER d.n IN [1, 2] SORT d.s RETURN d.s", ["IndexNode", "SortNode"]),
        ("FOR d IN c SORT d.s LIMIT 5 RETURN d.s", ["EnumerateCollectionNode", "SortNode", "LimitNode"]),
        ("FOR d IN c SORT d.o.x LIMIT 5 RETURN d.o", ["EnumerateCollectionNode", "SortNode", "LimitNode"]),
        ("FOR d IN c SORT d.n, d.s DESC LIMIT 5 RETURN d.n", ["EnumerateCollectionNode", "SortNode", "LimitNode"]),
        ("FOR x IN 1..2 FOR d IN c SORT d.n LIMIT 5 RETURN d.n",
         ["EnumerateListNode", "EnumerateCollectionNode", "SortNode", "LimitNode"]),
    ],
)  # fmt: skip
def test_sorting_by_index(db: Database, query: str, nodes: list[str]) -> None:
    shown = [kind for kind in db.node_types(query) if kind not in ("SingletonNode", "CalculationNode", "ReturnNode")]
    assert shown == nodes
    scan = query.replace("IN c", "IN c OPTIONS {disableIndex: true}", 1)
    if "n, d.s DESC" not in query:
        assert db.rows(query) == db.rows(scan)


def test_edges_and_joins_use_indexes(db: Database) -> None:
    assert db.indexes_used("FOR x IN e FILTER x._from == 'c/k1' RETURN x") == ["edge"]
    assert db.rows("FOR x IN e FILTER x._to IN ['c/k1', 'c/k2'] && x.kind == 1 RETURN x._key") == ["1"]
    join = "FOR x IN e FOR d IN c FILTER d._id == x._to FILTER x.kind == 1 FILTER d.n < 3 RETURN d._key"
    assert db.indexes_used(join) == ["primary"]
    assert db.rows(join) == ["k2", "k10", "k12", "k20"]
    assert db.result(join).stats["scannedFull"] == 20
    aliased = "FOR d IN c LET k = d._key FILTER k == 'k7' RETURN d.u"
    assert db.indexes_used(aliased) == ["primary"]
    assert db.rows(aliased) == [7]
    inner = "FOR x IN 1..3 LET found = (FOR d IN c FILTER d.u == x RETURN d._key) RETURN found[0]"
    assert db.indexes_used(inner) == ["u"]
    assert db.rows(inner) == ["k1", "k2", "k3"]
    upsert = "UPSERT {u: 5} INSERT {} UPDATE {} IN c"
    assert db.indexes_used(upsert) == ["u"]


def test_index_hints(db: Database) -> None:
    both = "FOR d IN c OPTIONS {%s} FILTER d.n == 3 && d.u == 13 RETURN d._key"
    assert db.indexes_used(both % "indexHint: 'n_s', forceIndexHint: true") == ["n_s"]
    assert db.rows(both % "indexHint: 'n_s', forceIndexHint: true") == ["k13"]
    assert db.indexes_used(both % "indexHint: ['none', 'u']") == ["u"]
    assert db.error("FOR d IN c OPTIONS {indexHint: 'u', forceIndexHint: true} RETURN d").error_num == 1577


@pytest.mark.parametrize(
    ("query", "rule"),
    [
        ("FOR d IN c FILTER d.n == 3 RETURN d", "use-indexes"),
        ("FOR d IN c FILTER d.n == 3 RETURN d", "remove-filter-covered-by-index"),
        ("FOR d IN c SORT d.n LIMIT 1 RETURN d", "use-index-for-sort"),
        ("FOR d IN c SORT d.s LIMIT 1 RETURN d", "sort-limit"),
        ("FOR d IN c LET x = 1 RETURN d", "remove-unnecessary-calculations"),
        ("FOR d IN c FOR x IN [1] FILTER d.s == 'a' RETURN d", "move-filters-up"),
        ("FOR d IN c LET x = LENGTH(d.tags) SORT d.s LIMIT 1 RETURN x", "move-calculations-down"),
        ("FOR d IN c SORT null RETURN d", "remove-redundant-sorts"),
        ("FOR d IN c COLLECT WITH COUNT INTO n RETURN n", "optimize-count"),
    ],
)
def test_rules_are_named(db: Database, query: str, rule: str) -> None:
    assert rule in db.plan(query)["rules"]


def test_plans_have_arangodbs_shape(db: Database) -> None:
    plan = db.plan(
        "FOR d IN c FILTER d.n == @n FILTER d.u % 2 LET subs = (FOR v, x, p IN 1..2 OUTBOUND d e RETURN v) "
        "COLLECT s = d.s AGGREGATE m = MAX(d.u) INTO g SORT m DESC LIMIT 3 INSERT {s, m, subs: g} INTO e RETURN NEW",
        {"n": 3},
    )
    nodes = plan["nodes"]
    assert [node["id"] for node in nodes] == list(range(1, len(nodes) + 1))
    assert [node["dependencies"] for node in nodes[1:]] == [[node["id"]] for node in nodes[:-1]]
    kinds = [node["type"] for node in nodes if node["type"] != "CalculationNode"]
    assert kinds == [
        "SingletonNode", "IndexNode", "FilterNode", "SubqueryStartNode", "TraversalNode", "ReturnNode",
        "SubqueryEndNode", "CollectNode", "SortNode", "LimitNode", "InsertNode", "ReturnNode",
    ]  # fmt: skip
    assert {"name": "c", "type": "read"} in plan["collections"]
    assert {"name": "e", "type": "write"} in plan["collections"]
    assert plan["isModificationQuery"] is True
    assert plan["estimatedCost"] == nodes[-1]["estimatedCost"]
    assert {variable["name"] for variable in plan["variables"]} >= {"d", "subs", "v", "x", "p", "s", "m", "g"}
    index = next(node for node in nodes if node["type"] == "IndexNode")
    assert index["indexes"][0]["fields"] == ["n", "s"]
    assert index["condition"]["type"] == "compare =="
    json.dumps(plan)


def test_profile_shows_phases_and_plan(db: Database) -> None:
    result = db.result("FOR d IN c RETURN d", options=QueryOptions(profile=2))
    assert result.plan["nodes"][1]["type"] == "EnumerateCollectionNode"
    assert set(result.profile) == {"planning", "executing"}
    assert db.result("RETURN 1").plan is None


# --- index against scan ---------------------------------------------------------------------------------------
scalars = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, -0.0, 1e300, "", "a", "A", "ä", "b", "10"])
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["p", "q"]), inner, max_size=2),
    max_leaves=3,
)


@pytest.fixture(scope="module")
def varied(db: Database) -> Database:
    db.collection("varied")
    db.index("varied", "a", "b")
    db.index("varied", "a", sparse=True)
    db.index("varied", "tags[*]")
    return db


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries({}, optional={"a": anything, "b": scalars, "tags": st.lists(scalars, max_size=3)}),
        max_size=12,
    ),
    anything,
    scalars,
    st.sampled_from(["==", "<", "<=", ">", ">="]),
    st.sampled_from(["==", "<", "<=", ">", ">="]),
)
def test_index_and_scan_agree(varied: Database, documents: list[dict], x: Any, y: Any, op_a: str, op_b: str) -> None:
    varied.rows("FOR d IN varied REMOVE d IN varied")
    varied.rows("FOR d IN @d INSERT d INTO varied", {"d": documents})
    conditions = [
        f"d.a {op_a} @x",
        f"d.a == @x && d.b {op_b} @y",
        f"d.a {op_a} @x && d.a {op_b} @y",
        "d.a IN [@x, @y]",
        f"d.a == @x || d.a {op_b} @y",
        "@y IN d.tags[*]",
    ]
    for condition in conditions:
        query = f"FOR d IN varied FILTER {condition} RETURN d._key"
        used = {name: value for name, value in (("x", x), ("y", y)) if f"@{name}" in condition}
        assert varied.indexes_used(query, used)
        scan = query.replace("IN varied", "IN varied OPTIONS {disableIndex: true}")
        assert sorted(varied.rows(query, used)) == sorted(varied.rows(scan, used))
    assert varied.rows("FOR d IN varied SORT d.a, d.b LIMIT 9 RETURN [d.a, d.b]") == varied.rows(
        "FOR d IN varied OPTIONS {disableIndex: true} SORT d.a, d.b LIMIT 9 RETURN [d.a, d.b]"
    )


# --- vectors --------------------------------------------------------------------------------------------------
WIDTH = 8


@pytest.fixture(scope="module")
def vectors(db: Database) -> Database:
    random = np.random.default_rng(7)
    rows = random.normal(size=(300, WIDTH))
    db.collection("vec", [{"_key": str(i), "v": row.tolist(), "even": i % 2 == 0} for i, row in enumerate(rows)])
    for metric in ("cosine", "l2", "innerProduct"):
        settings_ = {"metric": metric, "dimension": WIDTH, "nLists": 4, "defaultNProbe": 4, "trainingIterations": 10}
        db.collection(metric, [{"_key": str(i), "v": row.tolist(), "even": i % 2 == 0} for i, row in enumerate(rows)])
        db.index(metric, "v", type_="vector", params=settings_)
    return db


QUERY = [1.0, -0.5, 0.25, 0, 1, 2, -1, 0.5]


@pytest.mark.parametrize(
    ("collection", "function", "exact", "order"),
    [
        ("cosine", "APPROX_NEAR_COSINE", "COSINE_SIMILARITY", "DESC"),
        ("l2", "APPROX_NEAR_L2", "L2_DISTANCE", "ASC"),
        ("innerProduct", "APPROX_NEAR_INNER_PRODUCT", None, "DESC"),
    ],
)
def test_vector_index(vectors: Database, collection: str, function: str, exact: str | None, order: str) -> None:
    query = f"FOR d IN {collection} SORT {function}(d.v, @q) {order} LIMIT 5 RETURN [d._key, {function}(d.v, @q)]"
    bound = {"q": QUERY}
    assert vectors.indexes_used(query, bound) == ["v"]
    assert "EnumerateNearVectorNode" in vectors.node_types(query, bound)
    found = vectors.rows(query, bound)
    score = f"{exact}(d.v, @q)" if exact else "SUM(FOR i IN 0..7 RETURN d.v[i] * @q[i])"
    expected = vectors.rows(f"FOR d IN vec LET s = {score} SORT s {order} LIMIT 5 RETURN [d._key, s]", bound)
    assert [key for key, _ in found] == [key for key, _ in expected]
    assert [score for _, score in found] == pytest.approx([score for _, score in expected], abs=1e-5)


def test_vector_index_with_filter_let_and_offset(vectors: Database) -> None:
    query = (
        "FOR d IN cosine FILTER d.even LET s = APPROX_NEAR_COSINE(d.v, @q, {nProbe: 4}) SORT s DESC LIMIT 1, 3 "
        "RETURN {k: d._key, s}"
    )
    expected = vectors.rows(
        "FOR d IN vec FILTER d.even SORT COSINE_SIMILARITY(d.v, @q) DESC LIMIT 1, 3 RETURN d._key", {"q": QUERY}
    )
    rows = vectors.rows(query, {"q": QUERY})
    assert [row["k"] for row in rows] == expected
    assert vectors.result(query, {"q": QUERY}).stats["scannedFull"] == 0


@pytest.mark.parametrize(
    "query",
    [
        "FOR d IN vec SORT APPROX_NEAR_COSINE(d.v, @q) DESC LIMIT 5 RETURN d",
        "FOR d IN l2 SORT APPROX_NEAR_COSINE(d.v, @q) DESC LIMIT 5 RETURN d",
        "FOR d IN cosine SORT APPROX_NEAR_COSINE(d.v, @q) ASC LIMIT 5 RETURN d",
        "FOR d IN cosine SORT APPROX_NEAR_COSINE(d.v, @q) DESC RETURN d",
        "FOR d IN cosine SORT APPROX_NEAR_COSINE(d.v, @q) DESC, d.x LIMIT 5 RETURN d",
        "FOR d IN cosine FILTER APPROX_NEAR_COSINE(d.v, @q) > 0 RETURN d",
        "RETURN APPROX_NEAR_COSINE([1], @q)",
        "FOR d IN cosine SORT APPROX_NEAR_COSINE(d.v, @q, {nProbe: 0}) DESC LIMIT 5 RETURN d",
    ],
)
def test_vector_search_without_a_fitting_index_fails(vectors: Database, query: str) -> None:
    error = vectors.error(query, {"q": QUERY})
    assert error.error_num == 1554
    assert "failed vector search" in error.message


@pytest.mark.parametrize("query", [None, "text", [1, 2], [1, "x", 3, 4, 5, 6, 7, 8]])
def test_vector_search_checks_the_query_vector(vectors: Database, query: Any) -> None:
    search = "FOR d IN cosine SORT APPROX_NEAR_COSINE(d.v, @q) DESC LIMIT 5 RETURN d"
    assert vectors.error(search, {"q": query}).error_num == 10


@pytest.mark.parametrize(
    "query",
    [
        "FOR d IN vec SORT {score} {order} LIMIT 2, 7 RETURN [d._key, {score}]",
        "FOR d IN vec FILTER d.even LET s = {score} SORT s {order} LIMIT 6 RETURN [d._key, s]",
        "FOR d IN vec LET s = {score} FILTER s > 0.1 FILTER s < 3 SORT s {order} LIMIT 6 RETURN [d._key, s]",
        "FOR x IN 1..2 LET r = (FOR d IN vec SORT {score} {order} LIMIT 3 RETURN [d._key, x]) RETURN r",
        "FOR d IN vec SORT {score} {order} LIMIT 0 RETURN d",
        "FOR d IN vec FILTER d.v == null SORT {score} {order} LIMIT 3 RETURN d",
    ],
)
@pytest.mark.parametrize("score", ["COSINE_SIMILARITY(d.v, @q)", "L2_DISTANCE(@q, d.v)"])
@pytest.mark.parametrize("order", ["ASC", "DESC"])
def test_scoring_at_once_gives_exactly_the_result_of_scoring_one_by_one(
    vectors: Database, query: str, score: str, order: str
) -> None:
    text = query.format(score=score, order=order)
    bound = {"q": QUERY}
    assert "EnumerateExactVectorsNode" in vectors.node_types(text, bound)
    one_by_one = query.format(score=f"(0 + {score})", order=order)
    assert "EnumerateExactVectorsNode" not in vectors.node_types(one_by_one, bound)
    assert vectors.rows(text, bound) == vectors.rows(one_by_one, bound)


def test_scoring_at_once_with_values_that_are_no_vectors(vectors: Database) -> None:
    odd = [{"_key": "short", "v": [1.0]}, {"_key": "none"}, {"_key": "text", "v": "x"}, {"_key": "good", "v": QUERY}]
    vectors.collection("odd", odd)
    query = "FOR d IN odd SORT COSINE_SIMILARITY(d.v, @q) DESC LIMIT 4 RETURN [d._key, COSINE_SIMILARITY(d.v, @q)]"
    rows = vectors.rows(query, {"q": QUERY})
    assert rows[0][0] == "good"
    assert math.isclose(rows[0][1], 1)
    assert [score for _, score in rows[1:]] == [None, None, None]
    vectors.drop("odd")
