"""Running notebooks: real kernels, real papermill, small notebooks written for the occasion."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from rich.console import Console
from tiny_notebooks import write_index, write_notebook

from workshop.errors import RunnerError, UnknownParameterError
from workshop.runner.execute import execute_notebook, kernel_environment
from workshop.runner.index import INDEX_PATH, Entry, load_index
from workshop.runner.parameters import assign_parameters, given_settings, parse_assignments
from workshop.runner.record import MEDIA_TYPE, read_records, record
from workshop.runner.session import new_run_folder, run_notebooks
from workshop.runner.terminal import TerminalWatcher, print_report
from workshop.settings import PROJECT_ROOT, load_settings


def run(tmp_path: Path, source: Path, timeout: float = 60, **parameters: object):
    target = tmp_path / "executed.ipynb"
    environment = kernel_environment(load_settings())
    return target, execute_notebook(source, target, parameters=parameters, environment=environment, timeout=timeout)


def texts(notebook: Path) -> str:
    """Everything printed in an executed notebook."""
    outputs = [output for cell in nbformat.read(notebook, 4).cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream")


# --- one notebook ---------------------------------------------------------------------------------------------
def test_the_kernel_is_this_interpreter_with_this_project_and_these_settings(tmp_path):
    source = write_notebook(
        tmp_path,
        "a",
        "import sys, pathlib, workshop\nfrom workshop.settings import load_settings",
        "print(sys.executable, pathlib.Path.cwd(), pathlib.Path(workshop.__file__).parent.parent, sep='|', end='|')",
        "print(load_settings().triton_http_port, load_settings().data_size, DATA_SIZE, sep='|')",
    )
    target = tmp_path / "executed.ipynb"
    environment = kernel_environment(load_settings(triton_http_port=12345, data_size="full"))
    failure = execute_notebook(source, target, parameters={"DATA_SIZE": "tiny"}, environment=environment, timeout=60)
    assert failure is None
    assert texts(target).strip().split("|") == [
        *(sys.executable, str(tmp_path), str(PROJECT_ROOT)),
        *("12345", "full", "tiny"),
    ]


def test_a_failure_names_the_committed_cell_and_keeps_what_ran(tmp_path):
    source = write_notebook(tmp_path, "a", "print('before')", "# a comment first\n\nvalue = 1 / 0", "print('after')")
    target, failure = run(tmp_path, source, SEED=3)
    assert failure.cell == 3
    assert str(failure) == "cell 3 (`value = 1 / 0`): ZeroDivisionError: division by zero"
    assert texts(target) == "before\n"


def test_a_cell_that_never_ends_is_stopped_in_time(tmp_path):
    source = write_notebook(tmp_path, "a", "import time", "time.sleep(600)")
    target, failure = run(tmp_path, source, timeout=2)
    assert str(failure) == "cell 3 (`time.sleep(600)`): the notebook took longer than its 2 s"
    assert target.exists()


def test_the_limit_is_for_the_notebook_not_for_each_cell(tmp_path):
    source = write_notebook(tmp_path, "a", "import time", *["time.sleep(1.2)"] * 4)
    _, failure = run(tmp_path, source, timeout=3)
    assert "longer than its 3 s" in str(failure)


def test_a_dead_kernel_is_reported_with_its_last_words(tmp_path):
    source = write_notebook(tmp_path, "a", "import os\nos.write(2, b'out of paper\\n')\nos.abort()")
    _, failure = run(tmp_path, source)
    assert "cell 2 (`import os`): the kernel died" in str(failure)
    assert "out of paper" in str(failure)


def test_asking_for_input_fails_instead_of_waiting(tmp_path):
    _, failure = run(tmp_path, write_notebook(tmp_path, "a", "input('Download? ')"))
    assert "StdinNotImplementedError" in str(failure)


# --- figures --------------------------------------------------------------------------------------------------
def test_the_template_runs_and_records(tmp_path):
    target, failure = run(tmp_path, INDEX_PATH.parent / "template.ipynb", DATA_SIZE="tiny", SEED=1)
    assert failure is None
    assert read_records(target) == {"pi_error": pytest.approx(0, abs=0.2)}


def test_figures_must_be_finite_and_recorded_once(tmp_path):
    for value in (float("nan"), float("inf")):
        with pytest.raises(RunnerError, match=r"figure 'auc' is (nan|inf), expected a finite number"):
            record("auc", value)
    cell = new_code_cell("record('auc', 1)")
    figure = {MEDIA_TYPE: {"name": "auc", "value": 1.0, "unit": ""}}
    cell.outputs = [nbformat.v4.new_output("display_data", data=figure) for _ in range(2)]
    path = tmp_path / "twice.ipynb"
    nbformat.write(new_notebook(cells=[cell]), path)
    with pytest.raises(RunnerError, match=r"twice\.ipynb records 'auc' twice"):
        read_records(path)


# --- parameters -----------------------------------------------------------------------------------------------
def entry(folder: Path, name: str, **fields: object) -> Entry:
    return Entry(name=name, title="t", goal="g", minutes=1, timeout=60, folder=folder, **fields)


def test_parameters_are_checked_and_typed_before_anything_runs(tmp_path):
    write_notebook(tmp_path, "01_a_b")
    plain = new_notebook(cells=[new_code_cell("1")])
    plain.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(plain, tmp_path / "02_c_d.ipynb")
    both = [entry(tmp_path, "01_a_b"), entry(tmp_path, "02_c_d")]

    given = parse_assignments(["SEED=7", "RATE=1", "LABELS=['x=y']", "NAME=3"])
    assert assign_parameters(both, given) == {
        "01_a_b": {"SEED": 7, "RATE": 1.0, "LABELS": ["x=y"], "NAME": "3"},
        "02_c_d": {},
    }
    assert assign_parameters(both, {"DATA_SIZE": "full"})["01_a_b"] == {"DATA_SIZE": "full"}
    with pytest.raises(UnknownParameterError, match=r"no parameter 'SEEED' in 01_a_b, 02_c_d; .* LABELS, NAME"):
        assign_parameters(both, {"SEEED": "7"})
    with pytest.raises(RunnerError, match="SEED=many: expected int, such as 0"):
        assign_parameters(both, {"SEED": "many"})


def test_a_given_parameter_that_is_a_setting_holds_for_the_whole_run():
    given = parse_assignments(["SENTENCE_MODEL=/models/mine", "DATA_SIZE=tiny", "PRECISION=", "SEED=7"])
    assert given_settings(given) == {"sentence_model": "/models/mine", "data_size": "tiny"}


@pytest.mark.parametrize(("given", "expected"), [("", "bf16 full"), ("fp32", "fp32 full")])
def test_in_a_notebook_a_given_parameter_wins_else_the_setting(tmp_path, given, expected):
    source = write_notebook(
        tmp_path,
        "a",
        f"PRECISION = {given!r}",
        "from workshop.settings import notebook_settings",
        "settings = notebook_settings(precision=PRECISION, data_size='')",
        "print(settings.precision, settings.data_size)",
    )
    environment = kernel_environment(load_settings(precision="bf16", data_size="full"))
    target = tmp_path / "executed.ipynb"
    assert execute_notebook(source, target, parameters={}, environment=environment, timeout=60) is None
    assert texts(target).strip() == expected


@pytest.mark.parametrize("text", ["SEED", "=3", "a-b=1"])
def test_a_malformed_assignment_is_refused(text):
    with pytest.raises(RunnerError, match="is not a parameter"):
        parse_assignments([text])


# --- a run ----------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def mixed_run(tmp_path_factory):
    """Seven notebooks: some pass, some fail in each possible way, some depend on those."""
    folder = tmp_path_factory.mktemp("mixed")
    figure = "from workshop.runner.record import record\nrecord('hits', 0.25, '%')"
    write_notebook(folder, "01_makes_figure", figure)
    write_notebook(folder, "02_breaks_midway", "1 / 0")
    write_notebook(folder, "03_needs_broken", "print('never')")
    write_notebook(folder, "04_needs_skipped", "print('never')")
    write_notebook(folder, "05_figure_low", figure)
    write_notebook(folder, "06_leaves_nothing", "print('done')")
    index = load_index(
        write_index(
            folder,
            'name = "01_makes_figure"\nfigures = [{name = "hits", min = 0.2}]',
            'name = "02_breaks_midway"',
            'name = "03_needs_broken"\ndepends_on = ["01_makes_figure", "02_breaks_midway"]',
            'name = "04_needs_skipped"\ndepends_on = ["03_needs_broken"]',
            'name = "05_figure_low"\nfigures = [{name = "hits", min = 0.9}, {name = "misses", max = 1}]',
            'name = "06_leaves_nothing"\noutputs = ["model_repository/bert/1/model.pt"]',
        )
    )
    settings = load_settings(model_repository=folder / "models", data_size="tiny")
    console = Console(width=160, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    entries = index.select()
    parameters = assign_parameters(entries, {})
    with TerminalWatcher(console, entries) as watcher:
        report = run_notebooks(
            entries, parameters=parameters, settings=settings, watcher=watcher, folder=new_run_folder(folder / "runs")
        )
    print_report(report, console)
    return report, console.export_text()


def test_a_terminal_shows_the_running_cell(tmp_path):
    entry = load_index(write_index(tmp_path, 'name = "01_shows_cell"')).notebook[0]
    console = Console(width=160, force_terminal=True, file=io.StringIO())
    with TerminalWatcher(console, [entry]) as watcher:
        watcher.notebook_begins(entry)
        watcher.cell_begins(3, 12, "table[['a', 'b']].plot()")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())
    assert "3/12 cells" in shown
    assert "table[['a', 'b']].plot()" in shown


def test_failures_are_reported_and_only_dependents_are_skipped(mixed_run):
    report, _ = mixed_run
    assert {result.name[:2]: result.status for result in report.results} == {
        "01": "passed",
        "02": "failed",
        "03": "skipped",
        "04": "skipped",
        "05": "failed",
        "06": "failed",
    }
    problems = {result.name[:2]: result.problems for result in report.results}
    assert problems["02"] == ("cell 2 (`1 / 0`): ZeroDivisionError: division by zero",)
    assert problems["03"] == ("needs 02",)
    assert problems["04"] == ("needs 03",)
    assert problems["05"] == ("hits = 0.25, expected at least 0.9", "misses was not recorded")
    assert re.fullmatch(r"left no .*models/bert/1/model\.pt", problems["06"][0])
    assert not report.passed


def test_the_report_can_be_read_by_programs(mixed_run):
    report, _ = mixed_run
    content = json.loads((report.folder / "report.json").read_text())
    assert content["passed"] is False
    assert content["data_size"] == "tiny"
    first, second, *_ = content["notebooks"]
    assert first["figures"] == {"hits": 0.25}
    assert first["seconds"] > 0
    assert second["cell"] == 2


def test_executed_notebooks_and_html_are_kept_also_of_failures(mixed_run):
    report, _ = mixed_run
    # a kernel that wrote to stderr, as ipykernel at times does on a busy machine, leaves its log as well
    kept = {path.name for path in report.folder.iterdir() if not path.name.endswith(".kernel.log")}
    ran = ("01_makes_figure", "02_breaks_midway", "05_figure_low", "06_leaves_nothing")
    assert kept == {"report.json", *(f"{name}.ipynb" for name in ran), *(f"{name}.html" for name in ran)}
    assert "ZeroDivisionError" in (report.folder / "02_breaks_midway.html").read_text()


def test_people_see_the_table_and_the_reasons(mixed_run):
    _, text = mixed_run
    assert re.search(r"01_makes_figure\s+│\s+\d+\.\d\s+│ hits = 0\.25\s+│ passed", text)
    assert re.search(r"03_needs_broken\s+│\s+0\.0\s+│\s+│ skipped \(needs 02\)", text)
    assert "[2/6] 02_breaks_midway" in text
    assert "cell 2 (`1 / 0`): ZeroDivisionError: division by zero" in text


def test_two_runs_in_one_second_do_not_share_a_folder(tmp_path):
    assert len({new_run_folder(tmp_path) for _ in range(3)}) == 3


# --- the command ----------------------------------------------------------------------------------------------
def command(index: Path, *arguments: str) -> list[str]:
    return [sys.executable, str(PROJECT_ROOT / "scripts/run_notebooks.py"), "--index", str(index), *arguments]


def test_the_command_refuses_what_it_cannot_do_and_leaves_no_run_behind(tmp_path):
    write_notebook(tmp_path, "01_a_b")
    index = write_index(tmp_path, 'name = "01_a_b"')
    runs = PROJECT_ROOT / "runs"
    before = set(runs.iterdir()) if runs.exists() else set()
    result = subprocess.run(command(index, "-p", "SEEED=1"), capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert "UnknownParameterError: no parameter 'SEEED'" in result.stdout
    assert (set(runs.iterdir()) if runs.exists() else set()) == before


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_stops_its_kernel(tmp_path, sent):
    pipe = tmp_path / "pid"
    os.mkfifo(pipe)
    tell = "import os, pathlib\npathlib.Path('pid').write_text(str(os.getpid()))"
    write_notebook(tmp_path, "01_a_b", tell, "while True: pass")
    index = write_index(tmp_path, 'name = "01_a_b"')
    runner = subprocess.Popen(command(index, "--runs-dir", str(tmp_path / "runs")), stdout=subprocess.PIPE, text=True)
    kernel = psutil.Process(int(pipe.read_text()))  # waits for the kernel to write
    runner.send_signal(sent)
    output, _ = runner.communicate(timeout=30)
    assert runner.returncode == 130
    assert "Interrupted" in output
    assert psutil.wait_procs([kernel], timeout=10)[1] == []
    (executed,) = (tmp_path / "runs").glob("*/01_a_b.ipynb")
    assert nbformat.read(executed, 4).cells[1].execution_count == 1
