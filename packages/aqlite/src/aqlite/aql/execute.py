"""Running a query: parse, plan, optimise, compile, and hand out the rows."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Any

from aqlite.aql import plan as p
from aqlite.aql.bindings import check_bindings, declared_parameters
from aqlite.aql.context import CallContext
from aqlite.aql.explain import plan_object, profiled_plan
from aqlite.aql.expressions import UNSET
from aqlite.aql.inspection import named_collections, syntax_object
from aqlite.aql.optimizer import optimize
from aqlite.aql.parser import parse
from aqlite.aql.pipeline import Pipeline
from aqlite.aql.planner import plan_query
from aqlite.aql.runtime import DEFAULT_MEMORY_LIMIT, Runtime, Statistics
from aqlite.aql.syntax_errors import MAX_NESTING
from aqlite.errors import ArangoError
from aqlite.storage.api import StoreView

# A query may nest MAX_NESTING levels; planning, compiling and running it take several Python frames for each.
sys.setrecursionlimit(max(sys.getrecursionlimit(), 16 * MAX_NESTING))


@dataclass(frozen=True)
class QueryOptions:
    """Options of one query, as in the body of ``POST /_api/cursor``.

    Attributes:
        full_count: count the rows there would be without the last top-level ``LIMIT``.
        max_runtime: seconds after which the query is killed (error 1500); 0 means no limit.
        memory_limit: bytes that kept rows may take (error 32); 0 means no limit.
        fail_on_warning: turn the first warning into an error.
        max_warning_count: how many warnings are kept.
        profile: 1 adds the time of each phase to the result, 2 the plan as well.
        user: name that ``CURRENT_USER()`` answers.
        killed: set by another thread to stop the query (error 1500).
        statistics: where the query counts, for others to look at while it runs.
    """

    full_count: bool = False
    max_runtime: float = 0.0
    memory_limit: int = DEFAULT_MEMORY_LIMIT
    fail_on_warning: bool = False
    max_warning_count: int = 10
    profile: int = 0
    user: str | None = "root"
    killed: Event | None = None
    statistics: Statistics | None = None


@dataclass
class QueryResult:
    """Outcome of a query: all rows, warnings (``code``, ``message``) and ArangoDB's statistics.

    ``profile`` holds seconds by phase and ``plan`` the executed plan, when the options ask for them;
    ``kept_bytes`` is about what the rows take.
    """

    rows: list[Any]
    warnings: list[dict[str, Any]]
    stats: dict[str, Any]
    profile: dict[str, float] | None = None
    plan: dict[str, Any] | None = None
    kept_bytes: int = 0


def prepare(view: StoreView, text: str, bind_vars: Mapping[str, Any], full_count: bool = False) -> p.QueryPlan:
    """Parse, plan and optimise a query.

    Raises:
        ArangoError: for whatever is wrong with the text or the bind parameters.
    """
    query = parse(text)
    with _worded("while instantiating plan"):
        plan = plan_query(view, query, bind_vars)
        if full_count:
            last = next((node for node in reversed(plan.body.nodes) if isinstance(node, p.LimitNode)), None)
            if last is not None:
                last.full_count = True
        optimize(view, plan)
    return plan


def run_query(
    view: StoreView, text: str, bind_vars: Mapping[str, Any] | None = None, options: QueryOptions | None = None
) -> QueryResult:
    """Run a query to its end.

    Raises:
        ArangoError: for errors in the query, and what running it meets (limits, unique constraints, ...).
    """
    options = options or QueryOptions()
    started = time.monotonic()
    plan = prepare(view, text, bind_vars or {}, options.full_count)
    context = CallContext(
        view=view,
        deadline=started + options.max_runtime if options.max_runtime else None,
        killed=options.killed,
        database=getattr(view, "database", "_system"),
        user=options.user,
        fail_on_warning=options.fail_on_warning,
        max_warnings=options.max_warning_count,
        memory_limit=options.memory_limit,
    )
    for number, message in plan.warnings:
        context.warn(number, message)
    statistics = options.statistics or Statistics()
    runtime = Runtime(view, context, len(plan.variables), options.memory_limit, statistics)
    runtime.statistics.started = started
    runtime.profiles = {} if options.profile > 1 else None
    planned = time.monotonic()
    rows = list(_rows(runtime, plan))
    result = QueryResult(rows, context.warnings, runtime.statistics.as_dict(), kept_bytes=runtime.memory)
    if options.profile:
        result.profile = {"planning": planned - started, "executing": time.monotonic() - planned}
    if runtime.profiles is not None:
        result.plan, result.stats["nodes"] = profiled_plan(view, plan, runtime.profiles)
    return result


def _rows(runtime: Runtime, plan: p.QueryPlan) -> Iterator[Any]:
    with _worded("while executing"):
        rows = Pipeline(runtime).compile_rows(plan.body)
        frame = [None] * len(plan.variables) + [UNSET] * (runtime.frame_size - len(plan.variables))
        yield from rows(frame)


@contextmanager
def _worded(state: str) -> Iterator[None]:
    """Give errors the wording of ArangoDB's query engine, which tells what the query was doing."""
    try:
        yield
    except ArangoError as error:
        if error.message.startswith("AQL: "):
            raise
        raise ArangoError(error.error_num, f"AQL: {error.message} ({state})", http=error.http) from error
    except RecursionError as error:
        raise ArangoError(1524, f"AQL: query or value is nested too deep ({state})") from error


# --- looking at a query without running it --------------------------------------------------------------------
@dataclass(frozen=True)
class ParsedQuery:
    """What ``POST /_api/query`` tells about a query: collection names, bind parameters, and the tree."""

    collections: list[str]
    bind_vars: list[str]
    ast: list[dict[str, Any]]


def parse_query(text: str) -> ParsedQuery:
    """Parse a query without looking at the data.

    Raises:
        ArangoError: 1501 with line and column, 1502, 1524.
    """
    query = parse(text)
    reads, writes = named_collections(query)
    names = sorted(reads | writes)
    return ParsedQuery(names, declared_parameters(query), [syntax_object(query)])


def query_collections(text: str, bind_vars: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """Names of the collections that a query reads and writes, as far as its text tells.

    Vertex collections reached by edges, the collections of a named graph and those that functions read are not
    among them. The server uses the writes to tell reading queries from writing ones.

    Raises:
        ArangoError: 1501, 1502, 1524, 1551-1553.
    """
    query = parse(text)
    check_bindings(query, bind_vars)
    return named_collections(query, bind_vars)


def explain_query(
    view: StoreView, text: str, bind_vars: Mapping[str, Any] | None = None, options: QueryOptions | None = None
) -> dict[str, Any]:
    """The plan of a query in ArangoDB's shape, without running it.

    Raises:
        ArangoError: as ``run_query`` does before it runs.
    """
    started = time.monotonic()
    options = options or QueryOptions()
    plan = prepare(view, text, bind_vars or {}, options.full_count)
    if plan.warnings and options.fail_on_warning:
        raise ArangoError(*plan.warnings[0])
    return {
        "plan": plan_object(view, plan),
        "cacheable": not plan.modifies,
        "warnings": [{"code": number, "message": message} for number, message in plan.warnings],
        "stats": {
            "rulesExecuted": len(plan.rules),
            "rulesSkipped": 0,
            "plansCreated": 1,
            "peakMemoryUsage": 0,
            "executionTime": time.monotonic() - started,
        },
    }
