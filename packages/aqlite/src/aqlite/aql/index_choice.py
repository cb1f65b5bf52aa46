"""Which index serves a loop over a collection best, and the lookups it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aqlite.aql import ast
from aqlite.aql import plan as p
from aqlite.aql.conditions import Comparison, Path
from aqlite.storage.api import IndexInfo

_EQUAL = ("==", "IN", "CONTAINS")
_LOWER, _UPPER = (">", ">="), ("<", "<=")


@dataclass(eq=False)
class Lookup:
    """One way to use an index for a conjunction of comparisons.

    Attributes:
        score: how much it narrows; more is better.
        used: the comparisons that the lookup answers.
        equal_fields: leading index fields with exactly one value, so that results are ordered by the fields after.
    """

    index: IndexInfo
    bounds: p.KeyBounds
    score: int
    used: list[Comparison] = field(default_factory=list)
    attribute: str = ""
    equal_fields: int = 0


def best_lookup(indexes: Sequence[IndexInfo], comparisons: Sequence[Comparison]) -> Lookup | None:
    """The most selective lookup for all comparisons together; the earliest index wins a tie."""
    found = [lookup for index in indexes if (lookup := lookup_in(index, comparisons)) is not None]
    return max(found, key=lambda lookup: lookup.score, default=None)


def lookup_in(index: IndexInfo, comparisons: Sequence[Comparison]) -> Lookup | None:
    """The lookup that one index can do for the comparisons; None when it cannot help."""
    if index.type == "primary":
        return _by_name(index, comparisons, ("_key", "_id"), 1000)
    if index.type == "edge":
        return _by_name(index, comparisons, ("_from", "_to"), 400)
    if index.type in ("persistent", "ttl"):
        return _persistent(index, comparisons)
    return None


def _by_name(index: IndexInfo, comparisons: Sequence[Comparison], names: Sequence[str], score: int) -> Lookup | None:
    for name in names:
        for comparison in comparisons:
            if comparison.path == (name,) and comparison.op in ("==", "IN"):
                in_list = comparison.op == "IN"
                bounds = p.KeyBounds((comparison.value,), in_list=in_list)
                return Lookup(index, bounds, score - in_list, [comparison], name)
    return None


def _persistent(index: IndexInfo, comparisons: Sequence[Comparison]) -> Lookup | None:
    if index.sparse and not all(_excludes_null(path, comparisons) for path in index.fields):
        return None
    used: list[Comparison] = []
    in_list = False
    for path in index.fields:
        equal = _first(comparisons, path, _EQUAL)
        if equal is None or in_list:
            break
        used.append(equal)
        in_list = equal.op == "IN"
    bounds = p.KeyBounds(tuple(comparison.value for comparison in used), in_list=in_list)
    equal_fields = len(used) - in_list
    score = 20 * len(used) - in_list
    if len(used) == len(index.fields):
        score += 200 if index.unique else 5
    elif not in_list:
        score += _add_range(bounds, index.fields[len(used)], comparisons, used)
    return Lookup(index, bounds, score, used, equal_fields=equal_fields) if used else None


def _add_range(bounds: p.KeyBounds, path: Path, comparisons: Sequence[Comparison], used: list[Comparison]) -> int:
    lower, upper = _first(comparisons, path, _LOWER), _first(comparisons, path, _UPPER)
    if lower is not None:
        bounds.lower, bounds.lower_inclusive = lower.value, lower.op == ">="
        used.append(lower)
    if upper is not None:
        bounds.upper, bounds.upper_inclusive = upper.value, upper.op == "<="
        used.append(upper)
    return 5 * ((lower is not None) + (upper is not None))


def _first(comparisons: Sequence[Comparison], path: Path, ops: Sequence[str]) -> Comparison | None:
    return next((c for op in ops for c in comparisons if c.path == path and c.op == op), None)


def _excludes_null(path: Path, comparisons: Sequence[Comparison]) -> bool:
    return any(c.path == path and c.excludes_null() for c in comparisons)


def sorting_index(indexes: Sequence[IndexInfo], paths: Sequence[Path]) -> IndexInfo | None:
    """An index whose order is the order by these attributes, and that holds every document."""
    wanted = tuple(paths)
    for index in indexes:
        if index.type == "persistent" and not index.sparse and index.fields[: len(wanted)] == wanted:
            return index
    return None


def sorts_by(lookup: Lookup, paths: Sequence[Path]) -> bool:
    """Whether the lookup yields documents ordered by these attributes."""
    if lookup.index.type not in ("persistent", "ttl") or lookup.bounds.in_list:
        return False
    fields = lookup.index.fields
    rest = [path for path in paths if path not in fields[: lookup.equal_fields]]
    return tuple(rest) == fields[lookup.equal_fields : lookup.equal_fields + len(rest)]


def index_scan(loop: p.EnumerateCollection, lookups: Sequence[Lookup], condition: ast.Expr | None) -> p.IndexScan:
    """The plan node of a loop that uses an index for one or several alternative lookups."""
    first = lookups[0]
    bounds = tuple(lookup.bounds for lookup in lookups)
    return p.IndexScan(
        loop.variable, loop.collection, first.index, bounds, first.attribute, condition, options=loop.options
    )
