"""Every notebook of the index, run in order on tiny data against a stack of its own, from a repository without weights.

``make run`` and this test go through the same ``run_entry``: a notebook passes when all its cells run, it leaves the
files that the index declares, and its recorded figures are within the index's bounds. The same run judges the
exercises: each is checked unanswered, with its solution, and with wrong answers; and two of the pages that a run leaves
are opened in a browser.
"""

from __future__ import annotations

import shutil
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from answered import SOLUTIONS, Shown, answered, verdicts

from scripts.check_docs import find_chromium, problems
from workshop import stack
from workshop.data.fetch import locate
from workshop.data.movies import CREDITS_MEMBER, MOVIES_MEMBER, load_movies
from workshop.recommend.movie_graph import MOVIE_GRAPH, load_movie_graph
from workshop.runner.execute import check_kernel
from workshop.runner.index import Entry, load_index
from workshop.runner.parameters import assign_parameters
from workshop.runner.progress import silent_cells
from workshop.runner.servers import needed_services
from workshop.runner.session import NotebookResult, run_entry
from workshop.settings import Settings, load_settings
from workshop.stack.private import free_ports, private_settings
from workshop.store.connection import connect

INDEX = load_index()
EXERCISED = [entry for entry in INDEX.notebook if (SOLUTIONS / entry.path.name).exists()]
LEAST_MISTAKES = 3
LONGEST_SILENCE = 15.0
"""Seconds that a cell may run without a line of progress: three times what the runner remarks on, since the machine of
a test may be busy with others."""
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
    """Run a notebook with its exercises answered, whatever it may have done before.

    It has a second try where the server ended meanwhile, which no notebook does on purpose: docs/faults.md has the
    moments in which Triton 2.51 ends by itself.
    """
    check_kernel()
    parameters = assign_parameters(INDEX.notebook, {})
    folder = tmp_path_factory.mktemp("answered")
    (folder / "img").symlink_to(INDEX.notebook[0].path.parent / "img")

    def run(entry: Entry) -> NotebookResult:
        if entry in EXERCISED:
            entry = entry.model_copy(update={"folder": answered(entry.path, folder).parent})
        attempt = partial(run_entry, entry, parameters[entry.name], settings, executed, Silent())
        result = attempt()
        if result.status != "passed" and not stack.status(settings, ["triton"])[0].pid:
            warnings.warn(f"tritonserver ended during {entry.name}: both are started again", stacklevel=1)
            stack.up(settings, needed_services(INDEX.notebook, settings))
            result = attempt()
        return result

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


@every_entry
@pytest.mark.timeout(1200)
def test_a_cell_that_takes_long_shows_how_far_it_is(entry, result_of, executed):
    """Looks at the run of ``test_notebook``; nothing runs a second time."""
    assert result_of(entry).status == "passed"
    assert silent_cells(executed / entry.path.name, longest=LONGEST_SILENCE) == []


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


@pytest.mark.skipif(find_chromium() is None, reason="needs Chromium")
@every_entry
@pytest.mark.timeout(1200)
def test_the_page_of_a_run_shows_without_a_network(entry, result_of, executed, tmp_path):
    assert result_of(entry).status == "passed"
    shutil.copy(executed / f"{entry.name}.html", tmp_path)
    assert problems(tmp_path, find_chromium()) == []


@pytest.mark.parametrize("number", ["03", "06"])
@pytest.mark.timeout(1200)
def test_the_page_of_a_run_holds_pictures_formulas_tables_and_graphs(number, result_of, executed):
    entry = INDEX.find(number)
    assert result_of(entry).status == "passed"
    page = (executed / f"{entry.name}.html").read_text()
    assert all(part in page for part in ("data:image/png", "<math", "<table", 'class="graph"'))


@pytest.mark.timeout(1200)
def test_a_notebook_that_leaves_files_can_run_twice_and_reuses_them(settings, run, result_of):
    entry = next(entry for entry in INDEX.notebook if entry.outputs)
    assert result_of(entry).status == "passed"
    left = [path for files in entry.output_files(settings).values() for path in files]
    before = {path: path.stat().st_mtime_ns for path in left}
    again = run(entry)
    assert again.status == "passed", "\n".join(again.problems)
    assert {path: path.stat().st_mtime_ns for path in left} == before


def own_films(settings: Settings, folder: Path) -> Settings:
    """Settings that name own tables: the films of the tiny slice with their ids, under titles of their own."""
    keys = {movie.id for movie in load_movies(settings, "tiny").movies}
    tables = {"movies_csv": (MOVIES_MEMBER, "id"), "credits_csv": (CREDITS_MEMBER, "movie_id")}
    with zipfile.ZipFile(locate("movies", settings.data_dir)) as wheel:
        for name, (member, column) in tables.items():
            rows = pd.read_csv(wheel.open(member), dtype=str, keep_default_na=False)
            rows = rows[rows[column].isin(keys)]
            rows.assign(title="My " + rows.title).to_csv(folder / f"{name}.csv", index=False)
    return settings.model_copy(update={name: folder / f"{name}.csv" for name in tables})


@pytest.mark.timeout(1200)
def test_own_films_are_recommended_from_collections_of_their_own(settings, result_of, tmp_path):
    """Their ids are those of films that are there already: nothing of these changes, with a prefix or without one."""
    entry, movie = INDEX.find("06"), {"MOVIE": "My Inception"}
    assert result_of(INDEX.find("01")).status == "passed"
    database, own = connect(settings), own_films(settings, tmp_path)
    load_movie_graph(database, load_movies(settings))
    before = {name: list(database.collection(name)) for name in MOVIE_GRAPH.collections}

    refused = run_entry(entry, movie, own, tmp_path, Silent())
    assert refused.status == "failed"
    assert "own tables of films cannot be mixed with it" in refused.problems[0]
    assert "MOVIES_PREFIX='mine_'" in refused.problems[0]

    answers = entry.model_copy(update={"folder": answered(entry.path, tmp_path / "answered").parent})
    result = run_entry(answers, {**movie, "MOVIES_PREFIX": "mine_"}, own, tmp_path, Silent())
    assert result.status == "passed", "\n".join(result.problems)
    for exercise, (_, solved, *mistaken) in verdicts(tmp_path / entry.path.name).items():
        assert solved.status == "right", f"{exercise}: {solved.findings}"
        assert all(wrong.status == "not yet" for wrong in mistaken), exercise
    titles = list(database.aql.execute("FOR movie IN mine_movies RETURN movie.title"))
    assert len(titles) == 200
    assert all(title.startswith("My ") for title in titles)
    assert {name: list(database.collection(name)) for name in MOVIE_GRAPH.collections} == before
