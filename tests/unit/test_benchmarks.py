"""The table of measured claims never mixes machines or versions of the code."""

import sys

import pytest

from workshop.settings import PROJECT_ROOT

sys.path.append(str(PROJECT_ROOT / "benchmarks"))
import run

MACHINE = {"processor": "one", "cores": 2}
EARLIER = {
    "machine": MACHINE,
    "results": [
        {"id": name, "value": 1.0, "commit": "abc", "measured": "then"} for name in ("stack_start", "warm_run")
    ],
}


def values(report):
    return {result["id"]: (result["value"], result["commit"]) for result in report["results"]}


def test_results_of_the_same_machine_and_commit_are_kept():
    report = run.merge(EARLIER, [{"id": "stack_start", "value": 2.0}], MACHINE, "abc")
    assert values(report) == {"stack_start": (2.0, "abc"), "warm_run": (1.0, "abc")}


@pytest.mark.parametrize(("machine", "commit"), [(MACHINE, "def"), ({**MACHINE, "cores": 4}, "abc")])
def test_results_of_another_machine_or_commit_are_dropped(machine, commit):
    report = run.merge(EARLIER, [{"id": "stack_start", "value": 2.0}], machine, commit)
    assert values(report) == {"stack_start": (2.0, commit)}


def test_a_benchmark_that_fails_is_a_claim_that_does_not_hold(monkeypatch):
    def broken(name):
        raise RuntimeError("no such server")

    monkeypatch.setattr(run.importlib, "import_module", broken)
    (result,) = run.measure({"warm_run"})
    assert result["holds"] is False
    assert result["note"] == "failed: RuntimeError: no such server"


def test_every_id_is_measured_once():
    assert len(set(run.ALL_IDS)) == len(run.ALL_IDS)


def test_the_version_is_a_commit():
    assert run.code_version().rstrip("+").isalnum()
