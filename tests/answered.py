"""Notebooks whose exercises are answered: unanswered first, then with the solution, then with wrong answers.

One run of such a notebook shows all three. Every check cell runs once as committed; a cell with the solution and the
same check follow; last, the same check judges each of the mistakes that stand beside the solution. The same run looks
for faults in the figures.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell

from workshop.exercises.verdict import MEDIA_TYPE
from workshop.runner.index import INDEX_PATH

SOLUTIONS = INDEX_PATH.parent / "solutions"


@dataclass(frozen=True)
class Shown:
    """A verdict as an executed notebook holds it; ``mistake`` names the wrong answer it is about."""

    status: str
    findings: tuple[tuple[bool, str], ...]
    mistake: str | None


def tagged(notebook: nbformat.NotebookNode, tag: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def check_call(cell: nbformat.NotebookNode) -> ast.Call:
    """The one expression of a check cell: ``check("NN.n", name, ...)``."""
    [statement] = ast.parse(cell.source).body
    assert isinstance(statement, ast.Expr), cell.source
    call = statement.value
    assert isinstance(call, ast.Call), cell.source
    assert ast.unparse(call.func) == "check", cell.source
    assert isinstance(call.args[1], ast.Name), f"{cell.source}: the answer is a name"
    return call


def answered(path: Path, folder: Path) -> Path:
    """Write the notebook at ``path`` with answers into ``folder``, and return where."""
    notebook = nbformat.read(path, as_version=4)
    solutions = nbformat.read(SOLUTIONS / path.name, as_version=4)
    answers = iter(zip(tagged(solutions, "solution"), tagged(solutions, "mistakes"), strict=True))
    cells = [new_code_cell("from tests.figure_faults import watch\n\nwatch()")]
    for cell in notebook.cells:
        cells.append(cell)
        if "check" not in cell.metadata.get("tags", []):
            continue
        solution, mistakes = next(answers)
        call = check_call(cell)
        call.args[1] = ast.Name("_answer")  # another name: a mistake may call the solution
        tries = (
            f"{mistakes.source}\nfor _mistake, _answer in mistakes.items():\n"
            f"    print(_mistake)\n    display({ast.unparse(call)})"
        )
        cells += [new_code_cell(solution.source), new_code_cell(cell.source), new_code_cell(tries)]
    notebook.cells = cells
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, folder / path.name)
    return folder / path.name


def verdicts(executed: Path) -> dict[str, list[Shown]]:
    """All verdicts of an executed notebook by exercise, in the order in which they were given."""
    found: dict[str, list[Shown]] = defaultdict(list)
    for cell in nbformat.read(executed, as_version=4).cells:
        outputs = cell.get("outputs", [])
        printed = [line for output in outputs if output.get("name") == "stdout" for line in output.text.splitlines()]
        mistakes = iter(printed if "in mistakes.items():" in cell.source else [])
        for output in outputs:
            if verdict := output.get("data", {}).get(MEDIA_TYPE):
                findings = tuple((right, text) for right, text in verdict["findings"])
                found[verdict["exercise"]].append(Shown(verdict["status"], findings, next(mistakes, None)))
    return dict(found)
