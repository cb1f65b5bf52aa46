"""The table of fault cases at the end, wherever they ran: reports come from worker processes, too."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from rich.console import Console
from rich.table import Table

FAULT = "fault"


@dataclass
class Outcome:
    """How a case went."""

    name: str
    broken: str
    expected: str
    seconds: float = 0.0
    result: str = "passed"


class FaultTable:
    """Collects the reports of cases marked ``fault``."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcome] = {}

    def pytest_runtest_logreport(self, report):
        if not (case := dict(report.user_properties).get(FAULT)):
            return
        outcome = self.outcomes.setdefault(report.nodeid, Outcome(**case))
        outcome.seconds += report.duration
        if report.outcome != "passed":
            outcome.result = report.outcome

    def pytest_terminal_summary(self, terminalreporter):
        if not self.outcomes:
            return
        table = Table("case", "broken", "expected", "seconds", "result", title="Faults")
        for one in self.outcomes.values():
            table.add_row(one.name, one.broken, one.expected, f"{one.seconds:.1f}", one.result)
        console = Console(width=160)
        with console.capture() as capture:
            console.print(table)
        terminalreporter.write(f"\n{capture.get()}")
        passed = sum(one.result == "passed" for one in self.outcomes.values())
        terminalreporter.write_line(f"{passed} of {len(self.outcomes)} fault cases passed")


def pytest_configure(config):
    config.pluginmanager.register(FaultTable())


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    if mark := item.get_closest_marker(FAULT):
        name = item.name.removeprefix("test_").replace("_", " ")
        item.user_properties.append((FAULT, {"name": name, **mark.kwargs}))
