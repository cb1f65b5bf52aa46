"""Random queries give the same rows with the optimiser and hoisting, and without both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from unittest import mock

import pytest
from aql_support import Database
from hypothesis import given, settings
from hypothesis import strategies as st

from aqlite.aql import QueryOptions, execute, optimizer
from aqlite.aql.expressions import ExpressionCompiler


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database(tmp_path_factory.mktemp("optimizer"))
    rows = [{"_key": str(i), "n": i % 3, "m": i % 2 or None, "tags": [i % 2, "t"]} for i in range(6)]
    database.collection("c", rows)
    database.collection("e", [{"_from": f"c/{i}", "_to": f"c/{(i * 2) % 6}", "n": i} for i in range(6)], kind="edge")
    database.index("c", "n", "m")
    database.index("c", "tags[*]")
    yield database
    database.close()


KINDS = ["for", "for", "range", "graph", "let", "let", "filter", "filter", "sort", "collect"]


class Writer:
    """Writes a query clause by clause, with only variables that exist."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.lines: list[str] = []
        self.documents: list[str] = []
        self.values: list[str] = []
        self.made = 0

    def name(self) -> str:
        self.made += 1
        return f"v{self.made}"

    def operand(self) -> str:
        known = [f"{name}.{attribute}" for name in self.documents for attribute in ("n", "m", "_key")] + self.values
        return self.draw(st.sampled_from(["0", "1", "null", "'1'", *known]))

    def condition(self) -> str:
        op = self.draw(st.sampled_from(["==", "!=", "<", ">=", "IN"]))
        right = f"[{self.operand()}, 1]" if op == "IN" else self.operand()
        test = f"{self.operand()} {op} {right}"
        kind = self.draw(st.integers(0, 5))
        if kind == 0:
            return f"({test} || {self.operand()} == {self.operand()})"
        if kind == 1:
            return f"({test} && {self.operand()} > {self.operand()})"
        if kind == 2 and self.documents:
            return f"{self.operand()} IN {self.documents[-1]}.tags[*]"
        return test

    def value(self) -> str:
        inner = self.name()
        return self.draw(
            st.sampled_from(
                [
                    self.operand(),
                    f"{self.operand()} + {self.operand()}",
                    f"LENGTH([{self.operand()}, 2])",
                    f"(FOR {inner} IN c FILTER {inner}.n == {self.operand()} SORT {inner}._key RETURN {inner}.m)",
                    f"[1, 2, 3][* FILTER CURRENT > {self.operand()} RETURN CURRENT + {self.operand()}]",
                    f"SUM(FOR {inner} IN 1..2 LET q = {self.operand()} RETURN {inner} * q)",
                ]
            )
        )

    def clause(self) -> None:
        kind = self.draw(st.sampled_from(KINDS))
        name = self.name()
        if kind == "for" and len(self.documents) < 3:
            self.lines.append(f"FOR {name} IN c")
            self.documents.append(name)
        elif kind == "range":
            self.lines.append(f"FOR {name} IN 0..1")
            self.values.append(name)
        elif kind == "graph" and self.documents:
            self.lines.append(f"FOR {name} IN 1..2 OUTBOUND {self.documents[-1]} e")
            self.documents.append(name)
        elif kind == "let":
            self.lines.append(f"LET {name} = {self.value()}")
            self.values.append(name)
        elif kind == "filter":
            self.lines.append(f"FILTER {self.condition()}")
        elif kind == "sort":
            down = self.draw(st.sampled_from(["", " DESC"]))
            keys = [f"{key}{down}" for key in [self.operand(), *self.identity()]]
            limit = self.draw(st.sampled_from(["", "LIMIT 3", "LIMIT 1, 2"]))
            self.lines.append(f"SORT {', '.join(keys)} {limit}")
        elif kind == "collect" and self.documents:
            total = self.name()
            argument = self.operand()
            self.lines.append(f"COLLECT {name} = {self.operand()} AGGREGATE {total} = MAX({argument})")
            self.documents, self.values = [], [name, total]

    def identity(self) -> list[str]:
        """Expressions that tell rows apart."""
        return [f"{name}._key" for name in self.documents] + self.values or ["1"]


@st.composite
def pipelines(draw: st.DrawFn) -> str:
    writer = Writer(draw)
    for _ in range(draw(st.integers(1, 7))):
        writer.clause()
    return "\n".join([*writer.lines, f"RETURN [{', '.join(writer.identity())}]"])


@settings(max_examples=150, deadline=None)
@given(pipelines())
def test_optimised_and_plain_execution_agree(db: Database, query: str) -> None:
    optimised = db.rows(query)
    with (
        mock.patch.object(execute, "optimize"),
        mock.patch.object(ExpressionCompiler, "level_of", lambda self, node: self.level),
    ):
        plain = db.rows(query)
    assert sorted(map(json.dumps, optimised)) == sorted(map(json.dumps, plain))


WIDTH = 3
NUMBERS = st.one_of(st.integers(-2, 2), st.floats(-4, 4, width=16))
VECTORS = st.lists(NUMBERS, min_size=WIDTH, max_size=WIDTH)
NO_VECTORS = [None, "x", 1, {}, [], [1.0], [1, 2, 3, 4], [1, 2, True], [1, "2", 3], [1, None, 2], [[1, 2, 3]]]
SPECIAL_VECTORS = [[0, 0, 0], [[1, 0, 0], [0, 0, 1]], [1e300, 0, 1], [1e-30, 2e-30, 0], [1e19, 1e19, 1], [1e-16, 0, 1]]
ODD_VALUES = st.sampled_from([*NO_VECTORS, *SPECIAL_VECTORS])
VECTOR_QUERIES = [
    "FOR d IN near FILTER d.v != null LET s = {score} SORT s {order} LIMIT {limit} RETURN [d._key, s]",
    "FOR d IN near FILTER d.v != null && d.n > 0 FILTER d.n != 2 LET s = {score} SORT s {order} LIMIT {limit} "
    "RETURN [d._key, s]",
    "FOR d IN near LET s = {score} SORT s {order} LIMIT {limit} RETURN [d._key, s]",
    "FOR d IN near LET s = {score} FILTER s != null FILTER d.n < 3 SORT s {order} LIMIT {limit} RETURN [d._key, s]",
    "FOR d IN near LET s = {score} FILTER d.n IN [0, 1, 2] FILTER s < 0.5 LET t = s * 2 SORT s {order} LIMIT {limit} "
    "RETURN [d._key, t]",
    "FOR d IN near FILTER d.n == null OR d.v.x == null SORT {score} {order} LIMIT {limit} RETURN d._key",
]


@pytest.fixture(scope="module")
def near(db: Database) -> Database:
    db.collection("near")
    return db


@settings(max_examples=150, deadline=None)
@given(
    documents=st.lists(
        st.fixed_dictionaries({"n": st.integers(0, 3)}, optional={"v": VECTORS | VECTORS | ODD_VALUES}), max_size=12
    ),
    wanted=VECTORS | VECTORS | VECTORS | ODD_VALUES,
    query=st.sampled_from(VECTOR_QUERIES),
    score=st.sampled_from(["COSINE_SIMILARITY(d.v, @q)", "COSINE_SIMILARITY(@q, d.v)", "L2_DISTANCE(d.v, @q)"]),
    order=st.sampled_from(["ASC", "DESC"]),
    limit=st.sampled_from(["1", "2", "1, 3", "20"]),
)
def test_scoring_vectors_at_once_gives_the_rows_and_warnings_of_scoring_one_by_one(
    near: Database, documents: list[dict], wanted: object, query: str, score: str, order: str, limit: str
) -> None:
    with near.store.write("_system") as view:
        view.truncate("near")
        for document in documents:
            view.insert("near", document)
    text, bound = query.format(score=score, order=order, limit=limit), {"q": wanted}
    every_warning = QueryOptions(max_warning_count=1000)
    assert "EnumerateExactVectorsNode" in near.node_types(text, bound)
    at_once = near.result(text, bound, every_warning)
    with mock.patch.object(optimizer, "use_exact_vectors"):
        one_by_one = near.result(text, bound, every_warning)
    with mock.patch.object(execute, "optimize"):
        plain = near.result(text, bound, every_warning)
    assert at_once.rows == one_by_one.rows == plain.rows
    assert at_once.warnings == one_by_one.warnings
    if "FILTER" not in query.partition("LET")[2]:  # otherwise the optimiser moves a filter before the score
        assert at_once.warnings == plain.warnings


def test_no_warning_comes_from_documents_that_an_earlier_filter_removes(near: Database) -> None:
    with near.store.write("_system") as view:
        view.truncate("near")
        for value in ([1, 0, 0], None, [0, 1, 0]):
            view.insert("near", {"v": value})
    search = "LET s = COSINE_SIMILARITY(d.v, @q) SORT s DESC LIMIT 5 RETURN s"
    filtered = near.result(f"FOR d IN near FILTER d.v != null {search}", {"q": [1, 0, 0]})
    assert (filtered.rows, filtered.warnings) == ([1, 0], [])
    every = near.result(f"FOR d IN near {search}", {"q": [1, 0, 0]})
    assert every.rows == [1, 0, None]
    assert [warning["code"] for warning in every.warnings] == [1542]
    no_query = near.result(f"FOR d IN near FILTER d.v != null {search}", {"q": None})
    assert (no_query.rows, len(no_query.warnings)) == ([None, None], 2)
