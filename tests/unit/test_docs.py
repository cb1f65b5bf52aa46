"""Notebooks as HTML, and the site: what shows without a network."""

from __future__ import annotations

import json
import re
import shutil
import sys

import nbformat
import pytest
from nbformat.v4 import new_markdown_cell, new_notebook

from scripts.build_docs import build, gather, newest_run, timings
from scripts.check_docs import find_chromium, problems
from workshop.errors import RunnerError
from workshop.runner.html import export_html
from workshop.runner.index import load_index
from workshop.settings import PROJECT_ROOT

NAMES = [entry.name for entry in load_index().notebook]
needs_chromium = pytest.mark.skipif(find_chromium() is None, reason="needs Chromium")
PIXEL = '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'


@pytest.fixture(scope="module")
def unexecuted_run(tmp_path_factory):
    """The notebooks as committed, in the place of a run."""
    run = tmp_path_factory.mktemp("runs") / "2026-01-31_10-00-00"
    run.mkdir()
    for name in NAMES:
        shutil.copyfile(PROJECT_ROOT / "notebooks" / f"{name}.ipynb", run / f"{name}.ipynb")
    notebooks = [{"name": name, "status": "passed", "seconds": 10.0} for name in NAMES]
    report = {"data_size": "tiny", "machine": "a machine", "python": "3.11", "notebooks": notebooks}
    (run / "report.json").write_text(json.dumps(report))
    return run


def test_a_notebook_becomes_one_file_without_links_to_a_network(tmp_path):
    (tmp_path / "img").mkdir()
    (tmp_path / "img" / "dot.svg").write_text(PIXEL)
    cells = [new_markdown_cell("![a dot](img/dot.svg)"), new_markdown_cell("Let $x^2$ be\n\n$$\\frac{a}{b}$$\n")]
    nbformat.write(new_notebook(cells=cells), tmp_path / "lesson.ipynb")
    page = export_html(tmp_path / "lesson.ipynb", tmp_path).read_text()
    assert page.count("<math") == 2
    assert "<mfrac>" in page
    assert "data:image/svg" in page
    assert not re.search(r'src="https?:|src="img/|frac\{', page)


def test_a_run_must_hold_every_notebook(unexecuted_run):
    runs = unexecuted_run.parent
    assert newest_run(runs, NAMES) == unexecuted_run
    with pytest.raises(RunnerError, match="no run in which all"):
        newest_run(runs, [*NAMES, "99_not_there"])


def test_the_timings_sum_what_a_path_runs(unexecuted_run):
    assert "| **two hours: 00, 01, 02, 05, 06** | **50** |" in timings(unexecuted_run)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.version_info < (3, 11), reason="the site is built with Python 3.11 or newer")
@needs_chromium
def test_the_site_builds_without_a_warning_and_shows_without_a_network(unexecuted_run, tmp_path):
    gather(unexecuted_run, NAMES, tmp_path / "source")
    assert build(tmp_path / "source", tmp_path / "html") == 0
    assert problems(tmp_path / "html", find_chromium()) == []


@needs_chromium
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<img src="gone.png">', "picture does not show: gone.png"),
        ("<p>so $$a$$ it is</p>", "raw TeX"),
        (r"<p>\frac{a}{b}</p>", "raw TeX"),
        ("<script>nothing.there()</script>", "script error"),
        ('<img src="https://example.org/a.png">', "network: https://example.org"),
    ],
)
def test_what_a_reader_would_stumble_over_is_named(tmp_path, body, problem):
    (tmp_path / "page.html").write_text(f"<html><body>{body}<pre>$$ in code is fine</pre></body></html>")
    assert any(f"page.html: {problem}" in line for line in problems(tmp_path, find_chromium()))
