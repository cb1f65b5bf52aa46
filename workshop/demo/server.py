"""The tab of the server: its models, and what they do this moment, from Triton's own metrics."""

from __future__ import annotations

import time
from collections import deque

from nicegui import ui

from workshop.demo.parts import Missing, Tab, alert, heading, in_thread, note
from workshop.demo.services import Services
from workshop.demo.theme import OTHER_COLOUR, SERIES
from workshop.errors import WorkshopError
from workshop.triton.metrics import ModelCounts, ModelRates, fetch_counts, rates
from workshop.triton.transport import ModelState

SECONDS_BETWEEN = 1.0
LOOKS_KEPT = 60
COLUMNS = ("model", "state", "requests/s", "latency ms", "queue ms", "batch", "waiting", "answered", "failed")


def missing(services: Services) -> list[Missing]:
    """Nothing but a server that answers."""
    services.models()
    return []


def look(services: Services) -> tuple[float, list[ModelState], dict[str, ModelCounts]]:
    """When it was looked, the models, and what each has counted.

    Raises:
        ServingError: the server, or its metrics, do not answer.
    """
    return time.monotonic(), services.models(), fetch_counts(services.settings)


def row_of(model: ModelState, counts: ModelCounts, now: ModelRates | None) -> dict[str, str]:
    """A line of the table; a dash where nothing happened."""

    def number(value: float | None, digits: int = 1) -> str:
        return "–" if value is None else f"{value:.{digits}f}"

    return {
        "model": model.name,
        "state": model.state,
        "requests/s": number(now.requests_per_second if now else None),
        "latency ms": number(now.milliseconds if now else None),
        "queue ms": number(now.queue_milliseconds if now else None, 2),
        "batch": number(now.batch if now else None),
        "waiting": f"{counts.pending:.0f}",
        "answered": f"{counts.requests:,.0f}",
        "failed": f"{counts.failures:,.0f}",
    }


class ServerTab:
    """The tab on one browser's page."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._before: tuple[float, dict[str, ModelCounts]] | None = None
        self._looks: deque[tuple[str, float, float]] = deque(maxlen=LOOKS_KEPT)
        self._busy = False

    async def build(self) -> None:
        """Draw it, and look each second for as long as the page is open."""
        with ui.column().classes("card gap-2"):
            heading("What the server does")
            note(
                f"Triton at {self._services.triton.url}. Rates, times and batches are of the last second, of which the"
                f" curves keep {LOOKS_KEPT}; answered and failed count from when a model was loaded."
            )
            self._problem = ui.column().classes("w-full")
            self._chart = ui.echart(self._options(), renderer="svg").classes("network").style("height: 15rem")
            self._chart.props('role=img aria-label="Requests and latency of the last minute"')
        columns = [
            {"name": name, "label": name, "field": name, "align": "left" if name in COLUMNS[:2] else "right"}
            for name in COLUMNS
        ]
        self._table = ui.table(rows=[], columns=columns, row_key="model").props("flat bordered dense")
        self._table.classes("w-full")
        self._rest = note("")
        await self._look()
        ui.timer(SECONDS_BETWEEN, self._look)

    async def _look(self) -> None:
        if self._busy:  # the server is slower than the clock
            return
        self._busy = True
        try:
            when, models, counts = await in_thread(look, self._services)
        except WorkshopError as error:
            self._before = None
            self._problem.clear()
            with self._problem:
                alert(error)
            return
        finally:
            self._busy = False
        self._problem.clear()
        now = rates(self._before[1], counts, when - self._before[0]) if self._before else {}
        self._before = (when, counts)
        self._show(models, counts, now)

    def _show(self, models: list[ModelState], counts: dict[str, ModelCounts], now: dict[str, ModelRates]) -> None:
        served = sorted((each for each in models if each.state), key=lambda each: (each.state != "READY", each.name))
        self._rest.set_text(f"{len(models) - len(served)} more lie in the repository and were never loaded.")
        self._table.rows = [row_of(each, counts.get(each.name, ModelCounts()), now.get(each.name)) for each in served]
        self._table.update()
        active = [each for each in now.values() if each.milliseconds is not None]
        requests = sum(each.requests_per_second for each in active)
        slowest = max((each.milliseconds for each in active), default=0.0)
        self._looks.append((time.strftime("%H:%M:%S"), round(requests, 1), round(slowest, 1)))
        self._chart.options.clear()
        self._chart.options.update(self._options())
        self._chart.update()

    def _options(self) -> dict:
        """The last minute, as ECharts describes it."""
        lines = [("requests/s, all models", 0, 1), ("latency ms, slowest model", 1, 2)]
        grey = {"lineStyle": {"color": OTHER_COLOUR, "opacity": 0.3}}
        return {
            "animation": False,
            "color": list(SERIES),
            "tooltip": {"trigger": "axis", "confine": True},
            "legend": {"top": 0},
            "grid": {"left": 45, "right": 45, "top": 60, "bottom": 25},
            "xAxis": {"type": "category", "data": [look[0] for look in self._looks]},
            "yAxis": [{"type": "value", "splitLine": grey}, {"type": "value", "splitLine": {"show": False}}],
            "series": [
                {
                    "name": name,
                    "type": "line",
                    "yAxisIndex": axis,
                    "showSymbol": False,
                    "data": [look[column] for look in self._looks],
                }
                for name, axis, column in lines
            ],
        }


TAB = Tab("Server", "monitor_heart", missing, lambda services: ServerTab(services).build())
