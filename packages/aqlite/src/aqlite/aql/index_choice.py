"""Which index serves a loop over a collection best, and the lookups it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aqlite.aql import ast
from aqlite.aql import plan as p
from aqlite.aql.conditions import Comparison, Path
from aqlite.storage.api import IndexInfo
from aqlite.storage.indexes import kind_of
from aqlite.storage.indexes.base import Service


@dataclass(eq=False)
class Lookup:
    """One way to use an index for a conjunction of comparisons: what the index offers, and the bounds it is given."""

    index: IndexInfo
    bounds: p.KeyBounds
    service: Service


def best_lookup(indexes: Sequence[IndexInfo], comparisons: Sequence[Comparison]) -> Lookup | None:
    """The most selective lookup for all comparisons together; the earliest index wins a tie."""
    found = [lookup for index in indexes if (lookup := lookup_in(index, comparisons)) is not None]
    return max(found, key=lambda lookup: lookup.service.score, default=None)


def lookup_in(index: IndexInfo, comparisons: Sequence[Comparison]) -> Lookup | None:
    """The lookup that one index can do for the comparisons; None when it cannot help."""
    service = kind_of(index).can_serve(index, comparisons)
    if service is None:
        return None
    bounds = p.KeyBounds(tuple(comparison.value for comparison in service.equal), in_list=service.in_list)
    if service.lower is not None:
        bounds.lower, bounds.lower_inclusive = service.lower.value, service.lower.op == ">="
    if service.upper is not None:
        bounds.upper, bounds.upper_inclusive = service.upper.value, service.upper.op == "<="
    return Lookup(index, bounds, service)


def sorting_index(indexes: Sequence[IndexInfo], paths: Sequence[Path]) -> IndexInfo | None:
    """An index whose order is the order by these attributes, and that holds every document."""
    wanted = tuple(paths)
    for index in indexes:
        if kind_of(index).can_sort(index, wanted):
            return index
    return None


def sorts_by(lookup: Lookup, paths: Sequence[Path]) -> bool:
    """Whether the lookup yields documents ordered by these attributes."""
    if not lookup.service.ordered:
        return False
    fields, fixed = lookup.index.fields, len(lookup.service.equal)
    rest = [path for path in paths if path not in fields[:fixed]]
    return tuple(rest) == fields[fixed : fixed + len(rest)]


def index_scan(loop: p.EnumerateCollection, lookups: Sequence[Lookup], condition: ast.Expr | None) -> p.IndexScan:
    """The plan node of a loop that uses an index for one or several alternative lookups."""
    first = lookups[0]
    bounds = tuple(lookup.bounds for lookup in lookups)
    return p.IndexScan(
        loop.variable, loop.collection, first.index, bounds, first.service.attribute, condition, options=loop.options
    )
