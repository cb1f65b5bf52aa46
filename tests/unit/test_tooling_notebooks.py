"""What every committed notebook keeps to; see CONTRIBUTING.md, "A notebook"."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import nbformat
import pytest
from answered import SOLUTIONS, check_call, tagged
from matplotlib.colors import is_color_like

from scripts.strip_notebooks import committed_text
from workshop.exercises.checking import find
from workshop.exercises.questions import QUIZZES, quiz
from workshop.runner.index import INDEX_PATH, load_index
from workshop.runner.prose import literals
from workshop.settings import Settings

NOTEBOOKS = sorted(INDEX_PATH.parent.glob("*.ipynb"))
ENTRIES = load_index().notebook
MAX_LINES = 30
SHELL = {"subprocess", "pip", "ensurepip", "pexpect", "pty", "sh"}

QUESTIONS = 5

every_lesson = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == kind]


def tree(path: Path) -> ast.Module:
    """All code of a notebook; magics and shell lines are no Python and fail here."""
    return ast.parse("\n".join(cell.source for cell in cells(path, "code")), filename=path.name)


def headings(path: Path) -> list[str]:
    return [line for cell in cells(path, "markdown") for line in cell.source.splitlines() if line.startswith("#")]


def code_under(path: Path, heading: str) -> str:
    """The code between a heading and the next one of its level."""
    code, under = [], False
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "code":
            code += [cell.source] if under else []
        elif found := re.findall(r"^## .*$", cell.source, re.MULTILINE):
            under = heading in found
    return "\n".join(code)


def test_the_index_lists_the_notebooks_and_nothing_else():
    assert [entry.path.name for entry in ENTRIES] == [path.name for path in NOTEBOOKS if path.stem != "template"]


@every_notebook
def test_outputs_counts_and_editor_leftovers_are_stripped(path):
    assert path.read_text(encoding="utf-8") == committed_text(path), "try: make format"


@every_notebook
def test_one_parameters_cell_with_commented_upper_case_literals(path):
    tagged = [cell for cell in cells(path, "code") if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    for statement in ast.parse(tagged[0].source).body:
        assert isinstance(statement, ast.Assign | ast.AnnAssign), ast.unparse(statement)
        target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
        assert re.fullmatch(r"[A-Z][A-Z0-9_]*", target.id), f"{target.id} is not in upper case"
        ast.literal_eval(statement.value)
    uncommented = [line for line in tagged[0].source.splitlines() if "=" in line and "#" not in line]
    assert not uncommented, "say after each parameter which values are allowed"


@every_notebook
def test_a_parameter_that_is_a_setting_is_empty_and_handed_to_the_settings(path):
    """A literal would win over the setting, and the notebook would use another model or size than everything else."""
    [tagged] = [cell for cell in cells(path, "code") if "parameters" in cell.metadata.get("tags", [])]
    values = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(tagged.source).body}
    shared = {name for name in values if name.lower() in Settings.model_fields}
    assert {name: values[name] for name in shared} == dict.fromkeys(shared, "")
    uses = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Name) and node.id in shared]
    assert sum(isinstance(node.ctx, ast.Load) for node in uses) == len(shared), "read settings.<name> afterwards"
    handed = {
        (keyword.arg, ast.unparse(keyword.value))
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "notebook_settings"
        for keyword in node.keywords
    }
    assert handed == {(name.lower(), name) for name in shared}


@every_notebook
def test_code_cells_are_short(path):
    for cell in cells(path, "code"):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert 0 < len(lines) <= MAX_LINES, lines[:1]


@every_notebook
def test_sections_are_numbered_without_a_gap(path):
    text = "\n".join(cell.source for cell in cells(path, "markdown"))
    numbers = [int(number) for number in re.findall(r"^## (\d+)\.", text, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))


@every_notebook
def test_text_leads_to_the_code(path):
    """A thought may take two code cells, say a table and its plot; never three in a row."""
    kinds = "".join(cell.cell_type[0] for cell in nbformat.read(path, 4).cells)
    assert "ccc" not in kinds


@every_notebook
def test_no_shell_no_installation_and_nothing_swallowed(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
            assert not {module.partition(".")[0] for module in modules} & SHELL, ast.unparse(node)
        elif isinstance(node, ast.Attribute):
            assert ast.unparse(node) not in {"os.system", "os.popen"}
        elif isinstance(node, ast.Name):
            assert node.id != "get_ipython"
        elif isinstance(node, ast.ExceptHandler):
            assert node.type is not None
            assert ast.unparse(node.type) not in {"Exception", "BaseException"}, "name the error"


@every_notebook
def test_pictures_are_files_that_exist_and_paths_are_relative(path):
    for cell in nbformat.read(path, 4).cells:
        assert not cell.get("attachments")
        assert ";base64," not in cell.source
        assert not re.search(r"(?<![\w.~])/(?:home|root|Users|work|tmp)/", cell.source)
    for cell in cells(path, "markdown"):
        for target in re.findall(r"!\[[^\]]*\]\(([^)\s]+)", cell.source):
            assert (path.parent / target).is_file(), target


@every_notebook
def test_opening_and_ending_are_those_of_the_template(path):
    first = nbformat.read(path, 4).cells[0]
    assert first.cell_type == "markdown"
    assert [line.split("|")[1].strip() for line in first.source.splitlines() if line.startswith("| ")][-4:] == [
        *("Time", "Needs", "Reads", "Leaves")
    ]
    assert 3 <= len(re.findall(r"^- ", first.source, re.MULTILINE)) <= 5, "three to five learning goals"
    sections = [heading for heading in headings(path) if heading.startswith("## ")]
    assert sections[-4:] == ["## Exercises", "## Checks", "## Quiz", "## What next"]
    checks = code_under(path, "## Checks")
    assert "assert " in checks
    assert "record(" in checks


@every_lesson
def test_the_opening_agrees_with_the_index(entry):
    first = nbformat.read(entry.path, 4).cells[0].source
    assert first.splitlines()[0] == f"# {entry.title}"
    minutes = "1 minute" if entry.minutes == 1 else f"{entry.minutes:g} minutes"
    assert f"| Time | {minutes} |" in first


@every_lesson
def test_every_recorded_figure_has_a_bound(entry):
    recorded = {
        node.args[0].value
        for node in ast.walk(tree(entry.path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "record"
    }
    assert recorded, "record what the notebook shows"
    assert {figure.name for figure in entry.figures} == recorded


# --- numbers in the text ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "path", [*NOTEBOOKS, *sorted(SOLUTIONS.glob("*.ipynb"))], ids=lambda path: path.parent.name + path.stem
)
def test_results_in_the_text_come_from_code(path):
    found = literals(path)
    assert not found, "print them, or show them as Markdown from code:\n" + "\n".join(map(str, found))


# --- pictures -------------------------------------------------------------------------------------------------
LOOKS = {"fontsize", "font_size", "labelsize", "titlesize", "fontdict", "fontproperties", "dpi"}
LOOKS |= {"cmap", "colormap", "palette"}
COLOURS = {"color", "c", "colors", "edgecolor", "facecolor", "edgecolors", "facecolors", "ecolor", "markerfacecolor"}
CALLS = {"rcParams", "rc", "rc_context", "tight_layout", "set_fontsize", "set_color", "tick_params"}


def own_looks(path: Path) -> list[str]:
    """Sizes of text and colours that a notebook sets by itself instead of taking those of workshop.figures."""
    found = []
    for node in ast.walk(tree(path)):
        call = isinstance(node, ast.Attribute) and node.attr in CALLS
        if call or (isinstance(node, ast.keyword) and node.arg in LOOKS):
            found.append(ast.unparse(node))
        elif isinstance(node, ast.keyword) and node.arg in COLOURS:
            named = [part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant)]
            own = [value for value in named if is_color_like(value) and not re.fullmatch(r"C\d", str(value))]
            found += [f"{node.arg}={value!r}" for value in own]
    return found


@every_notebook
def test_looks_are_those_of_the_style(path):
    source = "\n".join(cell.source for cell in cells(path, "code"))
    assert not own_looks(path), "fonts and colours come from workshop.figures: C0 to C6, QUIET, SHADES"
    if "matplotlib" in source:
        assert re.search(r"^use_style\(\)$", source, re.MULTILINE), "use_style() after the imports"


def test_no_function_is_defined_in_two_notebooks():
    homes = defaultdict(set)
    for path in NOTEBOOKS:
        for node in tree(path).body:  # not the methods: every model has a forward
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                homes[node.name].add(path.name)
    assert not {name: found for name, found in homes.items() if len(found) > 1}, "move it to the workshop package"


# --- exercises and quizzes ------------------------------------------------------------------------------------
@every_lesson
def test_three_exercises_each_with_a_task_hints_a_starter_and_a_check(entry):
    notebook = nbformat.read(entry.path, 4)
    starters = tagged(notebook, "exercise")
    assert len(starters) == 3
    for n, starter in enumerate(starters, 1):
        place = notebook.cells.index(starter)
        task, check = notebook.cells[place - 1], notebook.cells[place + 1]
        assert task.source.startswith(f"### {entry.number}.{n} ")
        hints = re.findall(r"<details><summary>[^<]+</summary>\n\n", task.source)
        assert 1 <= len(hints) == task.source.count("\n\n</details>")
        assert check.metadata.tags == ["check"]
        call = check_call(check)
        assert ast.literal_eval(call.args[0]) == f"{entry.number}.{n}"
        assert "..." in starter.source, "the starter is an answer already"
        assert call.args[1].id in starter.source
        assert find(f"{entry.number}.{n}").start


@every_lesson
def test_each_exercise_has_a_solution_and_mistakes(entry):
    path = SOLUTIONS / entry.path.name
    assert path.read_text(encoding="utf-8") == committed_text(path), "try: make format"
    notebook, solutions = nbformat.read(entry.path, 4), nbformat.read(path, 4)
    for tag in ("solution", "mistakes"):
        assert len(tagged(solutions, tag)) == 3, tag
    for check, solution, mistakes in zip(
        tagged(notebook, "check"), tagged(solutions, "solution"), tagged(solutions, "mistakes"), strict=True
    ):
        assert check_call(check).args[1].id in solution.source
        assert "mistakes = {" in mistakes.source


@every_lesson
def test_a_quiz_of_five_whose_right_answers_are_not_all_in_one_place(entry):
    last_code = cells(entry.path, "code")[-1]
    assert last_code.source == f'quiz("{entry.number}")'
    questions = quiz(entry.number).question
    assert len(questions) == QUESTIONS
    assert len({question.asks for question in questions}) == QUESTIONS
    places = [[option.right for option in question.option].index(True) for question in questions]
    assert len(set(places)) > 1, "the right answer is always the same letter"
    assert (QUIZZES / f"{entry.name}.toml").is_file()


def test_there_are_no_quizzes_and_solutions_of_other_notebooks():
    names = {entry.name for entry in ENTRIES}
    assert {path.stem for path in QUIZZES.glob("*")} == names
    assert {path.stem for path in SOLUTIONS.glob("*.ipynb")} == names
