"""Syntax tree to execution plan, statement by statement, with the rules for what may follow what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from aqlite.aql import ast
from aqlite.aql import plan as p
from aqlite.aql.aggregates import AGGREGATES
from aqlite.aql.bindings import check_bindings, wrong_type
from aqlite.aql.graph_options import path_options, traversal_options
from aqlite.aql.resolver import Resolver, Scope, parsing_error, unsupported, wrong_argument_count
from aqlite.errors import ArangoError
from aqlite.storage.api import GraphInfo, StoreView

_NO_LIMIT = 2**62  # LIMIT 5, null: all rows but the first five


def plan_query(view: StoreView, query: ast.Query, bind_vars: Mapping[str, Any]) -> p.QueryPlan:
    """Make the plan of a parsed query, not optimised yet.

    Raises:
        ArangoError: 1203, 1511, 1512, 1540, 1541, 1551-1553, 1568, 1574, 1575, 1579 and others.
    """
    check_bindings(query, bind_vars)
    planner = _Planner(view, bind_vars)
    for collection in query.collections:
        planner.collection_name(collection)
    body = planner.block(query.body, {})
    return p.QueryPlan(body, planner.variables, planner.reads, planner.writes, warnings=planner.warnings)


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


class _Planner(Resolver):
    """Plans one query."""

    def __init__(self, view: StoreView, bind_vars: Mapping[str, Any]) -> None:
        super().__init__(view, bind_vars)
        self._statements: dict[type, Callable[..., list[p.PlanNode]]] = {
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

    # --- blocks -----------------------------------------------------------------------------------------------
    def block(self, block: ast.Block, outer: dict[str, p.Variable]) -> p.BlockPlan:
        scope = Scope({}, outer)
        nodes: list[p.PlanNode] = []
        for statement in block.statements:
            nodes.extend(self._statements[type(statement)](statement, scope))
        return p.BlockPlan(nodes)

    def _for(self, statement: ast.For, scope: Scope) -> list[p.PlanNode]:
        if statement.search is not None:
            raise unsupported("SEARCH: views are not part of it")
        collection = self._as_collection(statement.source, scope)
        options = self.options(statement.options, scope, "FOR")
        if collection is not None:
            self.read(collection)
            return [p.EnumerateCollection(self.declare(statement.variable, scope), collection, options)]
        source = self.expression(statement.source, scope)
        return [p.EnumerateList(self.declare(statement.variable, scope), source)]

    def _as_collection(self, source: ast.Expr, scope: Scope) -> str | None:
        if isinstance(source, ast.CollectionBind) or (isinstance(source, ast.Name) and not scope.find(source.name)):
            return self.collection_name(source)
        return None

    def _let(self, statement: ast.Let, scope: Scope) -> list[p.PlanNode]:
        value = self.expression(statement.value, scope)
        return [p.Calculation(self.declare(statement.variable, scope), value)]

    def _sort(self, statement: ast.Sort, scope: Scope) -> list[p.PlanNode]:
        return [p.SortNode(tuple((self.expression(key.value, scope), key.descending) for key in statement.keys))]

    def _limit(self, statement: ast.Limit, scope: Scope) -> list[p.PlanNode]:
        offset = self._limit_value(statement.offset, scope, missing=0)
        return [p.LimitNode(offset, self._limit_value(statement.count, scope, missing=_NO_LIMIT))]

    def _limit_value(self, node: ast.Expr, scope: Scope, missing: int) -> int:
        value = self.constant(node, scope, "LIMIT")
        if value is None:
            return missing
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise parsing_error(1504, f"number out of range: LIMIT expects a non-negative number, got {value!r:.60}")
        return int(value)

    # --- graphs -----------------------------------------------------------------------------------------------
    def _graph_access(self, statement: ast.Traversal | ast.PathSearch, options: dict, scope: Scope) -> p.GraphAccess:
        if self.writes:
            raise parsing_error(1579, "access after data-modification by traversal")
        graph, edges = self._edge_sets(statement, scope)
        vertices = () if graph is None else graph.vertex_collections
        for collection, _ in edges:
            self._require_edges(collection)
            self.read(collection)
        for collection in vertices:
            self.view.collection(collection)
            self.read(collection)
        for name in options["vertexCollections"] or ():
            self.view.collection(name)
            if graph is not None and name not in vertices:
                raise ArangoError(1926, f"vertex collection '{name}' does not exist or is not part of the graph")
        chosen = options["edgeCollections"]
        if chosen is not None:
            for name in chosen:
                self._require_edges(name)
                if graph is not None and name not in graph.edge_collections:
                    raise ArangoError(1939, f"edge collection '{name}' does not exist or is not part of the graph")
            edges = tuple(edge for edge in edges if edge[0] in chosen)
        return p.GraphAccess(edges, vertices, graph)

    def _require_edges(self, collection: str) -> None:
        if self.view.collection(collection).kind != "edge":
            raise ArangoError(1218, f"collection type invalid: '{collection}' is no edge collection")

    def _edge_sets(
        self, statement: ast.Traversal | ast.PathSearch, scope: Scope
    ) -> tuple[GraphInfo | None, tuple[tuple[str, str], ...]]:
        """The named graph, if any, and the edge collections with their directions."""
        if statement.graph is None:
            names = [(self.collection_name(item.collection), item.direction) for item in statement.edges]
            return None, tuple((name, direction or statement.direction) for name, direction in names)
        name = self.constant(statement.graph, scope, "GRAPH")
        if not isinstance(name, str):
            raise wrong_type(getattr(statement.graph, "name", "graph"))
        graph = self.view.graph(name)
        return graph, tuple((collection, statement.direction) for collection in graph.edge_collections)

    def _depths(self, steps: ast.Expr | None, scope: Scope, default: tuple[int, int]) -> tuple[int, int]:
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

    def _traversal(self, statement: ast.Traversal, scope: Scope) -> list[p.PlanNode]:
        start = self.expression(statement.start, scope)
        depths = self._depths(statement.steps, scope, (1, 1))
        options = traversal_options(self.options(statement.options, scope, "traversal"))
        access = self._graph_access(statement, options, scope)
        outputs = [self.declare(name, scope) for name in statement.variables]
        padded = tuple([*outputs, None, None][:3])
        prune = variable = None
        if statement.prune is not None:
            prune = self.expression(statement.prune.condition, scope)
            if statement.prune.variable is not None:
                variable = self.declare(statement.prune.variable, scope)
        return [p.TraversalNode(padded, start, *depths, access, prune, variable, options)]

    def _path_search(self, statement: ast.PathSearch, scope: Scope) -> list[p.PlanNode]:
        start, target = self.expression(statement.start, scope), self.expression(statement.target, scope)
        depths = self._depths(statement.steps, scope, (1, 1))
        options = path_options(self.options(statement.options, scope, "path search"))
        access = self._graph_access(statement, options, scope)
        outputs = tuple(self.declare(name, scope) for name in statement.variables)
        return [p.PathNode(statement.kind, outputs, start, target, *depths, access, options)]

    # --- grouping ---------------------------------------------------------------------------------------------
    def _collect(self, statement: ast.Collect, scope: Scope) -> list[p.PlanNode]:
        groups = [(item.variable, self.expression(item.value, scope)) for item in statement.groups]
        aggregates = [(item.variable, *self._aggregation(item.value, scope)) for item in statement.aggregates]
        projection = None if statement.projection is None else self.expression(statement.projection, scope)
        into_variables = self._into_variables(statement, scope)
        method = self._collect_method(self.options(statement.options, scope, "COLLECT"))
        scope.own.clear()
        planned_groups = tuple((self.declare(name, scope), value) for name, value in groups)
        planned_aggregates = [
            p.Aggregate(self.declare(name, scope), function, argument) for name, function, argument in aggregates
        ]
        if statement.count is not None:
            counter = self.declare(statement.count, scope)
            planned_aggregates.append(p.Aggregate(counter, "LENGTH", ast.Literal(None)))
        into = None if statement.into is None else self.declare(statement.into, scope)
        return [p.CollectNode(planned_groups, tuple(planned_aggregates), into, projection, into_variables, method)]

    def _into_variables(self, statement: ast.Collect, scope: Scope) -> tuple[p.Variable, ...]:
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

    def _aggregation(self, node: ast.Expr, scope: Scope) -> tuple[str, ast.Expr]:
        if not isinstance(node, ast.Call) or node.name not in AGGREGATES or len(node.arguments) > 1:
            raise parsing_error(1574, "invalid aggregate expression")
        if not node.arguments:
            if AGGREGATES[node.name] != "LENGTH":
                raise wrong_argument_count(node.name, 1, 1)
            return "LENGTH", ast.Literal(None)
        return AGGREGATES[node.name], self.expression(node.arguments[0], scope)

    def _window(self, statement: ast.Window, scope: Scope) -> list[p.PlanNode]:
        if self.writes:
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

    def _results(self, scope: Scope) -> tuple[p.Variable, p.Variable]:
        return self.pseudo("OLD", scope), self.pseudo("NEW", scope)

    def _insert(self, statement: ast.Insert, scope: Scope) -> list[p.PlanNode]:
        document = self.expression(statement.document, scope)
        options = self.options(statement.options, scope, "INSERT")
        collection = self._target(statement.collection)
        old, new = self._results(scope)
        if options.get("overwriteMode") == "ignore":
            del scope.own["OLD"]  # a document that is left alone has no old state
        return [p.ModifyNode("INSERT", collection, document, None, options, old, new)]

    def _update(self, statement: ast.Update | ast.Replace, scope: Scope) -> list[p.PlanNode]:
        key = self.expression(statement.key, scope)
        patch = None if statement.patch is None else self.expression(statement.patch, scope)
        kind = "UPDATE" if isinstance(statement, ast.Update) else "REPLACE"
        options = self.options(statement.options, scope, kind)
        collection = self._target(statement.collection)
        return [p.ModifyNode(kind, collection, key, patch, options, *self._results(scope))]

    def _remove(self, statement: ast.Remove, scope: Scope) -> list[p.PlanNode]:
        key = self.expression(statement.key, scope)
        options = self.options(statement.options, scope, "REMOVE")
        collection = self._target(statement.collection)
        old, _ = self._results(scope)
        del scope.own["NEW"]
        return [p.ModifyNode("REMOVE", collection, key, None, options, old, self.new_variable())]

    def _upsert(self, statement: ast.Upsert, scope: Scope) -> list[p.PlanNode]:
        collection = self.collection_name(statement.collection)
        self.read(collection)
        find = self._upsert_search(statement, collection, scope)
        document = self.expression(statement.document, scope)
        old, new = self._results(scope)
        del scope.own["NEW"]
        patch = self.expression(statement.patch, scope)
        scope.own["NEW"] = new
        options = self.options(statement.options, scope, "UPSERT")
        self.write(collection)
        return [p.UpsertNode(collection, find, document, patch, statement.replace, options, old, new)]

    def _upsert_search(self, statement: ast.Upsert, collection: str, scope: Scope) -> p.SubqueryValue:
        """The lookup of ``UPSERT``, as a subquery that the optimiser can give an index."""
        candidate = self.new_variable()
        nodes: list[p.PlanNode] = [p.EnumerateCollection(candidate, collection)]
        if statement.condition is not None:
            inner = Scope({"CURRENT": candidate}, scope.visible())
            nodes.append(p.FilterNode(self.expression(statement.condition, inner)))
        else:
            nodes.extend(p.FilterNode(test) for test in self._example_tests(statement.example, candidate, scope))
        nodes += [p.LimitNode(0, 1), p.ReturnNode(p.VarRef(candidate), False)]
        return p.SubqueryValue(p.BlockPlan(nodes))

    def _example_tests(self, example: ast.Expr, candidate: p.Variable, scope: Scope) -> list[ast.Expr]:
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
