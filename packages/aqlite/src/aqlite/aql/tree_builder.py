"""Syntax tree of a query, built while Lark reduces, so that no parse tree is kept and nothing recurses."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from lark import Token, Transformer, v_args

from aqlite.aql import ast
from aqlite.aql.literals import number_value, quoted_name, string_value
from aqlite.aql.syntax_errors import MAX_NESTING, RESERVED_WORDS, QuerySyntaxError, nested_too_deep, terminal_name


def _after_expansion(base: ast.Expr, access: Callable[[ast.Expr], ast.Expr], level: int = 0) -> ast.Expr:
    """Apply an accessor to ``base``, or to each element when ``base`` ends in an expansion."""
    if level > MAX_NESTING:
        raise nested_too_deep()
    if isinstance(base, ast.Expansion) and not base.grouped:
        return replace(base, tail=_after_expansion(base.tail, access, level + 1))
    return access(base)


def _cut_target(value: ast.Expr) -> tuple[ast.Expr, ast.Expr] | None:
    """Split ``... IN collection`` at the right end of an expression; None when it does not end so."""
    if isinstance(value, ast.Ternary) and not value.grouped:
        cut = _cut_target(value.otherwise)
        return cut and (replace(value, otherwise=cut[0]), cut[1])
    if not isinstance(value, (ast.Binary, ast.ArrayComparison)) or value.grouped:
        return None
    if value.op == "IN" and isinstance(value, ast.Binary) and _is_collection(value.right):
        return value.left, value.right
    cut = _cut_target(value.right)
    return cut and (replace(value, right=cut[0]), cut[1])


def _is_collection(value: ast.Expr) -> bool:
    return isinstance(value, (ast.Name, ast.CollectionBind, ast.Bind))


def _with_target(word: Token, value: ast.Expr, target: ast.Expr | None) -> tuple[ast.Expr, ast.Expr]:
    if target is not None:
        return value, target
    cut = _cut_target(value)
    if cut is None:
        raise QuerySyntaxError(f"unexpected {terminal_name(word.type)}, expecting IN or INTO and a collection", word)
    return cut


_WORD_SPACE = re.compile(r"\s+")


def _operator(token: Token) -> str:
    text = _WORD_SPACE.sub(" ", token.upper())
    return {"&&": "AND", "||": "OR"}.get(text, text)


def _optional_list(items: tuple) -> tuple:
    return tuple(item for item in items if item is not None)


def _has_rows(statements: list[ast.Statement]) -> bool:
    """Whether a loop or a grouping stands among the statements."""
    return any(isinstance(s, (ast.For, ast.Traversal, ast.PathSearch, ast.Collect)) for s in statements)


@dataclass(frozen=True)
class Pattern:
    """What a destructuring takes apart: how to come from the whole to a part, and the part's name or own pattern."""

    parts: tuple[tuple[Callable[[ast.Expr], ast.Expr], str | Pattern], ...]

    @property
    def holder(self) -> str:
        """Name of the variable for the whole, which is read right after it is set."""
        return f"{ast.UNNAMED}{', '.join(name for name, _ in self._bound(ast.Name('')))}]"

    def assignments(self) -> list[ast.Let]:
        """One per variable, in order."""
        return [ast.Let(name, value) for name, value in self._bound(ast.Name(self.holder))]

    def _bound(self, base: ast.Expr) -> Iterator[tuple[str, ast.Expr]]:
        for access, target in self.parts:
            if isinstance(target, Pattern):
                yield from target._bound(access(base))
            else:
                yield target, access(base)


@v_args(inline=True)
class TreeBuilder(Transformer):
    """One method per grammar rule; a method gets the rule's children and gives the node for them."""

    # The names are the grammar's, and what each rule means is said there.
    # ruff: noqa: D102

    def start(self, collections: tuple | None, body: ast.Block) -> ast.Query:
        return ast.Query(collections or (), body)

    def with_collections(self, _word: Token, *collections: ast.Expr) -> tuple:
        return collections

    def block(self, *statements: Any) -> ast.Block:
        flat: list[ast.Statement] = []
        for statement in statements:
            if isinstance(statement, tuple):
                value, distinct = statement
                if distinct is not None and not _has_rows(flat):
                    raise QuerySyntaxError("cannot use DISTINCT modifier on top-level query element", distinct)
                flat.append(ast.Return(value, distinct is not None))
            else:
                flat.extend(statement if isinstance(statement, list) else [statement])
        last = flat[-1]
        if not isinstance(last, (ast.Return, ast.Insert, ast.Update, ast.Replace, ast.Remove, ast.Upsert)):
            raise QuerySyntaxError(
                "unexpected end of query string, expecting RETURN declaration or a data modification"
            )
        return ast.Block(tuple(flat))

    # reading
    def for_in(
        self, _for: Token, names: tuple | Pattern, _in: Token, source: ast.Expr, search: Any, options: Any
    ) -> ast.For | list[ast.Statement]:
        if isinstance(names, Pattern):
            return [ast.For(names.holder, source, search, options), *names.assignments()]
        if len(names) != 1:
            raise QuerySyntaxError("unexpected multiple variables in FOR declaration without a graph direction", _for)
        return ast.For(names[0], source, search, options)

    def traversal(
        self, _for: Token, names: tuple, _in: Token, steps: Any, direction: Token, start: ast.Expr, subject: Any,
        prune: Any, options: Any,
    ) -> ast.Traversal:  # fmt: skip
        if len(names) > 3:
            raise QuerySyntaxError("unexpected fourth variable, traversals have vertex, edge and path", _for)
        graph, edges = subject
        return ast.Traversal(names, steps, direction.upper(), start, graph, edges, prune, options)

    def path_search(
        self, _for: Token, names: tuple, _in: Token, steps: Any, direction: Token, kind: Token, start: ast.Expr,
        _to: Token, target: ast.Expr, subject: Any, options: Any,
    ) -> ast.PathSearch:  # fmt: skip
        allowed = 2 if kind.upper() == "SHORTEST_PATH" else 1
        if len(names) > allowed:
            raise QuerySyntaxError(f"unexpected number of variables, {kind.upper()} has at most {allowed}", _for)
        if steps is not None and kind.upper() != "K_PATHS":
            raise QuerySyntaxError(f"unexpected depth range, only K_PATHS has one, not {kind.upper()}", kind)
        graph, edges = subject
        return ast.PathSearch(kind.upper(), names, steps, direction.upper(), start, target, graph, edges, options)

    def names(self, *names: str) -> tuple[str, ...]:
        return names

    def search(self, _word: Token, condition: ast.Expr) -> ast.Expr:
        return condition

    def graph_name(self, _word: Token, name: ast.Expr) -> tuple:
        return (ast.Literal(name.name) if isinstance(name, ast.Name) else name), ()

    def edge_sets(self, *sets: ast.EdgeSet) -> tuple:
        return None, sets

    def edge_set(self, direction: Token | None, collection: ast.Expr) -> ast.EdgeSet:
        return ast.EdgeSet(collection, direction and direction.upper())

    def prune(self, _word: Token, condition: Any) -> ast.Prune:
        if isinstance(condition, ast.Assignment):
            return ast.Prune(condition.value, condition.variable)
        return ast.Prune(condition)

    def filter_stmt(self, _word: Token, condition: ast.Expr) -> ast.Filter:
        return ast.Filter(condition)

    def let_stmt(self, _word: Token, *items: ast.Assignment | list[ast.Let]) -> list[ast.Let]:
        lets: list[ast.Let] = []
        for item in items:
            lets.extend(item if isinstance(item, list) else [ast.Let(item.variable, item.value)])
        return lets

    def destructuring(self, pattern: Pattern, value: ast.Expr) -> list[ast.Let]:
        return [ast.Let(pattern.holder, value), *pattern.assignments()]

    def array_pattern(self, *targets: str | Pattern | None) -> Pattern:
        parts = [(position, target) for position, target in enumerate(targets) if target is not None]
        return Pattern(tuple((lambda base, at=position: ast.Index(base, ast.Literal(at)), t) for position, t in parts))

    def object_pattern(self, *entries: tuple) -> Pattern:
        return Pattern(tuple((lambda base, at=name: ast.Attribute(base, at), target) for name, target in entries))

    def pattern_entry(self, name: Token, target: str | Pattern | None) -> tuple:
        key = string_value(name) if name.type == "STRING" else self.name(name)
        if target is None and name.type == "STRING":
            raise QuerySyntaxError("unexpected quoted string, expecting a variable name", name)
        return key, key if target is None else target

    def assignment(self, variable: str, value: ast.Expr) -> ast.Assignment:
        return ast.Assignment(variable, value)

    def sort_stmt(self, _word: Token, *keys: ast.SortKey) -> ast.Sort:
        return ast.Sort(keys)

    def sort_key(self, value: ast.Expr, order: Token | None) -> ast.SortKey:
        return ast.SortKey(value, order is not None and order.upper() == "DESC")

    def limit_stmt(self, _word: Token, first: ast.Expr, second: ast.Expr | None) -> ast.Limit:
        return ast.Limit(ast.Literal(0), first) if second is None else ast.Limit(first, second)

    def return_stmt(self, _word: Token, distinct: Token | None, value: ast.Expr) -> tuple:
        return value, distinct

    def collect_stmt(
        self, word: Token, groups: tuple | None, aggregates: tuple | None, tail: Any, options: Any
    ) -> ast.Collect:
        if groups is None and aggregates is None and not isinstance(tail, str):
            raise QuerySyntaxError("unexpected COLLECT declaration without groups, AGGREGATE or WITH COUNT INTO", word)
        plain = ast.Collect(groups or (), aggregates or (), options=options)
        if tail is None:
            return plain
        if isinstance(tail, str):
            if aggregates:
                raise QuerySyntaxError("unexpected WITH COUNT INTO after AGGREGATE", word)
            return replace(plain, count=tail)
        into, projection, keep = tail
        return replace(plain, into=into, projection=projection, keep=keep)

    def groups(self, *assignments: ast.Assignment) -> tuple:
        return assignments

    def aggregate(self, _word: Token, *assignments: ast.Assignment) -> tuple:
        return assignments

    def into(self, word: Token, variable: str, projection: Any, keep: Any) -> tuple:
        if projection is not None and keep is not None:
            raise QuerySyntaxError("unexpected KEEP after INTO with a projection", word)
        return variable, projection, keep

    def keep(self, _word: Token, names: tuple) -> tuple:
        return names

    def with_count(self, _with: Token, _count: Token, _into: Token, variable: str) -> str:
        return variable

    def window_stmt(self, _word: Token, first: ast.Expr, with_: Any, bounds: Any, aggregates: tuple) -> ast.Window:
        return ast.Window(None, first, aggregates) if with_ is None else ast.Window(first, bounds, aggregates)

    def options(self, _word: Token, options: ast.Expr) -> ast.Expr:
        return options

    # writing
    def insert_stmt(self, word: Token, document: ast.Expr, target: Any, options: Any) -> ast.Insert:
        return ast.Insert(*_with_target(word, document, target), options)

    def update_stmt(self, word: Token, key: ast.Expr, _w: Any, patch: Any, target: Any, options: Any) -> ast.Update:
        return ast.Update(*_key_and_patch(word, key, patch, target), options)

    def replace_stmt(self, word: Token, key: ast.Expr, _w: Any, patch: Any, target: Any, options: Any) -> ast.Replace:
        return ast.Replace(*_key_and_patch(word, key, patch, target), options)

    def remove_stmt(self, word: Token, key: ast.Expr, target: Any, options: Any) -> ast.Remove:
        return ast.Remove(*_with_target(word, key, target), options)

    def upsert_stmt(
        self, word: Token, filter_: Token | None, search: ast.Expr, _insert: Token, document: ast.Expr, kind: Token,
        patch: ast.Expr, target: Any, options: Any,
    ) -> ast.Upsert:  # fmt: skip
        patch, collection = _with_target(word, patch, target)
        example, condition = (search, None) if filter_ is None else (None, search)
        return ast.Upsert(example, condition, document, patch, kind.upper() == "REPLACE", collection, options)

    def target(self, _word: Token, collection: ast.Expr) -> ast.Expr:
        return collection

    def collection(self, collection: ast.Expr) -> ast.Expr:
        return collection

    # expressions
    def ternary(self, condition: ast.Expr, then: ast.Expr, otherwise: ast.Expr) -> ast.Ternary:
        return ast.Ternary(condition, then, otherwise)

    def ternary_short(self, condition: ast.Expr, otherwise: ast.Expr) -> ast.Ternary:
        return ast.Ternary(condition, None, otherwise)

    def binary(self, left: ast.Expr, op: Token, right: ast.Expr) -> ast.Binary:
        return ast.Binary(_operator(op), left, right)

    def array_comparison(self, left: ast.Expr, quantifier: tuple, op: Token, right: ast.Expr) -> ast.ArrayComparison:
        return ast.ArrayComparison(*quantifier, _operator(op), left, right)

    def quantifier(self, word: Token, amount: ast.Expr | None = None) -> tuple:
        return _operator(word), amount

    def quantified_op(self, op: Token) -> Token:
        return op

    def range_expr(self, low: ast.Expr, high: ast.Expr) -> ast.Range:
        return ast.Range(low, high)

    def unary_expr(self, op: Token, operand: ast.Expr) -> ast.Unary:
        return ast.Unary(op if op in "+-" else "!", operand)

    def grouped(self, inner: ast.Expr) -> ast.Expr:
        if isinstance(inner, (ast.Binary, ast.ArrayComparison, ast.Ternary, ast.Expansion)):
            return replace(inner, grouped=True)
        return inner

    def subquery(self, body: ast.Block) -> ast.Subquery:
        return ast.Subquery(body)

    def attribute(self, base: ast.Expr, name: str) -> ast.Expr:
        return _after_expansion(base, lambda inner: ast.Attribute(inner, name))

    def attribute_bind(self, base: ast.Expr, bind: ast.Bind) -> ast.Expr:
        return _after_expansion(base, lambda inner: ast.Attribute(inner, bind))

    def index(self, base: ast.Expr, index: ast.Expr) -> ast.Expr:
        return _after_expansion(base, lambda inner: ast.Index(inner, index))

    def expansion(self, base: ast.Expr, stars: Token, condition: Any, limit: Any, projection: Any) -> ast.Expr:
        def expand(inner: ast.Expr) -> ast.Expr:
            return ast.Expansion(inner, len(stars), condition, limit, projection)

        # More than one star flattens what the expansions before it gave, so it takes them as one value.
        return expand(base) if len(stars) > 1 else _after_expansion(base, expand)

    def question(self, base: ast.Expr, mark: Token, quantifier: tuple | None, condition: Any) -> ast.Expr:
        word, amount = quantifier or (None, None)
        if quantifier and condition is None:
            raise QuerySyntaxError("unexpected quantifier without FILTER in the question mark operator", mark)
        return _after_expansion(base, lambda inner: ast.Question(inner, word, amount, condition))

    def inline_filter(self, _word: Token, condition: ast.Expr) -> ast.Expr:
        return condition

    def inline_limit(self, _word: Token, first: ast.Expr, second: ast.Expr | None) -> ast.InlineLimit:
        return ast.InlineLimit(ast.Literal(0), first) if second is None else ast.InlineLimit(first, second)

    def inline_return(self, _word: Token, value: ast.Expr) -> ast.Expr:
        return value

    def question_quantifier(self, first: Any, amount: ast.Expr | None = None) -> tuple:
        if isinstance(first, Token):
            return _operator(first), amount
        return None, first

    def call(self, name: Token, *arguments: ast.Expr | None) -> ast.Call:
        if name.upper() in RESERVED_WORDS and name.upper() != "LIKE":
            raise QuerySyntaxError(f"unexpected {terminal_name(name.upper())}", name)
        return ast.Call(name.upper(), _optional_list(arguments))

    def array(self, *items: ast.Expr | None) -> ast.Expr:
        return ast.Array(_optional_list(items))

    def object(self, *entries: tuple | None) -> ast.Object:
        return ast.Object(_optional_list(entries))

    def named_entry(self, name: Token, value: ast.Expr) -> tuple:
        key = string_value(name) if name.type == "STRING" else self.name(name)
        return ast.Literal(key), value

    def bind_entry(self, bind: ast.Bind, value: ast.Expr) -> tuple:
        return bind, value

    def computed_entry(self, key: ast.Expr, value: ast.Expr) -> tuple:
        return key, value

    def short_entry(self, name: str) -> tuple:
        return ast.Literal(name), ast.Name(name)

    def null(self, _word: Token) -> ast.Literal:
        return ast.Literal(None)

    def true(self, _word: Token) -> ast.Literal:
        return ast.Literal(True)

    def false(self, _word: Token) -> ast.Literal:
        return ast.Literal(False)

    def string(self, token: Token) -> ast.Literal:
        return ast.Literal(string_value(token))

    def number(self, token: Token) -> ast.Literal:
        return ast.Literal(number_value(token))

    def bind(self, token: Token) -> ast.Bind:
        return ast.Bind(token[1:])

    def collection_bind(self, token: Token) -> ast.CollectionBind:
        return ast.CollectionBind(token[2:])

    def name_expr(self, name: str) -> ast.Name:
        return ast.Name(name)

    def name(self, token: Token) -> str:
        if token.type == "QUOTED_NAME":
            return quoted_name(token)
        if token.upper() in RESERVED_WORDS:
            raise QuerySyntaxError(f"unexpected {terminal_name(token.upper())}", token)
        return str(token)


def _key_and_patch(word: Token, key: ast.Expr, patch: ast.Expr | None, target: ast.Expr | None) -> tuple:
    if patch is None:
        key, collection = _with_target(word, key, target)
    else:
        patch, collection = _with_target(word, patch, target)
    return key, patch, collection
