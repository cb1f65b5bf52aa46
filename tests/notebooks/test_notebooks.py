"""Every notebook of the index, run in order on tiny data against a stack of its own, from a repository without weights.

``make run`` and this test go through the same ``run_entry``: a notebook passes when all its cells run, it leaves the
files that the index declares, and its recorded figures are within the index's bounds. The same run judges the
exercises: each is checked unanswered, with its solution, and with wrong answers.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from answered import SOLUTIONS, Shown, answered, verdicts

from workshop import stack
from workshop.runner.execute import check_kernel
from workshop.runner.index import Entry, load_index
from workshop.runner.parameters import assign_parameters
from workshop.runner.servers import needed_services
from workshop.runner.session import NotebookResult, run_entry
from workshop.settings import Settings, load_settings
from workshop.stack.private import free_ports, private_settings

INDEX = load_index()
EXERCISED = [entry for entry in INDEX.notebook if (SOLUTIONS / entry.path.name).exists()]
LEAST_MISTAKES = 3
GENERATED = (
    "*.pt",
    "*.onnx",
    "*.pt2",
    "*.plan",
    "*.xml",
    "*.bin",
    "*.safetensors",
    "*.json",
    "tokenization.py",
    "wordpiece.py",
    "preprocessing.py",
    "labels.txt",
    "__pycache__",
    ".*",
)

every_entry = pytest.mark.parametrize("entry", INDEX.notebook, ids=lambda entry: entry.name)


class Silent:
    """A watcher that says nothing; pytest shows the progress."""

    def notebook_begins(self, entry):
        """Nothing."""

    def cell_begins(self, begun, total, line):
        """Nothing."""

    def notebook_ends(self, result):
        """Nothing."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Iterator[Settings]:
    """Settings of running servers whose model repository holds only what is committed."""
    repository = tmp_path_factory.mktemp("models") / "repository"
    shutil.copytree(load_settings().model_repository, repository, ignore=shutil.ignore_patterns(*GENERATED))
    settings = private_settings(
        tmp_path_factory.mktemp("stack"),
        model_repository=repository,
        data_size="tiny",
        sagemaker_port=free_ports(1)[0],
    )
    with stack.running(settings, needed_services(INDEX.notebook, settings)):
        yield settings


@pytest.fixture(scope="module")
def executed(tmp_path_factory) -> Path:
    """The folder of executed notebooks."""
    return tmp_path_factory.mktemp("executed")


@pytest.fixture(scope="module")
def run(settings, executed, tmp_path_factory) -> Callable[[Entry], NotebookResult]:
    """Run a notebook with its exercises answered, whatever it may have done before."""
    check_kernel()
    parameters = assign_parameters(INDEX.notebook, {})
    folder = tmp_path_factory.mktemp("answered")

    def run(entry: Entry) -> NotebookResult:
        if entry in EXERCISED:
            entry = entry.model_copy(update={"folder": answered(entry.path, folder).parent})
        return run_entry(entry, parameters[entry.name], settings, executed, Silent())

    return run


@pytest.fixture(scope="module")
def result_of(run) -> Callable[[Entry], NotebookResult]:
    """The outcome of a notebook, after those it depends on; each is run once."""
    results: dict[str, NotebookResult] = {}

    def result_of(entry: Entry) -> NotebookResult:
        for needed in INDEX.select([entry.name]):
            if needed.name not in results:
                results[needed.name] = run(needed)
        return results[entry.name]

    return result_of


@every_entry
@pytest.mark.timeout(1200)
def test_notebook(entry, result_of):
    for needed in INDEX.select(entry.depends_on) if entry.depends_on else []:
        assert result_of(needed).status == "passed", f"needs {needed.name}, which failed"
    result = result_of(entry)
    assert result.status == "passed", "\n".join(result.problems)


@pytest.mark.parametrize("entry", EXERCISED, ids=lambda entry: entry.name)
@pytest.mark.timeout(1200)
def test_exercises_take_the_solution_and_refuse_wrong_answers(entry, result_of, executed):
    """Looks at the run of ``test_notebook``; nothing runs a second time."""
    assert result_of(entry).status == "passed"
    found = verdicts(executed / entry.path.name)
    assert list(found) == [f"{entry.number}.{n}" for n in (1, 2, 3)]
    for exercise, shown in found.items():
        unanswered, solved, *mistaken = shown
        assert unanswered.status == "open", exercise
        assert solved.status == "right", f"{exercise}: {solved.findings}"
        assert len(mistaken) >= LEAST_MISTAKES, f"{exercise} is tried with {len(mistaken)} wrong answers"
        taken = [wrong.mistake for wrong in mistaken if wrong.status != "not yet"]
        assert not taken, f"{exercise} does not refuse: {taken}"
        assert all(_reasons(wrong) for wrong in mistaken), f"{exercise} refuses without a reason"


def _reasons(shown: Shown) -> list[str]:
    return [text for right, text in shown.findings if not right and text]


@pytest.mark.timeout(1200)
def test_a_notebook_that_leaves_files_can_run_twice_and_reuses_them(settings, run, result_of):
    entry = next(entry for entry in INDEX.notebook if entry.outputs)
    assert result_of(entry).status == "passed"
    left = [path for files in entry.output_files(settings).values() for path in files]
    before = {path: path.stat().st_mtime_ns for path in left}
    again = run(entry)
    assert again.status == "passed", "\n".join(again.problems)
    assert {path: path.stat().st_mtime_ns for path in left} == before
