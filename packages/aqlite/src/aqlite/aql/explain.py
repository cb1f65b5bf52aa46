"""Execution plans as JSON, in the shape of ArangoDB's ``/_api/explain``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aqlite.aql import ast
from aqlite.aql import plan as p
from aqlite.aql.runtime import NodeProfile
from aqlite.storage.api import IndexInfo, StoreView
from aqlite.storage.indexes import kind_of

_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=", "IN", "NOT IN")
_LOGICAL = {"AND": "logical and", "OR": "logical or"}
_ARITHMETIC = {"+": "plus", "-": "minus", "*": "times", "/": "division", "%": "modulus"}
_UNARY = {"-": "unary minus", "+": "unary plus", "!": "unary not"}
_LIST_ITEMS = 100
"""Guess for the length of an array that is not known before the query runs; ArangoDB's own."""


def plan_object(view: StoreView, plan: p.QueryPlan) -> dict[str, Any]:
    """The plan with its nodes, rules, collections, variables and estimates."""
    return profiled_plan(view, plan, {})[0]


def profiled_plan(
    view: StoreView, plan: p.QueryPlan, profiles: Mapping[int, NodeProfile]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The plan as ``plan_object`` has it, and what each of its nodes did.

    aqlite computes the inputs of an operation within it, so the nodes of both tell the operation's numbers.
    """
    writer = _PlanWriter(view)
    writer.node("SingletonNode")
    writer.block(plan.body)
    return _written(writer, plan), _node_statistics(writer, profiles)


def _node_statistics(writer: _PlanWriter, profiles: Mapping[int, NodeProfile]) -> list[dict[str, Any]]:
    profile = before = once = NodeProfile(calls=1, items=1)
    last, found = None, []
    for node, owner in zip(writer.nodes, writer.owners, strict=True):
        if owner is not last:
            last, before = owner, profile
        profile = once if owner is None else profiles.get(id(owner), NodeProfile())
        filtered = max(0, before.items - profile.items) if node["type"] == "FilterNode" else 0
        found.append(
            {
                "id": node["id"],
                "calls": profile.calls,
                "items": profile.items,
                "filtered": filtered,
                "runtime": profile.seconds,
            }
        )
    return found


def _written(writer: _PlanWriter, plan: p.QueryPlan) -> dict[str, Any]:
    last = writer.nodes[-1]
    access = [{"name": name, "type": "write"} for name in sorted(plan.writes)]
    access += [{"name": name, "type": "read"} for name in sorted(plan.reads - plan.writes)]
    return {
        "nodes": writer.nodes,
        "rules": plan.rules,
        "collections": access,
        "variables": [variable_object(variable) for variable in (*plan.variables, *writer.temporaries)],
        "estimatedCost": last["estimatedCost"],
        "estimatedNrItems": last["estimatedNrItems"],
        "isModificationQuery": plan.modifies,
    }


def variable_object(variable: p.Variable) -> dict[str, Any]:
    """A variable as plans show it."""
    return {"id": variable.slot, "name": variable.name, "isFullDocumentFromCollection": False}


def index_object(index: IndexInfo) -> dict[str, Any]:
    """An index as plans show it."""
    shown: dict[str, Any] = {
        "id": index.id,
        "type": index.type,
        "name": index.name,
        "fields": [".".join(path) for path in index.fields],
        "unique": index.unique,
        "sparse": index.sparse,
    }
    if index.params:
        shown["params"] = index.params
    return shown


@dataclass
class _PlanWriter:
    """Writes nodes one after the other, and keeps the running estimates."""

    view: StoreView
    nodes: list[dict[str, Any]] = field(default_factory=list)
    owners: list[p.PlanNode | None] = field(default_factory=list)
    owner: p.PlanNode | None = None
    temporaries: list[p.Variable] = field(default_factory=list)
    cost: float = 0
    items: float = 1

    # --- building blocks --------------------------------------------------------------------------------------
    def node(self, type_: str, **attributes: Any) -> None:
        self.cost += self.items
        dependencies = [self.nodes[-1]["id"]] if self.nodes else []
        self.owners.append(self.owner)
        self.nodes.append(
            {
                "type": type_,
                "dependencies": dependencies,
                "id": len(self.nodes) + 1,
                "estimatedCost": self.cost,
                "estimatedNrItems": int(self.items),
                **attributes,
            }
        )

    def block(self, block: p.BlockPlan) -> None:
        around = self.owner
        for node in block.nodes:
            self.owner = node
            self._writers[type(node)](self, node)
        self.owner = around

    def in_variable(self, value: ast.Expr) -> dict[str, Any]:
        """The variable that holds a value, computed by a node of its own unless it is a variable already."""
        if isinstance(value, p.VarRef):
            return variable_object(value.variable)
        number = 1_000_000 + len(self.temporaries)
        variable = p.Variable(str(number), number, internal=True)
        self.temporaries.append(variable)
        self.calculation(variable, value)
        return variable_object(variable)

    def calculation(self, variable: p.Variable, value: ast.Expr) -> None:
        if isinstance(value, p.SubqueryValue):
            self.subquery(variable, value)
            return
        expression = self.expression(value)
        self.node(
            "CalculationNode",
            expression=expression,
            outVariable=variable_object(variable),
            canThrow=False,
            expressionType="json" if isinstance(value, ast.Literal) else _expression_type(value),
        )

    def subquery(self, variable: p.Variable, value: p.SubqueryValue) -> None:
        items = self.items
        self.node("SubqueryStartNode", subqueryOutVariable=variable_object(variable))
        self.items = 1
        self.block(value.block)
        self.items = items
        self.node("SubqueryEndNode", outVariable=variable_object(variable), isConst=False)

    def expression(self, node: ast.Expr) -> dict[str, Any]:
        """An expression as JSON; subqueries in it become nodes before the current one."""
        if isinstance(node, p.SubqueryValue):
            return _reference(self.in_variable(node))
        if isinstance(node, p.VarRef):
            return _reference(variable_object(node.variable))
        if isinstance(node, ast.Literal):
            return {"type": "value", "value": node.value}
        parts = [self.expression(child) for child in node.children()]
        return {**_described(node), "subNodes": parts}

    # --- nodes ------------------------------------------------------------------------------------------------
    def _enumerate_collection(self, node: p.EnumerateCollection) -> None:
        self.items *= self.view.count(node.collection)
        self.node(
            "EnumerateCollectionNode",
            database=self.view.database,
            collection=node.collection,
            outVariable=variable_object(node.variable),
            random=False,
            projections=[],
            producesResult=True,
        )

    def _index_scan(self, node: p.IndexScan) -> None:
        self.items *= self._index_items(node)
        self.node(
            "IndexNode",
            database=self.view.database,
            collection=node.collection,
            outVariable=variable_object(node.variable),
            projections=[],
            producesResult=True,
            indexes=[index_object(node.index) for _ in node.bounds],
            condition={} if node.condition is None else self.expression(node.condition),
            sorted=True,
            ascending=not node.reverse,
            reverse=node.reverse,
            limit=0,
        )

    def _index_items(self, node: p.IndexScan) -> float:
        count = self.view.count(node.collection)
        one = node.index.unique and all(len(bound.equal) == len(node.index.fields) for bound in node.bounds)
        if one and not any(bound.in_list for bound in node.bounds):
            return min(count, len(node.bounds))
        return count if not any(True for _ in node.expressions()) else max(1, math.isqrt(count)) * len(node.bounds)

    def _near_vectors(self, node: p.EnumerateNearVectors) -> None:
        query = self.in_variable(node.query)
        self.items *= min(self.view.count(node.collection), node.offset + node.count)
        self.node(
            "EnumerateNearVectorNode",
            database=self.view.database,
            collection=node.collection,
            inVariable=query,
            oldDocumentVariable=variable_object(node.variable),
            documentOutVariable=variable_object(node.variable),
            distanceOutVariable=variable_object(node.score),
            limit=node.count,
            offset=node.offset,
            searchParameters={} if node.n_probe is None else {"nProbe": node.n_probe},
            filterExpression={} if node.condition is None else self.expression(node.condition),
            indexes=[index_object(node.index)],
        )

    def _exact_vectors(self, node: p.ExactVectors) -> None:
        self.items *= min(self.view.count(node.collection), node.count)
        self.node(
            "EnumerateExactVectorsNode",
            database=self.view.database,
            collection=node.collection,
            outVariable=variable_object(node.variable),
            scoreOutVariable=variable_object(node.score),
            expression=self.expression(node.call),
            filters=[self.expression(condition) for condition in (*node.before, *node.after)],
            ascending=not node.descending,
            limit=node.count,
        )

    def _enumerate_list(self, node: p.EnumerateList) -> None:
        source = self.in_variable(node.source)
        self.items *= _length(node.source)
        self.node("EnumerateListNode", inVariable=source, outVariable=variable_object(node.variable))

    def _graph(self, node: p.TraversalNode | p.PathNode, type_: str, **attributes: Any) -> None:
        self.items *= _LIST_ITEMS
        access = node.access
        self.node(
            type_,
            database=self.view.database,
            graph=None if access.graph is None else access.graph.name,
            edgeCollections=[collection for collection, _ in access.edges],
            vertexCollections=list(access.vertex_collections),
            directions=[direction.lower() for _, direction in access.edges],
            options=node.options,
            indexes={"base": [index_object(self._edge_index(collection)) for collection, _ in access.edges]},
            **attributes,
        )

    def _edge_index(self, collection: str) -> IndexInfo:
        return next(index for index in self.view.collection(collection).indexes if kind_of(index).connects_vertices)

    def _traversal(self, node: p.TraversalNode) -> None:
        start = self.in_variable(node.start)
        names = ("vertexOutVariable", "edgeOutVariable", "pathOutVariable")
        outputs = {
            name: variable_object(variable)
            for name, variable in zip(names, node.variables, strict=True)
            if variable is not None
        }
        options = {"minDepth": node.min_depth, "maxDepth": node.max_depth, **node.options}
        prune = {} if node.prune is None else {"pruneCondition": self.expression(node.prune)}
        self._graph(node, "TraversalNode", inVariable=start, **outputs, traversalFlags=options, **prune)

    def _path(self, node: p.PathNode) -> None:
        start, target = self.in_variable(node.start), self.in_variable(node.target)
        ends = {"startInVariable": start, "targetInVariable": target}
        if node.kind == "SHORTEST_PATH":
            names = ("vertexOutVariable", "edgeOutVariable")
            outputs = {name: variable_object(v) for name, v in zip(names, node.variables, strict=False)}
            self._graph(node, "ShortestPathNode", **ends, **outputs)
        else:
            output = variable_object(node.variables[0])
            kind = node.kind.lower().replace("_", " ")
            self._graph(node, "EnumeratePathsNode", **ends, pathOutVariable=output, shortestPathType=kind)

    def _calculation(self, node: p.Calculation) -> None:
        self.calculation(node.variable, node.value)

    def _filter(self, node: p.FilterNode) -> None:
        self.node("FilterNode", inVariable=self.in_variable(node.condition))

    def _sort(self, node: p.SortNode) -> None:
        elements = [
            {"inVariable": self.in_variable(value), "ascending": not descending} for value, descending in node.keys
        ]
        strategy = "standard" if node.limit is None else "constrained-heap"
        limit = {} if node.limit is None else {"limit": node.limit}
        self.node("SortNode", elements=elements, stable=False, strategy=strategy, **limit)

    def _limit(self, node: p.LimitNode) -> None:
        self.items = min(self.items, node.count)
        self.node("LimitNode", offset=node.offset, limit=node.count, fullCount=node.full_count)

    def _collect(self, node: p.CollectNode) -> None:
        groups = [
            {"outVariable": variable_object(variable), "inVariable": self.in_variable(value)}
            for variable, value in node.groups
        ]
        aggregates = self._aggregates(node.aggregates)
        self.items = max(1, self.items * 0.8) if groups else 1
        into = {} if node.into is None else {"outVariable": variable_object(node.into)}
        self.node(
            "CollectNode",
            groups=groups,
            aggregates=aggregates,
            isDistinctCommand=False,
            keepVariables=[variable_object(variable) for variable in node.into_variables] if node.into else [],
            collectOptions={"method": node.method},
            **into,
        )

    def _aggregates(self, aggregates: tuple[p.Aggregate, ...]) -> list[dict[str, Any]]:
        return [
            {
                "outVariable": variable_object(item.variable),
                "inVariable": self.in_variable(item.argument),
                "type": item.function,
            }
            for item in aggregates
        ]

    def _window(self, node: p.WindowNode) -> None:
        value = {} if node.range_value is None else {"rangeVariable": self.in_variable(node.range_value)}
        aggregates = self._aggregates(node.aggregates)
        self.node("WindowNode", preceding=node.preceding, following=node.following, aggregates=aggregates, **value)

    def _modify(self, node: p.ModifyNode) -> None:
        key = self.in_variable(node.key)
        patch = {} if node.patch is None else {"inKeyVariable": key}
        value = key if node.patch is None else self.in_variable(node.patch)
        self._write(node, f"{node.kind.capitalize()}Node", inVariable=value, **patch)

    def _upsert(self, node: p.UpsertNode) -> None:
        found = self.in_variable(node.find)
        inserted, updated = self.in_variable(node.document), self.in_variable(node.patch)
        self._write(
            node,
            "UpsertNode",
            inDocVariable=found,
            insertVariable=inserted,
            updateVariable=updated,
            isReplace=node.replace,
        )

    def _write(self, node: p.ModifyNode | p.UpsertNode, type_: str, **inputs: Any) -> None:
        self.node(
            type_,
            database=self.view.database,
            collection=node.collection,
            outVariableOld=variable_object(node.old),
            outVariableNew=variable_object(node.new),
            modificationFlags=node.options,
            **inputs,
        )

    def _return(self, node: p.ReturnNode) -> None:
        value = self.in_variable(node.value)
        if node.distinct:
            group = {"outVariable": value, "inVariable": value}
            options = {"method": "distinct"}
            self.node("CollectNode", groups=[group], aggregates=[], isDistinctCommand=True, collectOptions=options)
        self.node("ReturnNode", inVariable=value, count=True)

    _writers: dict[type, Callable[[_PlanWriter, Any], None]] = field(
        init=False,
        repr=False,
        default_factory=lambda: {
            p.EnumerateCollection: _PlanWriter._enumerate_collection,
            p.IndexScan: _PlanWriter._index_scan,
            p.EnumerateNearVectors: _PlanWriter._near_vectors,
            p.ExactVectors: _PlanWriter._exact_vectors,
            p.EnumerateList: _PlanWriter._enumerate_list,
            p.TraversalNode: _PlanWriter._traversal,
            p.PathNode: _PlanWriter._path,
            p.Calculation: _PlanWriter._calculation,
            p.FilterNode: _PlanWriter._filter,
            p.SortNode: _PlanWriter._sort,
            p.LimitNode: _PlanWriter._limit,
            p.CollectNode: _PlanWriter._collect,
            p.WindowNode: _PlanWriter._window,
            p.ModifyNode: _PlanWriter._modify,
            p.UpsertNode: _PlanWriter._upsert,
            p.ReturnNode: _PlanWriter._return,
        },
    )


# --- expressions ----------------------------------------------------------------------------------------------
def _reference(variable: dict[str, Any]) -> dict[str, Any]:
    return {"type": "reference", "name": variable["name"], "id": variable["id"]}


def _described(node: ast.Node) -> dict[str, Any]:
    """Type and own attributes of an expression node."""
    if isinstance(node, ast.Attribute):
        return {"type": "attribute access", "name": node.name}
    if isinstance(node, ast.Call):
        return {"type": "function call", "name": node.name}
    if isinstance(node, ast.Binary):
        return {"type": _binary_type(node.op)}
    if isinstance(node, ast.ArrayComparison):
        return {"type": f"array compare {node.op}", "quantifier": node.quantifier.lower()}
    if isinstance(node, ast.Unary):
        return {"type": _UNARY[node.op]}
    if isinstance(node, ast.Expansion):
        return {"type": "expansion", "levels": node.levels}
    return {"type": _TYPE_NAMES.get(type(node), type(node).__name__.lower())}


_TYPE_NAMES = {
    ast.Index: "indexed access",
    ast.Array: "array",
    ast.Object: "object",
    ast.Ternary: "ternary operator",
    ast.Range: "range",
    ast.InlineLimit: "array limit",
    p.ResolvedQuestion: "array filter",
}


def _binary_type(op: str) -> str:
    if op in _COMPARISONS:
        return f"compare {op.lower()}"
    return _LOGICAL.get(op) or _ARITHMETIC.get(op) or f"compare {op.lower()}"


def _expression_type(value: ast.Expr) -> str:
    return "attribute" if isinstance(value, ast.Attribute) else "simple"


def _length(source: ast.Expr) -> float:
    if isinstance(source, ast.Literal):
        return len(source.value) if isinstance(source.value, list) else 0
    if isinstance(source, ast.Array):
        return len(source.items)
    if isinstance(source, ast.Range) and all(isinstance(x, ast.Literal) for x in (source.low, source.high)):
        low, high = source.low.value, source.high.value
        if isinstance(low, (int, float)) and isinstance(high, (int, float)):
            return abs(high - low) + 1
    return _LIST_ITEMS
