"""Syntax trees back to AQL text, for the parser's round-trip property; every operand is put in brackets."""

from __future__ import annotations

import json

from aqlite.aql import ast


def text_of(node: ast.Node | None) -> str:
    """AQL text that parses to the node."""
    return _WRITERS[type(node)](node)


def _literal(node: ast.Literal) -> str:
    return json.dumps(node.value)


def _name(name: str) -> str:
    return f"`{name}`"


def _object(node: ast.Object) -> str:
    entries = []
    for key, value in node.entries:
        name = json.dumps(key.value) if isinstance(key, ast.Literal) else f"[{text_of(key)}]"
        entries.append(f"{name}: {text_of(value)}")
    return "{" + ", ".join(entries) + "}"


def _array(node: ast.Array) -> str:
    return "[" + ", ".join(map(text_of, node.items)) + "]"


def _binary(node: ast.Binary) -> str:
    return f"({text_of(node.left)}) {node.op} ({text_of(node.right)})"


def _array_comparison(node: ast.ArrayComparison) -> str:
    amount = "" if node.amount is None else f" ({text_of(node.amount)})"
    return f"({text_of(node.left)}) {node.quantifier}{amount} {node.op} ({text_of(node.right)})"


def _ternary(node: ast.Ternary) -> str:
    then = "" if node.then is None else f"({text_of(node.then)})"
    return f"({text_of(node.condition)}) ? {then} : ({text_of(node.otherwise)})"


def _expansion(node: ast.Expansion) -> str:
    inline = "" if node.condition is None else f" FILTER {text_of(node.condition)}"
    if node.limit is not None:
        inline += f" LIMIT {text_of(node.limit.offset)}, {text_of(node.limit.count)}"
    if node.projection is not None:
        inline += f" RETURN {text_of(node.projection)}"
    return f"({text_of(node.base)})[{'*' * node.levels}{inline}]"


def _question(node: ast.Question) -> str:
    amount = "" if node.amount is None else f" {text_of(node.amount)}"
    quantifier = " AT LEAST (" + amount + ")" if node.quantifier == "AT LEAST" else f" {node.quantifier or ''}{amount}"
    condition = "" if node.condition is None else f" FILTER {text_of(node.condition)}"
    return f"({text_of(node.base)})[?{quantifier}{condition}]"


def _call(node: ast.Call) -> str:
    return f"{node.name}({', '.join(map(text_of, node.arguments))})"


def _block(node: ast.Block) -> str:
    return "\n".join(map(text_of, node.statements))


def _options(node: ast.Statement) -> str:
    return "" if node.options is None else f" OPTIONS {text_of(node.options)}"


def _assignments(items: tuple[ast.Assignment, ...]) -> str:
    return ", ".join(f"{_name(item.variable)} = {text_of(item.value)}" for item in items)


def _for(node: ast.For) -> str:
    return f"FOR {_name(node.variable)} IN ({text_of(node.source)}){_options(node)}"


def _traversal(node: ast.Traversal) -> str:
    steps = "" if node.steps is None else f"({text_of(node.steps)})"
    subject = (
        f"GRAPH {text_of(node.graph)}"
        if node.graph is not None
        else ", ".join(f"{edge.direction or ''} {text_of(edge.collection)}" for edge in node.edges)
    )
    prune = ""
    if node.prune is not None:
        variable = "" if node.prune.variable is None else f"{_name(node.prune.variable)} = "
        prune = f" PRUNE {variable}({text_of(node.prune.condition)})"
    names = ", ".join(map(_name, node.variables))
    return f"FOR {names} IN {steps} {node.direction} ({text_of(node.start)}) {subject}{prune}{_options(node)}"


def _sort(node: ast.Sort) -> str:
    return "SORT " + ", ".join(f"{text_of(key.value)} {'DESC' if key.descending else 'ASC'}" for key in node.keys)


def _collect(node: ast.Collect) -> str:
    text = f"COLLECT {_assignments(node.groups)}"
    if node.aggregates:
        text += f" AGGREGATE {_assignments(node.aggregates)}"
    if node.count is not None:
        text += f" WITH COUNT INTO {_name(node.count)}"
    if node.into is not None:
        text += f" INTO {_name(node.into)}"
        text += "" if node.projection is None else f" = {text_of(node.projection)}"
        text += "" if node.keep is None else f" KEEP {', '.join(map(_name, node.keep))}"
    return text + _options(node)


def _window(node: ast.Window) -> str:
    value = "" if node.range_value is None else f"{text_of(node.range_value)} WITH "
    return f"WINDOW {value}{text_of(node.bounds)} AGGREGATE {_assignments(node.aggregates)}"


def _change(word: str, node: ast.Update | ast.Replace) -> str:
    patch = "" if node.patch is None else f" WITH ({text_of(node.patch)})"
    return f"{word} ({text_of(node.key)}){patch} IN {text_of(node.collection)}{_options(node)}"


def _upsert(node: ast.Upsert) -> str:
    search = text_of(node.example) if node.condition is None else f"FILTER {text_of(node.condition)}"
    kind = "REPLACE" if node.replace else "UPDATE"
    return (
        f"UPSERT {search} INSERT ({text_of(node.document)}) {kind} ({text_of(node.patch)}) "
        f"IN {text_of(node.collection)}{_options(node)}"
    )


_WRITERS = {
    ast.Literal: _literal,
    ast.Name: lambda node: node.name if node.name == "CURRENT" else _name(node.name),
    ast.Bind: lambda node: f"@{node.name}",
    ast.CollectionBind: lambda node: f"@@{node.name}",
    ast.Array: _array,
    ast.Object: _object,
    ast.Attribute: lambda node: f"({text_of(node.base)}).{_name(node.name)}",
    ast.Index: lambda node: f"({text_of(node.base)})[{text_of(node.index)}]",
    ast.Expansion: _expansion,
    ast.Question: _question,
    ast.Unary: lambda node: f"{node.op}({text_of(node.operand)})",
    ast.Binary: _binary,
    ast.ArrayComparison: _array_comparison,
    ast.Ternary: _ternary,
    ast.Range: lambda node: f"({text_of(node.low)})..({text_of(node.high)})",
    ast.Call: _call,
    ast.Subquery: lambda node: f"({text_of(node.body)})",
    ast.Block: _block,
    ast.Query: lambda node: text_of(node.body),
    ast.For: _for,
    ast.Traversal: _traversal,
    ast.Filter: lambda node: f"FILTER {text_of(node.condition)}",
    ast.Let: lambda node: f"LET {_name(node.variable)} = {text_of(node.value)}",
    ast.Sort: _sort,
    ast.Limit: lambda node: f"LIMIT {text_of(node.offset)}, {text_of(node.count)}",
    ast.Return: lambda node: f"RETURN {'DISTINCT ' if node.distinct else ''}{text_of(node.value)}",
    ast.Collect: _collect,
    ast.Window: _window,
    ast.Insert: lambda node: f"INSERT ({text_of(node.document)}) INTO {text_of(node.collection)}{_options(node)}",
    ast.Update: lambda node: _change("UPDATE", node),
    ast.Replace: lambda node: _change("REPLACE", node),
    ast.Remove: lambda node: f"REMOVE ({text_of(node.key)}) IN {text_of(node.collection)}{_options(node)}",
    ast.Upsert: _upsert,
}
