"""The progress line of long cells, and which cells have none."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from workshop.runner.progress import progress_line, silent_cells


def test_first_and_last_are_shown_and_what_comes_too_soon_is_not(capsys):
    show = progress_line("films", seconds=60)
    for done in (1, 2, 1500, 2000):
        show(done, 2000)
    assert capsys.readouterr().out == "\r1 of 2,000 films\r2,000 of 2,000 films\n"


def test_every_step_is_shown_when_no_time_is_asked_for(capsys):
    show = progress_line("texts", seconds=0)
    for done in (1, 2, 3):
        show(done, 3)
    assert capsys.readouterr().out == "\r1 of 3 texts\r2 of 3 texts\r3 of 3 texts\n"


@pytest.mark.parametrize(
    ("source", "seconds", "shown", "named"),
    [
        ("fit()", 6.2, "", True),
        ("fit()", 6.2, "the end\n", True),
        ("fit()", 6.2, "\r1 of 2 films\r2 of 2 films\n", False),
        ("fit()", 4.8, "", False),
        ("import torch\n\nuse_style()", 6.2, "", False),
        ("never_reached()", None, "", False),
    ],
)
def test_a_long_cell_that_does_not_show_how_far_it_is_is_named(tmp_path, source, seconds, shown, named):
    outputs = [new_output("stream", name="stdout", text=shown)] if shown else []
    cells = [
        new_code_cell("SEED = 1", metadata={"tags": ["injected-parameters"]}),
        new_code_cell("SEED"),
        new_code_cell(source, outputs=outputs, metadata={"papermill": {"duration": seconds}}),
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "executed.ipynb")
    expected = ["cell 1 ran for 6 s and did not show how far it was"] if named else []
    assert silent_cells(tmp_path / "executed.ipynb") == expected
