"""Readings of what the servers do as tables for the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from workshop.stack.activity import Reading
from workshop.triton.metrics import rates


def activity(now: Reading, earlier: Reading | None = None) -> RenderableType:
    """Requests, latencies and queue by model, and what the store does.

    Args:
        now: the reading to show.
        earlier: show the rates since that one; ``None``: totals and means since the models were loaded.
    """
    parts: list[RenderableType] = []
    if now.models:
        parts.append(_models(now, earlier))
    if now.store:
        parts.append(_store(now, earlier))
    parts += [f"[red]{server} does not answer[/]: {escape(problem)}" for server, problem in now.problems.items()]
    return Group(*parts)


def _models(now: Reading, earlier: Reading | None) -> Table:
    rate = "/s" if earlier else ""
    table = _table("model", f"requests{rate}", f"failed{rate}", "rows a run", "ms", "of it in queue", "waiting")
    seconds = now.taken - earlier.taken if earlier else 1.0
    before = earlier.models if earlier else {}
    done = rates(before, now.models, seconds)
    for name in sorted(now.models, key=lambda name: (-now.models[name].requests, name)):
        counts, did = now.models[name], done[name]
        failures = counts.failures - getattr(before.get(name), "failures", 0)
        table.add_row(
            name,
            _number(did.requests_per_second),
            _number(max(failures, 0) / seconds),
            *(
                "-" if value is None else f"{value:.1f}"
                for value in (did.batch, did.milliseconds, did.queue_milliseconds)
            ),
            _number(counts.pending),
        )
    return table


def _store(now: Reading, earlier: Reading | None) -> Table:
    rate = "/s" if earlier else ""
    table = _table(
        "store", f"requests{rate}", "ms", f"queries{rate}", "ms", "running", "cursors", f"commits{rate}", "MB"
    )
    before = earlier.store if earlier else {}
    restarted = now.store["requests"] < before.get("requests", 0)
    seconds = now.taken - earlier.taken if earlier else 1.0
    later = {name: value - (0 if restarted else before.get(name, 0)) for name, value in now.store.items()}
    table.add_row(
        "",
        _number(later["requests"] / seconds),
        _mean(later["request_seconds"], later["requests"]),
        _number(later["queries"] / seconds),
        _mean(later["query_seconds"], later["queries"]),
        _number(now.store["running"]),
        _number(now.store["cursors"]),
        _number(later["commits"] / seconds),
        f"{now.store['memory'] / 2**20:.0f}",
    )
    return table


def _table(first: str, *headings: str) -> Table:
    table = Table(box=None, header_style="bold")
    table.add_column(first, min_width=24)
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


def _mean(seconds: float, count: float) -> str:
    return f"{1000 * seconds / count:.1f}" if count else "-"
