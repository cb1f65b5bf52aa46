"""Syntax tree to execution plan: resolves names, bind parameters and options, and enforces the statement rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from aqlite.aql import ast
from aqlite.aql import plan as p
from aqlite.aql.aggregates import AGGREGATES
from aqlite.aql.bindings import check_bindings, wrong_type
from aqlite.aql.functions import FUNCTIONS
from aqlite.aql.graph_options import path_options, traversal_options
from aqlite.errors import ArangoError
from aqlite.storage.api import StoreView

MAX_COLLECTIONS = 2048
_NO_LIMIT = 2**62  # LIMIT 5, null: all rows but the first five
_APPROXIMATE = ("APPROX_NEAR_COSINE", "APPROX_NEAR_L2", "APPROX_NEAR_INNER_PRODUCT")


def plan_query(view: StoreView, query: ast.Query, bind_vars: Mapping[str, Any]) -> p.QueryPlan:
    """Make the plan of a parsed query, not optimised yet.

    Raises:
        ArangoError: 1203, 1511, 1512, 1540, 1541, 1551-1553, 1568, 1574, 1575, 1579 and others.
    """
    check_bindings(query, bind_vars)
    planner = _Planner(view, bind_vars)
    for collection in query.collections:
        planner.collection_name(collection)
    body = planner.block(query.body, {}, {})
    return p.QueryPlan(body, planner.variables, planner.reads, planner.writes, warnings=planner.warnings)


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


def _flat_tests(base: ast.Expr, pairs: Iterable[tuple[str, ast.Expr]]) -> Iterator[ast.Expr]:
    """``base.name == value`` for every attribute of an example; objects inside are compared attribute by attribute."""
    for name, value in pairs:
        attribute = ast.Attribute(base, name)
        if isinstance(value, ast.Literal) and isinstance(value.value, dict) and value.value:
            yield from _flat_tests(attribute, ((key, ast.Literal(inner)) for key, inner in value.value.items()))
        elif isinstance(value, ast.Object) and all(isinstance(key, ast.Literal) for key, _ in value.entries):
            yield from _flat_tests(attribute, ((key.value, inner) for key, inner in value.entries))
        else:
            yield ast.Binary("==", attribute, value)


@dataclass
class _Scope:
    """Names visible at one place: those of the block itself and those of the blocks around it."""

    own: dict[str, p.Variable]
    outer: dict[str, p.Variable]

    def find(self, name: str) -> p.Variable | None:
        return self.own.get(name) or self.outer.get(name)

    def visible(self) -> dict[str, p.Variable]:
        return {**self.outer, **self.own}


class _Planner:
    def __init__(self, view: StoreView, bind_vars: Mapping[str, Any]) -> None:
        self.view = view
        self.bind_vars = bind_vars
        self.variables: list[p.Variable] = []
        self.reads: set[str] = set()
        self.writes: set[str] = set()
        self.written_so_far: set[str] = set()
        self.warnings: list[tuple[int, str]] = []
        self.statements: dict[type, Callable[..., list[p.PlanNode]]] = {
            ast.For: self._for,
            ast.Traversal: self._traversal,
            ast.PathSearch: self._path_search,
            ast.Filter: lambda s, scope: [p.FilterNode(self.expression(s.condition, scope))],
            ast.Let: self._let,
            ast.Sort: self._sort,
            ast.Limit: self._limit,
            ast.Return: lambda s, scope: [p.ReturnNode(self.expression(s.value, scope), s.distinct)],
            ast.Collect: self._collect,
            ast.Window: self._window,
            ast.Insert: self._insert,
            ast.Update: self._update,
            ast.Replace: self._update,
            ast.Remove: self._remove,
            ast.Upsert: self._upsert,
        }

    # --- names ------------------------------------------------------------------------------------------------
    def new_variable(self, name: str | None = None) -> p.Variable:
        slot = len(self.variables)
        variable = p.Variable(str(slot) if name is None else name, slot, internal=name is None)
        self.variables.append(variable)
        return variable

    def declare(self, name: str, scope: _Scope) -> p.Variable:
        if scope.find(name) is not None:
            raise parsing_error(1511, f"variable '{name}' is assigned multiple times")
        scope.own[name] = variable = self.new_variable(name)
        return variable

    def pseudo(self, name: str, scope: _Scope) -> p.Variable:
        """``OLD`` and ``NEW``: a later write statement takes the name over."""
        scope.own[name] = variable = self.new_variable(name)
        variable.internal = True
        return variable

    def collection_name(self, node: ast.Expr) -> str:
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
        if collection in self.written_so_far:
            raise parsing_error(1579, f"access after data-modification by {collection}")
        self.reads.add(collection)
        if len(self.reads) > MAX_COLLECTIONS:
            raise parsing_error(1522, "too many collections/shards")

    def write(self, collection: str) -> None:
        if collection in self.written_so_far:
            raise parsing_error(1579, f"access after data-modification by {collection}")
        self.writes.add(collection)
        self.written_so_far.add(collection)

    # --- blocks -----------------------------------------------------------------------------------------------
    def block(self, block: ast.Block, own: dict, outer: dict) -> p.BlockPlan:
        scope = _Scope(dict(own), outer)
        nodes: list[p.PlanNode] = []
        for statement in block.statements:
            nodes.extend(self.statements[type(statement)](statement, scope))
        return p.BlockPlan(nodes)

    def _for(self, statement: ast.For, scope: _Scope) -> list[p.PlanNode]:
        if statement.search is not None:
            raise unsupported("SEARCH: views are not part of it")
        collection = self._as_collection(statement.source, scope)
        options = self.options(statement.options, scope)
        if collection is not None:
            self.read(collection)
            return [p.EnumerateCollection(self.declare(statement.variable, scope), collection, options)]
        source = self.expression(statement.source, scope)
        return [p.EnumerateList(self.declare(statement.variable, scope), source)]

    def _as_collection(self, source: ast.Expr, scope: _Scope) -> str | None:
        if isinstance(source, ast.CollectionBind) or (isinstance(source, ast.Name) and not scope.find(source.name)):
            return self.collection_name(source)
        return None

    def _let(self, statement: ast.Let, scope: _Scope) -> list[p.PlanNode]:
        value = self.expression(statement.value, scope)
        return [p.Calculation(self.declare(statement.variable, scope), value)]

    def _sort(self, statement: ast.Sort, scope: _Scope) -> list[p.PlanNode]:
        return [p.SortNode(tuple((self.expression(key.value, scope), key.descending) for key in statement.keys))]

    def _limit(self, statement: ast.Limit, scope: _Scope) -> list[p.PlanNode]:
        offset = self._limit_value(statement.offset, scope, missing=0)
        return [p.LimitNode(offset, self._limit_value(statement.count, scope, missing=_NO_LIMIT))]

    def _limit_value(self, node: ast.Expr, scope: _Scope, missing: int) -> int:
        value = self.constant(node, scope, "LIMIT")
        if value is None:
            return missing
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise parsing_error(1504, f"number out of range: LIMIT expects a non-negative number, got {value!r:.60}")
        return int(value)

    # --- graphs -----------------------------------------------------------------------------------------------
    def _graph_access(self, statement: ast.Traversal | ast.PathSearch, options: dict, scope: _Scope) -> p.GraphAccess:
        graph = None
        if statement.graph is not None:
            name = self.constant(statement.graph, scope, "GRAPH")
            if not isinstance(name, str):
                raise wrong_type(getattr(statement.graph, "name", "graph"))
            graph = self.view.graph(name)
            edges = tuple((collection, statement.direction) for collection in graph.edge_collections)
            vertices = graph.vertex_collections
        else:
            edges = tuple(
                (self.collection_name(item.collection), item.direction or statement.direction)
                for item in statement.edges
            )
            vertices = ()
        for collection, _ in edges:
            if self.view.collection(collection).kind != "edge":
                raise ArangoError(1218, f"AQL: collection type invalid: '{collection}' is no edge collection")
            self.read(collection)
        for collection in vertices:
            self.read(collection)
        chosen = options.get("edgeCollections")
        if chosen is not None:
            names = [chosen] if isinstance(chosen, str) else chosen
            for name in names:
                self.view.collection(name)
            edges = tuple(edge for edge in edges if edge[0] in names)
        return p.GraphAccess(edges, vertices, graph, statement.direction)

    def _depths(self, steps: ast.Expr | None, scope: _Scope, default: tuple[int, int]) -> tuple[int, int]:
        if steps is None:
            return default
        if isinstance(steps, ast.Range):
            low, high = (self.constant(bound, scope, "traversal depth") for bound in (steps.low, steps.high))
        else:
            low = high = self.constant(steps, scope, "traversal depth")
        if any(isinstance(x, bool) or not isinstance(x, (int, float)) or x < 0 or x != int(x) for x in (low, high)):
            raise parsing_error(1501, "invalid traversal depth, expecting non-negative whole numbers")
        if low > high:
            raise parsing_error(1501, f"invalid traversal depth: {low}..{high}, the minimum exceeds the maximum")
        return int(low), int(high)

    def _traversal(self, statement: ast.Traversal, scope: _Scope) -> list[p.PlanNode]:
        start = self.expression(statement.start, scope)
        depths = self._depths(statement.steps, scope, (1, 1))
        options = traversal_options(self.options(statement.options, scope))
        access = self._graph_access(statement, options, scope)
        outputs = [self.declare(name, scope) for name in statement.variables]
        padded = tuple([*outputs, None, None][:3])
        prune = variable = None
        if statement.prune is not None:
            prune = self.expression(statement.prune.condition, scope)
            if statement.prune.variable is not None:
                variable = self.declare(statement.prune.variable, scope)
        return [p.TraversalNode(padded, start, *depths, access, prune, variable, options)]

    def _path_search(self, statement: ast.PathSearch, scope: _Scope) -> list[p.PlanNode]:
        start, target = self.expression(statement.start, scope), self.expression(statement.target, scope)
        depths = self._depths(statement.steps, scope, (1, 1))
        options = path_options(self.options(statement.options, scope))
        access = self._graph_access(statement, options, scope)
        outputs = tuple(self.declare(name, scope) for name in statement.variables)
        return [p.PathNode(statement.kind, outputs, start, target, *depths, access, options)]

    # --- grouping ---------------------------------------------------------------------------------------------
    def _collect(self, statement: ast.Collect, scope: _Scope) -> list[p.PlanNode]:
        groups = [(item.variable, self.expression(item.value, scope)) for item in statement.groups]
        aggregates = [(item.variable, *self._aggregation(item.value, scope)) for item in statement.aggregates]
        projection = None if statement.projection is None else self.expression(statement.projection, scope)
        into_variables = self._into_variables(statement, scope)
        method = self._collect_method(self.options(statement.options, scope))
        for name in list(scope.own):
            del scope.own[name]
        planned_groups = tuple((self.declare(name, scope), value) for name, value in groups)
        planned_aggregates = [
            p.Aggregate(self.declare(name, scope), function, argument) for name, function, argument in aggregates
        ]
        if statement.count is not None:
            counter = self.declare(statement.count, scope)
            planned_aggregates.append(p.Aggregate(counter, "LENGTH", ast.Literal(None)))
        into = None if statement.into is None else self.declare(statement.into, scope)
        return [p.CollectNode(planned_groups, tuple(planned_aggregates), into, projection, into_variables, method)]

    def _into_variables(self, statement: ast.Collect, scope: _Scope) -> tuple[p.Variable, ...]:
        if statement.keep is None:
            return tuple(variable for variable in scope.own.values() if not variable.internal)
        found = []
        for name in statement.keep:
            variable = scope.find(name)
            if variable is None:
                raise parsing_error(1512, f"unknown variable '{name}'")
            found.append(variable)
        return tuple(found)

    def _collect_method(self, options: dict[str, Any]) -> str:
        method = options.get("method", "hash")
        if method not in ("hash", "sorted"):
            self.warnings.append((1539, f"unknown/invalid OPTIONS attribute used: method {method!r}"))
            return "hash"
        return method

    def _aggregation(self, node: ast.Expr, scope: _Scope) -> tuple[str, ast.Expr]:
        if not isinstance(node, ast.Call) or node.name not in AGGREGATES or len(node.arguments) > 1:
            raise parsing_error(1574, "invalid aggregate expression")
        if not node.arguments:
            if AGGREGATES[node.name] != "LENGTH":
                raise wrong_argument_count(node.name, 1, 1)
            return "LENGTH", ast.Literal(None)
        return AGGREGATES[node.name], self.expression(node.arguments[0], scope)

    def _window(self, statement: ast.Window, scope: _Scope) -> list[p.PlanNode]:
        if self.written_so_far:
            raise parsing_error(1595, "window operation after data-modification")
        value = None if statement.range_value is None else self.expression(statement.range_value, scope)
        bounds = self.constant(statement.bounds, scope, "WINDOW")
        if not isinstance(bounds, dict) or not bounds or bounds.keys() - {"preceding", "following"}:
            raise parsing_error(1501, "WINDOW expects an object with the attributes preceding and following")
        aggregates = [(item.variable, *self._aggregation(item.value, scope)) for item in statement.aggregates]
        planned = tuple(p.Aggregate(self.declare(name, scope), fn, argument) for name, fn, argument in aggregates)
        return [p.WindowNode(value, bounds.get("preceding", 0), bounds.get("following", 0), planned)]

    # --- writing ----------------------------------------------------------------------------------------------
    def _target(self, node: ast.Expr) -> str:
        name = self.collection_name(node)
        self.write(name)
        return name

    def _results(self, scope: _Scope) -> tuple[p.Variable, p.Variable]:
        return self.pseudo("OLD", scope), self.pseudo("NEW", scope)

    def _insert(self, statement: ast.Insert, scope: _Scope) -> list[p.PlanNode]:
        document = self.expression(statement.document, scope)
        options = self.options(statement.options, scope)
        collection = self._target(statement.collection)
        return [p.ModifyNode("INSERT", collection, document, None, options, *self._results(scope))]

    def _update(self, statement: ast.Update | ast.Replace, scope: _Scope) -> list[p.PlanNode]:
        key = self.expression(statement.key, scope)
        patch = None if statement.patch is None else self.expression(statement.patch, scope)
        options = self.options(statement.options, scope)
        collection = self._target(statement.collection)
        kind = "UPDATE" if isinstance(statement, ast.Update) else "REPLACE"
        return [p.ModifyNode(kind, collection, key, patch, options, *self._results(scope))]

    def _remove(self, statement: ast.Remove, scope: _Scope) -> list[p.PlanNode]:
        key = self.expression(statement.key, scope)
        options = self.options(statement.options, scope)
        collection = self._target(statement.collection)
        old, _ = self._results(scope)
        del scope.own["NEW"]
        return [p.ModifyNode("REMOVE", collection, key, None, options, old, self.new_variable())]

    def _upsert(self, statement: ast.Upsert, scope: _Scope) -> list[p.PlanNode]:
        collection = self.collection_name(statement.collection)
        self.read(collection)
        find = self._upsert_search(statement, collection, scope)
        document = self.expression(statement.document, scope)
        old, new = self._results(scope)
        del scope.own["NEW"]
        patch = self.expression(statement.patch, scope)
        scope.own["NEW"] = new
        options = self.options(statement.options, scope)
        self.write(collection)
        return [p.UpsertNode(collection, find, document, patch, statement.replace, options, old, new)]

    def _upsert_search(self, statement: ast.Upsert, collection: str, scope: _Scope) -> p.SubqueryValue:
        """The lookup of ``UPSERT``, as a subquery that the optimiser can give an index."""
        candidate = self.new_variable()
        nodes: list[p.PlanNode] = [p.EnumerateCollection(candidate, collection)]
        if statement.condition is not None:
            inner = _Scope({"CURRENT": candidate}, scope.visible())
            nodes.append(p.FilterNode(self.expression(statement.condition, inner)))
        else:
            nodes.extend(p.FilterNode(test) for test in self._example_tests(statement.example, candidate, scope))
        nodes += [p.LimitNode(0, 1), p.ReturnNode(p.VarRef(candidate), False)]
        return p.SubqueryValue(p.BlockPlan(nodes))

    def _example_tests(self, example: ast.Expr, candidate: p.Variable, scope: _Scope) -> list[ast.Expr]:
        resolved = self.expression(example, scope)
        if isinstance(resolved, ast.Literal) and isinstance(resolved.value, dict):
            pairs = [(name, ast.Literal(value)) for name, value in resolved.value.items()]
        elif isinstance(resolved, ast.Object):
            if not all(isinstance(key, ast.Literal) for key, _ in resolved.entries):
                raise parsing_error(1501, "UPSERT expects an example whose attribute names are constant")
            pairs = [(key.value, value) for key, value in resolved.entries]
        else:
            raise parsing_error(1501, "UPSERT expects an object literal or bind parameter as example")
        if not pairs:
            raise parsing_error(1501, "UPSERT expects an example with at least one attribute")
        return list(_flat_tests(p.VarRef(candidate), pairs))

    # --- options and constants --------------------------------------------------------------------------------
    def options(self, node: ast.Expr | None, scope: _Scope) -> dict[str, Any]:
        if node is None:
            return {}
        value = self.constant(node, scope, "OPTIONS", 1575)
        return value if isinstance(value, dict) else {}

    def constant(self, node: ast.Expr, scope: _Scope, where: str, error: int = 1501) -> Any:
        """Value of an expression that must be known before the query runs."""
        resolved = self.expression(node, scope)
        if isinstance(resolved, ast.Literal):
            return resolved.value
        from aqlite.aql.expressions import constant_value

        found, value = constant_value(resolved)
        if not found:
            raise parsing_error(
                error,
                f"{where} must be a constant"
                if error == 1501
                else "query options must be readable at query compile time",
            )
        return value

    # --- expressions ------------------------------------------------------------------------------------------
    def expression(self, node: ast.Expr, scope: _Scope) -> ast.Expr:
        """The expression with names, bind parameters and subqueries resolved."""
        handler = self._handlers.get(type(node))
        return self._rebuild(node, scope) if handler is None else handler(self, node, scope)

    def _rebuild(self, node: ast.Node, scope: _Scope) -> Any:
        changes = {spec.name: self._resolved(getattr(node, spec.name), scope) for spec in fields(node)}
        return type(node)(**changes)

    def _resolved(self, value: Any, scope: _Scope) -> Any:
        if isinstance(value, ast.Expr):
            return self.expression(value, scope)
        if isinstance(value, tuple):
            return tuple(self._resolved(item, scope) for item in value)
        return value

    def _name(self, node: ast.Name, scope: _Scope) -> ast.Expr:
        variable = scope.find(node.name)
        if variable is not None:
            return p.VarRef(variable)
        if node.name in ("CURRENT", "OLD", "NEW"):
            raise parsing_error(1512, f"unknown variable '{node.name}'")
        self.view.collection(node.name)
        raise parsing_error(1568, f"collection '{node.name}' used as expression operand")

    def _bind(self, node: ast.Bind, scope: _Scope) -> ast.Expr:
        return ast.Literal(self.bind_vars[node.name])

    def _collection_bind(self, node: ast.CollectionBind, scope: _Scope) -> ast.Expr:
        name = self.collection_name(node)
        raise parsing_error(1568, f"collection '{name}' used as expression operand")

    def _array(self, node: ast.Array, scope: _Scope) -> ast.Expr:
        items = tuple(self.expression(item, scope) for item in node.items)
        if all(isinstance(item, ast.Literal) for item in items):
            return ast.Literal([item.value for item in items])
        return ast.Array(items)

    def _object(self, node: ast.Object, scope: _Scope) -> ast.Expr:
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

    def _attribute(self, node: ast.Attribute, scope: _Scope) -> ast.Expr:
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

    def _index(self, node: ast.Index, scope: _Scope) -> ast.Expr:
        base, index = self.expression(node.base, scope), self.expression(node.index, scope)
        if isinstance(index, ast.Literal) and isinstance(index.value, str) and not index.value.lstrip("-").isdigit():
            return ast.Attribute(base, index.value)
        return ast.Index(base, index)

    def _with_current(self, scope: _Scope) -> tuple[p.Variable, _Scope]:
        current = self.new_variable()
        return current, _Scope({**scope.own, "CURRENT": current}, scope.outer)

    def _expansion(self, node: ast.Expansion, scope: _Scope) -> ast.Expr:
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

    def _question(self, node: ast.Question, scope: _Scope) -> ast.Expr:
        current, inner = self._with_current(scope)
        return p.ResolvedQuestion(
            self.expression(node.base, scope),
            node.quantifier,
            node.amount and self.expression(node.amount, scope),
            node.condition and self.expression(node.condition, inner),
            current=current,
        )

    def _subquery(self, node: ast.Subquery, scope: _Scope) -> ast.Expr:
        return p.SubqueryValue(self.block(node.body, {}, scope.visible()))

    def _call(self, node: ast.Call, scope: _Scope) -> ast.Expr:
        if "::" in node.name:
            raise parsing_error(1582, f"user function '{node.name}()' not found")
        function = FUNCTIONS.get(node.name)
        if function is None and node.name not in _APPROXIMATE:
            raise parsing_error(1540, f"usage of unknown function '{node.name}()'")
        if node.name in ("LENGTH", "COUNT") and len(node.arguments) == 1:
            collection = self._as_collection(node.arguments[0], scope)
            if collection is not None:
                self.read(collection)
                return ast.Call("COLLECTION_COUNT", (ast.Literal(collection),))
        arguments = []
        for position, argument in enumerate(node.arguments):
            if function is not None and position in function.collection_args:
                name = self._as_collection(argument, scope)
                if name is not None:
                    self.read(name)
                    arguments.append(ast.Literal(name))
                    continue
            arguments.append(self.expression(argument, scope))
        if function is not None and not function.accepts(len(arguments)):
            raise wrong_argument_count(node.name, function.min_args, function.max_args)
        return ast.Call(node.name, tuple(arguments))

    _handlers: dict[type, Callable[..., ast.Expr]] = {
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
