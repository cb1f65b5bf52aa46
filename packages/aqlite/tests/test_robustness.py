"""Queries that want too much, go on for ever or make no sense: each ends soon, in rows or an error of ArangoDB."""

import contextlib
import random
import resource
import time

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_queries import QueryMaker

from aqlite.aql import QueryOptions, parse_query, run_query
from aqlite.errors import ArangoError
from aqlite.storage import ddl
from aqlite.storage.store import Store

MEGABYTE = 2**20


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """40 documents in ``c``, each with an edge in ``e`` to every other one."""
    store = Store(tmp_path_factory.mktemp("robust") / "data")
    with store.write("_system") as view:
        ddl.create_collection(view, "c", "document", {})
        ddl.create_collection(view, "e", "edge", {})
        run_query(view, "FOR i IN 1..40 INSERT {_key: TO_STRING(i), v: i, s: CONCAT('x', i), t: [i, i + 1]} INTO c")
        run_query(
            view,
            "FOR i IN 1..40 FOR j IN 1..40 FILTER i != j "
            "INSERT {_from: CONCAT('c/', i), _to: CONCAT('c/', j), w: i - 5} INTO e",
        )
    yield store
    store.close()


class _RollbackError(Exception):
    """Ends a transaction without its changes."""


def run(store, text, bind_vars=None, *, seconds=10.0, memory=64 * MEGABYTE):
    """Run a query in a transaction that is rolled back."""

    with contextlib.suppress(_RollbackError), store.write("_system") as view:
        result = run_query(view, text, bind_vars or {}, QueryOptions(max_runtime=seconds, memory_limit=memory))
        raise _RollbackError
    return result


# --- time -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "text",
    [
        "FOR i IN 1..1000000000000 FILTER i < 0 RETURN i",
        "FOR i IN 1..1000000 FOR j IN 1..1000000 FOR k IN 1..1000000 FILTER k < 0 RETURN 1",
        "FOR a IN e FOR b IN e FOR d IN e COLLECT WITH COUNT INTO n RETURN n",
        "FOR i IN 1..100000000 COLLECT AGGREGATE s = SUM(i) RETURN s",
        "FOR v, e, p IN 1..30 OUTBOUND 'c/1' e RETURN 1",
        "FOR v IN 1..30 ANY 'c/1' e OPTIONS {uniqueEdges: 'none'} FILTER v.v < 0 RETURN v",
        "FOR p IN 1..30 OUTBOUND K_PATHS 'c/1' TO 'c/2' e FILTER false == p RETURN 1",
        "FOR p IN OUTBOUND K_SHORTEST_PATHS 'c/1' TO 'c/2' e FILTER false == p RETURN 1",
        "FOR i IN 1..20000 WINDOW {preceding: 9000} AGGREGATE m = MAX(i) RETURN m",
        "RETURN SLEEP(1000)",
        "FOR i IN 1..1000 RETURN LEVENSHTEIN_DISTANCE(REPEAT('a', 2000), CONCAT(REPEAT('b', 1990), i))",
        "FOR i IN 1..1000 RETURN FNV64(REPEAT('x', 4000000 + i))",
        "FOR i IN 1..1000 RETURN REGEX_TEST(CONCAT(REPEAT('a', 30), i), '(a|a?)+(a|aa)+c$')",
        "LET l = (FOR j IN 1..2000 RETURN [j]) FOR i IN 1..20000 FILTER [-i] IN l RETURN i",
    ],
)
def test_endless_queries_are_killed(graph, text):
    started = time.monotonic()
    with pytest.raises(ArangoError, match="query killed") as error:
        run(graph, text, seconds=0.2, memory=0)
    assert error.value.error_num == 1500
    assert time.monotonic() - started < 30, "killed soon, even on a busy machine"


# --- memory ---------------------------------------------------------------------------------------------------
def _chain(first, step, count, last):
    steps = " ".join(f"LET a{i} = {step.format(f'a{i - 1}')}" for i in range(1, count))
    return f"LET a0 = {first} {steps} RETURN {last.format(f'a{count - 1}')}"


@pytest.mark.parametrize(
    "text",
    [
        "RETURN LENGTH(1..100000000000)",
        "RETURN LENGTH(RANGE(0, 1, 1e-12))",
        f"RETURN [{', '.join(['1..9999999'] * 12)}]",
        f"{' '.join(f'LET a{i} = 1..999999' for i in range(30))} RETURN {' + '.join(f'a{i}[0]' for i in range(30))}",
        _chain("'xxxxxxxx'", "CONCAT({0}, {0})", 40, "LENGTH({})"),
        _chain("'x'", "SUBSTITUTE({0}, 'x', REPEAT('x', 1000))", 10, "LENGTH({})"),
        _chain("'x'", "REGEX_REPLACE({0}, 'x', REPEAT('x', 1000))", 10, "LENGTH({})"),
        _chain("'x'", "CONCAT_SEPARATOR({0}, 1..500)", 10, "LENGTH({})"),
        _chain("[1, 2]", "APPEND({0}, {0})", 40, "LENGTH({})"),
        _chain("[1, 2]", "UNION({0}, {0})", 40, "LENGTH({})"),
        _chain("[1, 2]", "INTERLEAVE({0}, {0})", 40, "LENGTH({})"),
        _chain("[1, 2]", "FLATTEN([{0}, {0}])", 40, "LENGTH({})"),
        _chain("[1, 2]", "[{0}, {0}]", 60, "{0} == 1"),
        _chain("{{a: 1}}", "{{a: {0}, b: {0}}}", 60, "JSON_STRINGIFY({})"),
        "RETURN REPLACE_NTH([], 9000000, 1, 2)",
        "FOR i IN 1..1000000 RETURN REPEAT('x', 1000000)",
        "RETURN (FOR i IN 1..100000 RETURN (FOR j IN 1..100000 RETURN j))",
        "FOR i IN 1..1000000 SORT i RETURN i",
        "FOR i IN 1..1000000 COLLECT x = 1 INTO g RETURN LENGTH(g)",
        "FOR v, e, p IN 1..30 OUTBOUND 'c/1' e RETURN p",
        "FOR i IN 1..1000 FOR x IN [1..1999999] LET y = 1..1999999 RETURN 1",
    ],
)
def test_queries_that_want_too_much_memory_are_refused(graph, text):
    text = text.replace("{{", "{").replace("}}", "}")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ArangoError, match=r"more memory than allowed|at most 10000000") as error:
        run(graph, text, seconds=60, memory=8 * MEGABYTE)
    assert error.value.error_num == 32
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 200, "megabytes taken before the refusal"


def test_large_values_one_after_the_other_are_no_reason_to_refuse(graph):
    text = "FOR i IN 1..200 LET x = REPEAT('x', 1000000) FILTER LENGTH(x) == 1000000 RETURN LENGTH(1..10000)"
    assert run(graph, text, memory=32 * MEGABYTE).rows == [10000] * 200


# --- nonsense -------------------------------------------------------------------------------------------------
def outcome(store, text, bind_vars=None, seconds=0.2):
    """Number of the error, or 0, and the rows, which can be sent as JSON."""
    try:
        result = run(store, text, bind_vars, seconds=seconds)
        orjson.dumps(result.rows)
    except ArangoError as error:
        return error.error_num, None
    return 0, result.rows


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_random_queries_end_in_rows_or_an_error_of_arangodb(graph, seed):
    assert outcome(graph, QueryMaker(random.Random(seed)).query(depth=2))[0] != 4


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.data())
def test_damaged_queries_end_in_rows_or_an_error_of_arangodb(graph, seed, data):
    text = QueryMaker(random.Random(seed)).query(depth=2)
    cut = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(cut, min(len(text), cut + 20)))
    inserted = data.draw(
        st.text(max_size=3) | st.sampled_from(["(", "}", "'", '"', "`", "/*", "//", "@", "@@x", "\\", ".."])
    )
    damaged = text[:cut] + inserted + text[end:]
    assert outcome(graph, damaged)[0] != 4
    with contextlib.suppress(ArangoError):
        parse_query(damaged)


NAMES = ["c' RETURN 1 //", 'c" OR 1==1', "c; DROP TABLE documents", "`", "´", "\x00", "../c", "c/1/2", "@c", "", " "]


@pytest.mark.parametrize("name", [*NAMES, "é" * 300])
def test_names_and_values_do_not_break_out(graph, name):
    for text, bind_vars in [
        ("FOR d IN @@x RETURN d", {"@x": name}),
        ("FOR d IN c FILTER d[@x] == @x OR d._key == @x RETURN d", {"x": name}),
        ("LET o = {[@x]: @x} RETURN o.@x == @x", {"x": name}),
        ("RETURN DOCUMENT(@x) == null AND DOCUMENT('c', @x) == null", {"x": name}),
        ("FOR v IN 1 ANY @x e RETURN v", {"x": name}),
    ]:
        number, rows = outcome(graph, text, bind_vars, seconds=30)
        assert (number, rows) in [(0, []), (0, [True]), (1203, None), (1208, None), (1553, None)]


@pytest.mark.parametrize(
    "expression", [r'MD5("\ud800")', r'{["\udfff"]: "\ud83d"}', r'CONCAT("\ud83d", "\ude00")', r'UPPER("a\ud800")']
)
def test_lone_surrogates_do_no_harm(graph, expression):
    assert outcome(graph, f"RETURN {expression}", seconds=30)[0] in (0, 1501)
