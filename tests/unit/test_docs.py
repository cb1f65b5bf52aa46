"""Notebooks as HTML, and the site: what shows without a network."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from scripts import build_slides, check_docs, check_slides
from scripts.build_docs import build, gather, newest_run, timings
from scripts.check_docs import find_chromium, problems, search_hits
from scripts.check_slides import slide_problems
from workshop.errors import RunnerError
from workshop.runner.html import export_html
from workshop.runner.index import load_index
from workshop.runner.reading import WIDGET
from workshop.settings import PROJECT_ROOT

NAMES = [entry.name for entry in load_index().notebook]
needs_chromium = pytest.mark.skipif(find_chromium() is None, reason="needs Chromium")
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
PIXEL = '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'


@pytest.fixture(scope="module")
def unexecuted_run(tmp_path_factory):
    """The notebooks as committed, in the place of a run."""
    run = tmp_path_factory.mktemp("runs") / "2026-01-31_10-00-00"
    run.mkdir()
    for name in NAMES:
        shutil.copyfile(PROJECT_ROOT / "notebooks" / f"{name}.ipynb", run / f"{name}.ipynb")
    notebooks = [
        {"name": name, "status": "passed", "seconds": 10.0, "figures": {"recall": 0.5, "rate": 11948.4}}
        for name in NAMES
    ]
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


def test_a_picture_is_described_by_its_titles_and_its_section(tmp_path):
    titled = drawn(3, 2)
    titled.source = 'first.set_title("Left & right")\naxis.set(ylim=1, title="Below")\naxis.set(title=name)'
    magic = drawn(3, 2)
    magic.source = '%time axis.set(title="Slow")'
    vectors = new_code_cell("SVG(graph)", outputs=[new_output("display_data", data={"image/svg+xml": PIXEL})])
    cells = [new_markdown_cell("# A lesson"), magic, new_markdown_cell("## 2. `top` and all"), titled, vectors]
    nbformat.write(new_notebook(cells=cells), tmp_path / "lesson.ipynb")
    page = export_html(tmp_path / "lesson.ipynb", tmp_path).read_text()
    assert re.findall(r'<img[^>]* alt="([^"]*)"', page) == [
        "Picture. A lesson",
        "Picture. top and all: Left &amp; right; Below",
        "Picture. top and all",
    ]


def test_widgets_are_left_out_of_a_page_which_would_fetch_what_draws_them(tmp_path):
    bar = new_output("display_data", data={WIDGET: {"model_id": "1"}, "text/plain": "Output()"})
    cell = new_code_cell("load()", outputs=[bar, new_output("stream", text="loaded")])
    notebook = new_notebook(cells=[cell], metadata={"widgets": {WIDGET_STATE: {"state": {}, "version_major": 2}}})
    nbformat.write(notebook, tmp_path / "lesson.ipynb")
    page = export_html(tmp_path / "lesson.ipynb", tmp_path).read_text()
    shown = page.partition("<main>")[2]
    assert "loaded" in shown
    assert "Output()" not in shown
    assert "embed-amd.js" not in page


def test_a_run_must_hold_every_notebook(unexecuted_run):
    runs = unexecuted_run.parent
    assert newest_run(runs, NAMES) == unexecuted_run
    with pytest.raises(RunnerError, match="no run in which all"):
        newest_run(runs, [*NAMES, "99_not_there"])


def test_the_timings_sum_what_a_path_runs(unexecuted_run):
    assert "| **two hours: 00, 01, 02, 05, 06** | **50** |" in timings(unexecuted_run)
    assert f"| **on your own: {', '.join(name[:2] for name in NAMES)}** | **{10 * len(NAMES)}** |" in timings(
        unexecuted_run
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.version_info < (3, 11), reason="the site is built with Python 3.11 or newer")
@needs_chromium
def test_the_site_builds_without_a_warning_and_shows_without_a_network(unexecuted_run, tmp_path):
    gather(unexecuted_run, NAMES, tmp_path / "source")
    assert build(tmp_path / "source", tmp_path / "html") == 0
    assert problems(tmp_path / "html", find_chromium()) == []
    assert any("Recommend movies" in title for title in search_hits(tmp_path / "html", find_chromium(), "recall"))


@pytest.mark.parametrize("name", ["chromium", "chromium-browser", "google-chrome"])
def test_the_browser_is_found_by_every_name_it_has(tmp_path, monkeypatch, name):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_chromium() is None
    (tmp_path / name).touch(mode=0o755)
    assert find_chromium() == str(tmp_path / name)


@pytest.mark.parametrize("look", [check_docs.main, check_slides.main])
def test_without_a_browser_a_check_says_that_it_saw_nothing(capsys, look):
    assert look(["--chromium", ""]) == 2
    assert look(["--chromium", "", "--if-installed"]) == 0
    assert capsys.readouterr().err.count("nothing was looked at") == 2


@needs_chromium
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<img src="gone.png" alt="a dot">', "picture does not show: gone.png"),
        ('<img src="gone.png">', "picture without a description: gone.png"),
        ("<p>so $$a$$ it is</p>", "raw TeX"),
        (r"<p>\frac{a}{b}</p>", "raw TeX"),
        (r"<p>over \sum_i alone</p>", "raw TeX"),
        ("<p>the map $W_1$</p>", "raw TeX"),
        ("<script>nothing.there()</script>", "script error"),
        ('<img src="https://example.org/a.png">', "network: https://example.org"),
    ],
)
def test_what_a_reader_would_stumble_over_is_named(tmp_path, body, problem):
    (tmp_path / "page.html").write_text(f"<html><body>{body}<pre>$$ in code is fine</pre></body></html>")
    assert any(f"page.html: {problem}" in line for line in problems(tmp_path, find_chromium()))


# --- slides -----------------------------------------------------------------------------------------------------
def drawn(width: int, height: int, *tags: str):
    """A cell that shows a picture of a size."""
    encoded = io.BytesIO()
    Image.new("RGB", (width, height)).save(encoded, "PNG")
    data = {"image/png": base64.b64encode(encoded.getvalue()).decode()}
    return new_code_cell("draw()", outputs=[new_output("display_data", data=data)], metadata={"tags": list(tags)})


def example(*cells):
    opening = new_markdown_cell("# A lesson\n\n- read [a page](../README.md);\n- run it.")
    return new_notebook(cells=[opening, *cells, new_markdown_cell("## Exercises"), drawn(9, 9)])


def test_slides_show_the_tagged_picture_else_the_last_and_the_text_that_reads_it():
    first = [new_markdown_cell("## 1. One"), drawn(3, 2), new_markdown_cell("The *first* one. It rises.")]
    second = [new_markdown_cell("## 2. Two"), drawn(5, 2), new_markdown_cell("$$x$$\n\n- a list\n\nThe second.")]
    lesson = build_slides.lesson(example(*first, *second))
    assert lesson.goals == ("read a page;", "run it.")
    assert (lesson.heading, lesson.reading) == ("Two", "The second.")
    assert Image.open(io.BytesIO(lesson.picture[0])).size == (5, 2)
    first[1].metadata["tags"] = ["slide"]
    lesson = build_slides.lesson(example(*first, *second))
    assert (lesson.heading, lesson.reading) == ("One", "The *first* one. It rises.")


def test_a_lesson_without_a_picture_has_its_last_text():
    lesson = build_slides.lesson(example(new_markdown_cell("## 1. One\n\nAll of it.")))
    assert (lesson.picture, lesson.heading, lesson.reading) == (None, "One", "All of it.")


def test_readings_are_whole_sentences():
    text = "One is short. " + "Two is long " * 9 + "and ends. Three."
    assert build_slides.opening_sentences(text, 60) == "One is short."
    assert build_slides.opening_sentences(text, 200).endswith("and ends. Three.")
    assert build_slides.opening_sentences("It rises. How far, this table says:\n\n| a |") == "It rises."


@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.version_info < (3, 11), reason="the slides are built with Python 3.11 or newer")
@needs_chromium
def test_the_slides_of_all_notebooks_fit_and_show_without_a_network(unexecuted_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(unexecuted_run, run)
    notebook = nbformat.read(run / f"{NAMES[0]}.ipynb", 4)
    notebook.cells.insert(1, drawn(3000, 2000))
    nbformat.write(notebook, run / f"{NAMES[0]}.ipynb")
    build_slides.deck(run, load_index().notebook, tmp_path / "source")
    assert build_slides.build(tmp_path / "source", tmp_path / "slides") == 0
    count, wrong = slide_problems(tmp_path / "slides" / "index.html", find_chromium())
    assert wrong == []
    assert count == 2 + 2 * len(NAMES)  # a title, two a notebook, and one picture

    page = (tmp_path / "slides" / "index.html").read_text()
    assert "11,948" in page
    for old, new in (("<h3>", '<h3 style="height: 800px">'), ('.png"', '.gone"'), ("</h1>", "</h1>\\frac{a}{b}")):
        assert old in page
        page = page.replace(old, new, 1)
    (tmp_path / "slides" / "faulty.html").write_text(page)
    _, wrong = slide_problems(tmp_path / "slides" / "faulty.html", find_chromium())
    assert len(wrong) == 3
    for problem in ("raw TeX", "picture does not show", "pixels too high"):
        assert any(problem in line for line in wrong), problem
