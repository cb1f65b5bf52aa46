#!/usr/bin/env python3
"""Build the slides from an executed run of the notebooks: of each its goals, a picture, and how the picture is read.

python scripts/build_slides.py            # the newest run that holds every notebook
python scripts/build_slides.py runs/2026-01-31_10-00-00

Nothing is written twice: goals come from a notebook's opening; the picture is the output of the cell tagged ``slide``,
else the last one before the exercises; its reading is the text that follows it; figures are those the run recorded.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat

from scripts.build_docs import newest_run
from workshop.errors import WorkshopError
from workshop.runner.index import Entry, load_index
from workshop.settings import PROJECT_ROOT

LONGEST_READING = 400
"""Characters; whole sentences of at most so many are shown."""
MOST_FIGURES = 5
_SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/svg+xml": "svg"}
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\([^)\s]+\)")
_SENTENCE = re.compile(r"(?<=[.!?:])\s+(?=[A-Z`*(])")


@dataclass(frozen=True)
class Lesson:
    """What the slides show of a notebook.

    Attributes:
        goals: what one will be able to do.
        picture: encoded picture and the ending of its file, or None where the notebook draws nothing.
        heading: of the section that the picture is in, or of the notebook's last section.
        reading: the text that follows the picture.
    """

    goals: tuple[str, ...]
    picture: tuple[bytes, str] | None
    heading: str
    reading: str


def lesson(notebook: nbformat.NotebookNode) -> Lesson:
    """Take from an executed notebook what the slides show."""
    cells = notebook.cells[: _first_with(notebook, "## Exercises")]
    texts = [place for place, cell in enumerate(cells) if cell.cell_type == "markdown"]
    opening = plain(cells[texts[0]].source)
    shown = [place for place, cell in enumerate(cells) if _picture(cell)]
    chosen = [place for place in shown if "slide" in cells[place].metadata.get("tags", [])]
    place = (chosen or shown or texts)[-1]
    after = [plain(cells[text].source) for text in texts if text >= place]
    headings = [line for cell in cells[: place + 1] for line in _headings(cell)]
    return Lesson(
        goals=tuple(re.findall(r"^- (.+)$", opening, re.MULTILINE)),
        picture=_picture(cells[place]),
        heading=re.sub(r"^#+ (?:\d+\. )?", "", headings[-1]) if headings else "",
        reading=opening_sentences(after[0]) if after else "",
    )


def plain(markdown: str) -> str:
    """Markdown whose links have become their text: the pages they lead to are not beside the slides."""
    return _LINK.sub(r"\1", markdown)


def opening_sentences(markdown: str, longest: int = LONGEST_READING) -> str:
    """The first sentences of the first paragraphs, without headings, lists, tables, formulas and what leads to one."""
    paragraphs = re.split(r"\n\s*\n", re.sub(r"\$\$.*?\$\$", "", markdown, flags=re.DOTALL))
    text = " ".join(" ".join(part.split()) for part in paragraphs if re.match(r"\s*[\w*`(\"]", part))
    taken: list[str] = []
    for sentence in _SENTENCE.split(text):
        if taken and len(" ".join([*taken, sentence])) > longest:
            break
        taken.append(sentence)
    while taken and taken[-1].endswith(":"):  # what it announces is not on the slide
        taken.pop()
    return " ".join(taken)


def deck(run: Path, entries: Sequence[Entry], source: Path) -> None:
    """Write the slides of a run as Markdown, with their pictures, into an empty folder."""
    shutil.rmtree(source, ignore_errors=True)
    (source / "_static").mkdir(parents=True)
    for name in ("conf.py", "_static/deck.css"):
        shutil.copyfile(PROJECT_ROOT / "docs" / "slides" / Path(name).name, source / name)
    report = json.loads((run / "report.json").read_text())
    results = {result["name"]: result for result in report["notebooks"]}
    slides = [
        "# Text, graphs and Triton\n\nModels that read text, graphs and pictures, served by NVIDIA Triton, stored in "
        f"ArangoDB, used to recommend.\n\n{len(entries)} notebooks, run on {report['machine']}, "
        f"data size {report['data_size']}.\n\nArrows left and right: notebooks. Up and down: the slides of one. "
        "`s` opens the notes."
    ]
    for entry in entries:
        slides.append(
            _slides(entry, lesson(nbformat.read(run / f"{entry.name}.ipynb", 4)), results[entry.name], source)
        )
    (source / "index.md").write_text("\n\n".join(slides) + "\n", encoding="utf-8")


def _slides(entry: Entry, lesson: Lesson, result: dict, source: Path) -> str:
    goals = "\n".join(f"- {goal}" for goal in lesson.goals)
    needs = " and ".join(sorted(entry.needs)) or "no server"
    parts = [
        f"## {entry.number} {entry.title}",
        f"% Minutes on a laptop: {entry.minutes:g}; this run took {result['seconds']:.0f} s. Needs {needs}.",
        f"{entry.goal}.",
        goals,
    ]
    if lesson.picture:
        content, suffix = lesson.picture
        (source / f"{entry.name}.{suffix}").write_bytes(content)
        parts += [f"### {lesson.heading}", f"![{lesson.heading}]({entry.name}.{suffix})"]
    parts += ["### To take along", lesson.reading, _figures(result["figures"])]
    return "\n\n".join(part for part in parts if part)


def _figures(figures: dict[str, float]) -> str:
    shown = [
        f"| {name.replace('_', ' ')} | {f'{value:,.0f}' if abs(value) >= 1000 else f'{value:.4g}'} |"
        for name, value in list(figures.items())[:MOST_FIGURES]
    ]
    return "\n".join(["| measured in this run | |", "|---|---|", *shown]) if shown else ""


def _picture(cell: nbformat.NotebookNode) -> tuple[bytes, str] | None:
    """The last picture that a cell shows."""
    found = None
    for output in cell.get("outputs", []):
        for kind, suffix in _SUFFIXES.items():
            if content := output.get("data", {}).get(kind):
                text = "".join(content)
                found = (text.encode() if suffix == "svg" else base64.b64decode(text), suffix)
                break
    return found


def _headings(cell: nbformat.NotebookNode) -> list[str]:
    return re.findall(r"^##+ .+$", plain(cell.source), re.MULTILINE) if cell.cell_type == "markdown" else []


def _first_with(notebook: nbformat.NotebookNode, heading: str) -> int:
    places: Iterable[int] = (
        place
        for place, cell in enumerate(notebook.cells)
        if cell.cell_type == "markdown" and heading in _headings(cell)
    )
    return next(iter(places), len(notebook.cells))


def build(source: Path, target: Path) -> int:
    """Run Sphinx with reveal.js; a warning is an error. Returns its exit status."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "revealjs", str(source), str(target)]
    environment = {"PYTHONPATH": str(PROJECT_ROOT / "docs")}
    return subprocess.run(command, cwd=PROJECT_ROOT, env=os.environ | environment).returncode


def main(arguments: list[str] | None = None) -> int:
    """Build, and say where the slides are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, help="folder of an executed run; default: the newest whole one")
    parser.add_argument("--site", type=Path, default=PROJECT_ROOT / "site", help="where to; default: site")
    options = parser.parse_args(arguments)
    entries = load_index().notebook
    try:
        run = options.run or newest_run(PROJECT_ROOT / "runs", [entry.name for entry in entries])
    except WorkshopError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    source, target = options.site / "slides-source", options.site / "slides"
    deck(run, entries, source)
    status = build(source, target)
    if status == 0:
        print(f"the slides of {run.name}: {target / 'index.html'}")
    return status


if __name__ == "__main__":
    sys.exit(main())
