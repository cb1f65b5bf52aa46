"""Hypothesis strategies for syntax trees of AQL expressions and queries."""

from __future__ import annotations

import string

from hypothesis import strategies as st

from aqlite.aql import ast

names = st.sampled_from(["a", "b", "filter", "x y", "CamelCase", "ümlaut"])
literals = st.builds(
    ast.Literal,
    st.none()
    | st.booleans()
    | st.integers(0, 2**63)
    | st.floats(0, 1e300, allow_nan=False).filter(lambda x: not x.is_integer())
    | st.text(string.printable + "äß😀\\'\"", max_size=8),
)
leaves = literals | st.builds(ast.Name, names) | st.builds(ast.Bind, st.sampled_from(["p", "_q1"]))
BINARY_OPS = "+|-|*|/|%|==|!=|<|<=|>|>=|IN|NOT IN|LIKE|NOT LIKE|=~|!~|AND|OR"
binary_ops = st.sampled_from(BINARY_OPS.split("|"))
comparisons = st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "IN", "NOT IN", "LIKE", "=~"])


def optional(strategy: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | strategy


def composed(inner: st.SearchStrategy) -> st.SearchStrategy:
    """Expressions one level above ``inner``."""
    items = st.lists(inner, max_size=3).map(tuple)
    keys = st.builds(ast.Literal, names) | st.builds(ast.Call, st.just("UPPER"), st.tuples(inner))
    plain = inner.filter(lambda node: not isinstance(node, (ast.Expansion, ast.Subquery)))
    return st.one_of(
        st.builds(ast.Array, items),
        st.builds(ast.Object, st.lists(st.tuples(keys, inner), max_size=3).map(tuple)),
        st.builds(ast.Unary, st.sampled_from("-+!"), inner),
        st.builds(ast.Binary, binary_ops, inner, inner),
        st.builds(ast.ArrayComparison, st.sampled_from(["ANY", "ALL", "NONE"]), st.none(), comparisons, inner, inner),
        st.builds(ast.ArrayComparison, st.just("AT LEAST"), inner, comparisons, inner, inner),
        st.builds(ast.Ternary, inner, optional(inner), inner),
        st.builds(ast.Range, inner, inner),
        st.builds(ast.Call, st.sampled_from(["LENGTH", "LIKE", "ns::f".upper()]), items),
        st.builds(ast.Attribute, plain, names),
        st.builds(ast.Index, plain, inner),
        st.builds(
            ast.Expansion,
            plain,
            st.integers(1, 3),
            optional(inner),
            optional(st.builds(ast.InlineLimit, inner, inner)),
            optional(inner),
        ),
        st.builds(ast.Question, plain, st.none() | st.sampled_from(["ANY", "ALL", "NONE"]), st.none(), inner),
        st.builds(ast.Question, plain, st.none() | st.just("AT LEAST"), inner, inner),
        st.builds(lambda value: ast.Subquery(ast.Block((ast.Return(value),))), inner),
    )


trees = st.recursive(leaves, composed, max_leaves=8)


@st.composite
def _expression(draw: st.DrawFn) -> ast.Expr:
    return draw(trees)


expressions = _expression()
assignments = st.lists(st.builds(ast.Assignment, names, expressions), min_size=1, max_size=2).map(tuple)
options = optional(st.builds(ast.Object, st.lists(st.tuples(st.builds(ast.Literal, names), literals)).map(tuple)))
collections = st.builds(ast.Name, names) | st.builds(ast.CollectionBind, st.just("c"))
directions = st.sampled_from(["OUTBOUND", "INBOUND", "ANY"])
graphs = st.tuples(st.builds(ast.Literal, names), st.just(())) | st.tuples(
    st.none(), st.lists(st.builds(ast.EdgeSet, collections, optional(directions)), min_size=1, max_size=2).map(tuple)
)
reading = st.one_of(
    st.builds(ast.For, names, expressions, st.none(), options),
    st.builds(
        lambda variables, steps, direction, start, graph, prune, options: ast.Traversal(
            variables, steps, direction, start, *graph, prune, options
        ),
        st.lists(names, min_size=1, max_size=3).map(tuple),
        optional(expressions),
        directions,
        expressions,
        graphs,
        optional(st.builds(ast.Prune, expressions, optional(names))),
        options,
    ),
    st.builds(ast.Filter, expressions),
    st.builds(ast.Let, names, expressions),
    st.builds(
        ast.Sort, st.lists(st.builds(ast.SortKey, expressions, st.booleans()), min_size=1, max_size=2).map(tuple)
    ),
    st.builds(ast.Limit, expressions, expressions),
    st.builds(ast.Collect, assignments, assignments, optional(names), st.none(), st.none(), st.none(), options),
    st.builds(ast.Collect, assignments, st.just(()), names, optional(expressions)),
    st.builds(ast.Collect, assignments, st.just(()), names, st.none(), st.tuples(names, names)),
    st.builds(ast.Collect, assignments, count=names),
    st.builds(ast.Window, optional(expressions), expressions, assignments),
)
writing = st.one_of(
    st.builds(ast.Insert, expressions, collections, options),
    st.builds(ast.Update, expressions, optional(expressions), collections, options),
    st.builds(ast.Replace, expressions, optional(expressions), collections, options),
    st.builds(ast.Remove, expressions, collections, options),
    st.builds(ast.Upsert, expressions, st.none(), expressions, expressions, st.booleans(), collections, options),
    st.builds(ast.Upsert, st.none(), expressions, expressions, expressions, st.booleans(), collections, options),
)


def _distinct_without_rows(statements: tuple[ast.Statement, ...]) -> bool:
    """``RETURN DISTINCT`` without a loop before it is a syntax error, which the parser's own tests look at."""
    rows = (ast.For, ast.Traversal, ast.PathSearch, ast.Collect)
    last = statements[-1]
    return isinstance(last, ast.Return) and last.distinct and not any(isinstance(s, rows) for s in statements)


queries = st.builds(
    lambda statements, last: ast.Query((), ast.Block((*statements, last))),
    st.lists(reading, max_size=3),
    st.builds(ast.Return, expressions, st.booleans()) | writing,
).filter(lambda query: not _distinct_without_rows(query.body.statements))
