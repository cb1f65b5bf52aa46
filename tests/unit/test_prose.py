"""What counts as a result that was written by hand, and what does not."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from workshop.runner.prose import literals


@pytest.fixture
def found(tmp_path):
    def found(*cells):
        """Numbers found in a notebook of these cells; a tuple is code."""
        made = [new_code_cell(cell[0]) if isinstance(cell, tuple) else new_markdown_cell(cell) for cell in cells]
        nbformat.write(new_notebook(cells=made), tmp_path / "notebook.ipynb")
        return [literal.text for literal in literals(tmp_path / "notebook.ipynb")]

    return found


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("The network finds 87.3% of them.", ["87.3%"]),
        ("It takes 12 ms, or 1,250 at worst.", ["12", "1,250"]),
        ("It is three to four times as fast.", ["four times"]),
        ("Twice as many are found, a quarter of all.", ["Twice", "a quarter"]),
        ("Cosine 0.97\n\n## 2. Next\n\nThen -3 remain", ["0.97", "-3"]),
        ("| films | 17 |", ["17"]),
        ("It takes half a minute, or half an hour.", ["half a minute", "half an hour"]),
        ("It lost one neighbour in ten, and one in 20.", ["one neighbour in ten", "one in 20"]),
        ("From one row to sixteen, of thirty-two.", ["sixteen", "thirty-two"]),
        ("A keyword which hundreds have, and a dozen more.", ["hundreds", "dozen"]),
    ],
)
def test_results_are_found(found, text, numbers):
    assert found(text) == numbers


@pytest.mark.parametrize(
    "text",
    [
        "## 3. How good is it?\n\nSections 4 and 9 say so, and notebook 07, and exercise 06.2.",
        "| Time | 3 minutes |",
        "int8, recall@10, SHA-256, all-MiniLM-L6-v2 and a 4-bit engine",
        "`x[3:17]` and $k = 60$, see [Hu 2020](https://arxiv.org/abs/2005.00687)\n\n```\n42\n```",
        "Hamilton, Ying and Leskovec (2017)",
        "From 0 to 1, or -1; guessing gives 0.5.",
        "### 05.1 A task\n\nHow many for 250 films?",
        "TMDB 5000: 4,803 films",
        "There are two ways, and three questions, one answer in ten words.",
    ],
)
def test_what_is_no_result_may_be_written(found, text):
    assert found(text) == []


def test_what_code_of_the_same_section_sets_may_be_named(found):
    code = ("sizes = (8, 32); share = 0.1; query = 'a\\nLIMIT 7'",)
    text = "Batches of 8 and 32, a tenth or 10% or one in ten held out, 7 rows, thirty-two at most."
    assert found("## 1. One\n\n" + text, code) == []
    assert found("## 1. One\n\nBatches of 64", code) == ["64"]
    assert found("## 1. One\n\n" + text, "## 2. Other", code) == [
        "8",
        "32",
        "a tenth",
        "10%",
        "one in ten",
        "7",
        "thirty-two",
    ]


def test_code_does_not_say_how_many_hundreds_are_nor_how_long_half_a_minute_takes(found):
    assert found("## 1. One\n\nHundreds, in half a minute.", ("sizes = (2, 100)",)) == ["Hundreds", "half a minute"]


def test_what_code_prints_is_looked_at_too(found):
    assert found(("print(f'{x:.3f} instead of 44 ms')",)) == ["44"]
    assert found(("print('by chance 10%')",)) == ["10%"]
    assert found(("Markdown(f'{x} of {y}, 12 times')",)) == ["12"]
    assert found(("assert x, f'wanted 44, got {x}'",)) == []
