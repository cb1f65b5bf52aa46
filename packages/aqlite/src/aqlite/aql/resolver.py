"""Names, bind parameters and options of a query: expressions of the syntax tree to resolved ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from aqlite.aql import ast
from aqlite.aql import plan as p
from aqlite.aql.bindings import wrong_type
from aqlite.aql.expressions import constant_value
from aqlite.aql.functions import FUNCTIONS
from aqlite.aql.statement_options import unknown_options
from aqlite.errors import ArangoError
from aqlite.storage.api import StoreView

MAX_COLLECTIONS = 2048


def parsing_error(number: int, message: str) -> ArangoError:
    """An error of the query text itself, in ArangoDB's wording."""
    return ArangoError(number, f"AQL: {message} (while parsing)")


def unsupported(what: str) -> ArangoError:
    """An error that says plainly what this server leaves out."""
    return ArangoError(9, f"AQL: not supported by aqlite: {what} (while parsing)")


def wrong_argument_count(name: str, low: int, high: int | None) -> ArangoError:
    """Error 1541 with the accepted numbers of arguments."""
    expected = f"minimum: {low}, maximum: {'unlimited' if high is None else high}"
    return parsing_error(
        1541, f"invalid number of arguments for function '{name}()', expected number of arguments: {expected}"
    )


@dataclass
class Scope:
    """Names visible at one place: those of the block itself and those of the blocks around it."""

    own: dict[str, p.Variable]
    outer: dict[str, p.Variable]

    def find(self, name: str) -> p.Variable | None:
        """The variable of that name; None when there is none."""
        return self.own.get(name) or self.outer.get(name)

    def visible(self) -> dict[str, p.Variable]:
        """All variables, by name."""
        return {**self.outer, **self.own}


class Resolver(ABC):
    """Resolves expressions, and keeps track of the variables made and the collections used."""

    def __init__(self, view: StoreView, bind_vars: Mapping[str, Any]) -> None:
        self.view = view
        self.bind_vars = bind_vars
        self.variables: list[p.Variable] = []
        self.reads: set[str] = set()
        self.writes: set[str] = set()
        self.warnings: list[tuple[int, str]] = []

    @abstractmethod
    def block(self, block: ast.Block, outer: dict[str, p.Variable]) -> p.BlockPlan:
        """Plan a subquery that sees the variables ``outer``."""

    # --- names ------------------------------------------------------------------------------------------------
    def new_variable(self, name: str | None = None) -> p.Variable:
        """A variable with a slot of its own; without a name, an internal one."""
        slot = len(self.variables)
        variable = p.Variable(str(slot) if name is None else name, slot, internal=name is None)
        self.variables.append(variable)
        return variable

    def declare(self, name: str, scope: Scope) -> p.Variable:
        """Make a variable visible. Raises ArangoError 1511 when the name is taken."""
        unnamed = name.startswith(ast.UNNAMED)
        if not unnamed and scope.find(name) is not None:
            raise parsing_error(1511, f"variable '{name}' is assigned multiple times")
        scope.own[name] = variable = self.new_variable(None if unnamed else name)
        return variable

    def pseudo(self, name: str, scope: Scope) -> p.Variable:
        """``OLD`` and ``NEW``: a later write statement takes the name over."""
        scope.own[name] = variable = self.new_variable(name)
        variable.internal = True
        return variable

    def collection_name(self, node: ast.Expr) -> str:
        """Name of the collection that a name or bind parameter stands for. Raises ArangoError 1203, 1553."""
        if isinstance(node, ast.Name):
            name = node.name
        else:
            key = f"@{node.name}" if isinstance(node, ast.CollectionBind) else node.name
            name = self.bind_vars[key]
            if not isinstance(name, str) or not name:
                raise wrong_type(key)
        self.view.collection(name)
        return name

    def read(self, collection: str) -> None:
        """Note a read. Raises ArangoError 1579 after a write to the same collection, 1522."""
        if collection in self.writes:
            raise parsing_error(1579, f"access after data-modification by {collection}")
        self.reads.add(collection)
        if len(self.reads) > MAX_COLLECTIONS:
            raise parsing_error(1522, "too many collections/shards")

    def write(self, collection: str) -> None:
        """Note a write. Raises ArangoError 1579 after another one to the same collection."""
        if collection in self.writes:
            raise parsing_error(1579, f"access after data-modification by {collection}")
        self.writes.add(collection)

    # --- options and constants --------------------------------------------------------------------------------
    def options(self, node: ast.Expr | None, scope: Scope, statement: str) -> dict[str, Any]:
        """Value of an ``OPTIONS`` object; unknown attributes get a warning. Raises ArangoError 1575, 9."""
        if node is None:
            return {}
        value = self.constant(node, scope, "OPTIONS", 1575)
        for name in unknown_options(statement, value):
            self.warnings.append((1539, f"unknown/invalid OPTIONS attribute used: '{name}' in {statement} operation"))
        return value

    def constant(self, node: ast.Expr, scope: Scope, where: str, error: int = 1501) -> Any:
        """Value of an expression that must be known before the query runs."""
        resolved = self.expression(node, scope)
        if isinstance(resolved, ast.Literal):
            return resolved.value
        found, value = constant_value(self.view, resolved)
        if not found:
            raise parsing_error(
                error,
                f"{where} must be a constant"
                if error == 1501
                else "query options must be readable at query compile time",
            )
        return value

    # --- expressions ------------------------------------------------------------------------------------------
    def expression(self, node: ast.Expr, scope: Scope) -> ast.Expr:
        """The expression with names, bind parameters and subqueries resolved."""
        handler = self._handlers.get(type(node))
        return self._rebuild(node, scope) if handler is None else handler(self, node, scope)

    def _rebuild(self, node: ast.Node, scope: Scope) -> Any:
        changes = {spec.name: self._resolved(getattr(node, spec.name), scope) for spec in fields(node)}
        return type(node)(**changes)

    def _resolved(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, ast.Expr):
            return self.expression(value, scope)
        if isinstance(value, tuple):
            return tuple(self._resolved(item, scope) for item in value)
        return value

    def _name(self, node: ast.Name, scope: Scope) -> ast.Expr:
        variable = scope.find(node.name)
        if variable is not None:
            return p.VarRef(variable)
        if node.name in ("CURRENT", "OLD", "NEW"):
            raise parsing_error(1512, f"unknown variable '{node.name}'")
        self.view.collection(node.name)
        raise parsing_error(1568, f"collection '{node.name}' used as expression operand")

    def _bind(self, node: ast.Bind, scope: Scope) -> ast.Expr:
        return ast.Literal(self.bind_vars[node.name])

    def _collection_bind(self, node: ast.CollectionBind, scope: Scope) -> ast.Expr:
        name = self.collection_name(node)
        raise parsing_error(1568, f"collection '{name}' used as expression operand")

    def _array(self, node: ast.Array, scope: Scope) -> ast.Expr:
        items = tuple(self.expression(item, scope) for item in node.items)
        if all(isinstance(item, ast.Literal) for item in items):
            return ast.Literal([item.value for item in items])
        return ast.Array(items)

    def _object(self, node: ast.Object, scope: Scope) -> ast.Expr:
        entries = []
        for key, value in node.entries:
            resolved = self.expression(key, scope)
            if isinstance(key, ast.Bind) and not isinstance(resolved.value, str):
                raise wrong_type(key.name)
            entries.append((resolved, self.expression(value, scope)))
        if all(
            isinstance(k, ast.Literal) and isinstance(k.value, str) and isinstance(v, ast.Literal) for k, v in entries
        ):
            return ast.Literal({k.value: v.value for k, v in entries})
        return ast.Object(tuple(entries))

    def _attribute(self, node: ast.Attribute, scope: Scope) -> ast.Expr:
        base = self.expression(node.base, scope)
        if isinstance(node.name, str):
            return ast.Attribute(base, node.name)
        path = self.bind_vars[node.name.name]
        names = path if isinstance(path, list) and path else [path]
        for name in names:
            if not isinstance(name, str) or not name:
                raise wrong_type(node.name.name)
            base = ast.Attribute(base, name)
        return base

    def _index(self, node: ast.Index, scope: Scope) -> ast.Expr:
        base, index = self.expression(node.base, scope), self.expression(node.index, scope)
        if isinstance(index, ast.Literal) and isinstance(index.value, str) and not index.value.lstrip("-").isdigit():
            return ast.Attribute(base, index.value)
        return ast.Index(base, index)

    def _with_current(self, scope: Scope) -> tuple[p.Variable, Scope]:
        current = self.new_variable()
        return current, Scope({**scope.own, "CURRENT": current}, scope.outer)

    def _expansion(self, node: ast.Expansion, scope: Scope) -> ast.Expr:
        base = self.expression(node.base, scope)
        current, inner = self._with_current(scope)
        limit = node.limit and ast.InlineLimit(
            self.expression(node.limit.offset, scope), self.expression(node.limit.count, scope)
        )
        condition = node.condition and self.expression(node.condition, inner)
        projection = node.projection and self.expression(node.projection, inner)
        return p.ResolvedExpansion(
            base, node.levels, condition, limit, projection, self.expression(node.tail, inner), current=current
        )

    def _question(self, node: ast.Question, scope: Scope) -> ast.Expr:
        current, inner = self._with_current(scope)
        return p.ResolvedQuestion(
            self.expression(node.base, scope),
            node.quantifier,
            node.amount and self.expression(node.amount, scope),
            node.condition and self.expression(node.condition, inner),
            current=current,
        )

    def _subquery(self, node: ast.Subquery, scope: Scope) -> ast.Expr:
        return p.SubqueryValue(self.block(node.body, scope.visible()))

    def _call(self, node: ast.Call, scope: Scope) -> ast.Expr:
        if "::" in node.name:
            raise parsing_error(1582, f"user function '{node.name}()' not found")
        function = FUNCTIONS.get(node.name)
        if function is None:
            raise parsing_error(1540, f"usage of unknown function '{node.name}()'")
        if node.name in ("LENGTH", "COUNT") and len(node.arguments) == 1:
            collection = self._as_collection(node.arguments[0], scope)
            if collection is not None:
                self.read(collection)
                return ast.Call("COLLECTION_COUNT", (ast.Literal(collection),))
        if node.name == "DOCUMENT" and self.writes:
            raise parsing_error(1579, f"access after data-modification by function {node.name}()")
        arguments = []
        for position, argument in enumerate(node.arguments):
            if position in function.collection_args:
                name = self._as_collection(argument, scope)
                if name is not None:
                    self.read(name)
                    arguments.append(ast.Literal(name))
                    continue
            arguments.append(self.expression(argument, scope))
        if not function.accepts(len(arguments)):
            raise wrong_argument_count(node.name, function.min_args, function.max_args)
        return ast.Call(node.name, tuple(arguments))

    _handlers: ClassVar[dict[type, Callable[..., ast.Expr]]] = {
        ast.Literal: lambda self, node, scope: node,
        p.VarRef: lambda self, node, scope: node,
        ast.Name: _name,
        ast.Bind: _bind,
        ast.CollectionBind: _collection_bind,
        ast.Array: _array,
        ast.Object: _object,
        ast.Attribute: _attribute,
        ast.Index: _index,
        ast.Expansion: _expansion,
        ast.Question: _question,
        ast.Subquery: _subquery,
        ast.Call: _call,
    }
