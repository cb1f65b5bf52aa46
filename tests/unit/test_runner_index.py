"""The notebook index: what it accepts, what it refuses, and how notebooks are chosen from it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workshop.errors import RunnerError, UnknownNotebookError
from workshop.runner.index import Entry, Figure, Index, load_index, resolve_path
from workshop.settings import PROJECT_ROOT, load_settings


def entry(name: str, **fields: object) -> Entry:
    return Entry(**{"name": name, "title": "A title", "goal": "A goal", "minutes": 1, "timeout": 60, **fields})


@pytest.fixture(scope="module")
def index() -> Index:
    return Index(
        notebook=(
            entry("00_check_setup"),
            entry("01_trace_bert", depends_on=("00_check_setup",)),
            entry("02_trace_other"),
            entry("05_use_both", depends_on=("01_trace_bert", "02_trace_other")),
            entry("06_use_bert", depends_on=("01_trace_bert",)),
        )
    )


@pytest.mark.parametrize(
    "wanted", ["5", "05", " 05 ", "05_use_both", "05_use_both.ipynb", "notebooks/05_use_both.ipynb"]
)
def test_a_notebook_answers_to_its_number_and_its_name(index, wanted):
    assert index.find(wanted).name == "05_use_both"


@pytest.mark.parametrize("wanted", ["7", "99", "use_both", "", "005"])
def test_an_unknown_notebook_is_refused_and_the_known_ones_are_named(index, wanted):
    with pytest.raises(UnknownNotebookError, match=r"00_check_setup, 01_trace_bert"):
        index.find(wanted)


def test_selecting_brings_everything_needed_in_reading_order(index):
    assert [e.number for e in index.select(["05"])] == ["00", "01", "02", "05"]
    assert [e.number for e in index.select(["06", "2"])] == ["00", "01", "02", "06"]
    assert [e.number for e in index.select()] == ["00", "01", "02", "05", "06"]


def test_core_is_the_path_of_two_hours_and_may_stand_beside_others():
    index = load_index()
    assert [e.number for e in index.select(["core"])] == ["00", "01", "02", "05", "06"]
    assert [e.number for e in index.select(["08", "core"])] == ["00", "01", "02", "05", "06", "08"]


TABLE = '[[notebook]]\nname = "01_a_b"\ntitle = "t"\ngoal = "g"\nminutes = 1\ntimeout = 9\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[notebook]\n", "not valid TOML"),
        ("", "notebook: Field required"),
        (TABLE + "colour = 1", "colour: Extra"),
        (TABLE.replace("01_a_b", "Trace"), "name: String should match"),
        (TABLE.replace("timeout = 9", "timeout = 0"), "timeout: Input should be"),
        (TABLE + 'needs = ["triton", "tpu"]', r"needs.*'triton', 'arangodb', 'gpu' or 'network'"),
        (TABLE + 'figures = [{name = "auc"}]', "figure 'auc' needs either min and/or max, or value"),
    ],
)
def test_a_broken_index_says_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "index.toml"
    path.write_text(text)
    with pytest.raises(RunnerError, match=message):
        load_index(path)


def test_a_missing_index_is_named(tmp_path):
    with pytest.raises(RunnerError, match=r"no notebook index at .*index\.toml"):
        load_index(tmp_path / "index.toml")


def test_order_and_dependencies_are_checked():
    with pytest.raises(ValueError, match="unique and ascending"):
        Index(notebook=(entry("02_a_b"), entry("01_a_b")))
    with pytest.raises(ValueError, match="unique and ascending"):
        Index(notebook=(entry("01_a_b"), entry("01_c_d")))
    with pytest.raises(ValueError, match=r"01_a_b depends on .*02_c_d.* which do not come before"):
        Index(notebook=(entry("01_a_b", depends_on=("02_c_d",)), entry("02_c_d")))


def test_a_figure_needs_one_rule():
    for fields in ({}, {"min": 0, "value": 1}):
        with pytest.raises(ValueError, match="needs either min and/or max, or value"):
            Figure(name="x", **fields)


finite = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(low=finite, high=finite, recorded=finite)
def test_a_range_includes_its_ends_and_nothing_outside(low, high, recorded):
    problem = Figure(name="x", min=low, max=high).problem(recorded)
    assert (problem is None) == (low <= recorded <= high)


@given(value=finite.filter(bool), rel=st.floats(1e-3, 0.5), part=st.floats(-2, 2))
def test_a_value_holds_within_its_relative_tolerance(value, rel, part):
    problem = Figure(name="x", value=value, rel=rel).problem(value * (1 + part * rel))
    if abs(part) < 0.99:
        assert problem is None
    elif abs(part) > 1.01:
        assert "expected" in problem


def test_missing_and_wrong_figures_are_told_apart_and_sizes_are_respected():
    rules = (
        Figure(name="auc", min=0.6),
        Figure(name="hits", min=0.5, sizes={"default", "full"}),
        Figure(name="hits", min=0.2, sizes={"tiny"}),
    )
    notebook = entry("01_a_b", figures=rules)
    assert notebook.figure_problems({"auc": 0.7, "hits": 0.3}, "tiny") == []
    assert notebook.figure_problems({"auc": 0.7, "hits": 0.3}, "full") == ["hits = 0.3, expected at least 0.5"]
    assert notebook.figure_problems({"hits": 0.3}, "tiny") == ["auc was not recorded"]


def test_a_rule_for_the_default_model_does_not_hold_with_another_one():
    notebook = entry("01_a_b", figures=(Figure(name="top1", min=0.6, unless={"image_model", "photos"}),))
    assert notebook.figure_problems({}, "tiny", frozenset({"vit_model"})) == ["top1 was not recorded"]
    assert notebook.figure_problems({"top1": 0.1}, "tiny", frozenset({"photos"})) == []


def test_paths_follow_the_settings():
    settings = load_settings(model_repository=Path("/elsewhere/models"), data_dir=Path("/elsewhere/data"))
    assert resolve_path("model_repository/bert/1/model.pt", settings) == Path("/elsewhere/models/bert/1/model.pt")
    assert resolve_path(".data/movies.csv", settings) == Path("/elsewhere/data/movies.csv")
    assert resolve_path("notebooks/img/map.svg", settings) == PROJECT_ROOT / "notebooks/img/map.svg"


def test_outputs_may_be_patterns(tmp_path):
    settings = load_settings(data_dir=tmp_path)
    notebook = entry("01_a_b", outputs=(".data/weights/*.bin", ".data/plain.txt"))
    assert notebook.output_files(settings) == {tmp_path / "weights/*.bin": [], tmp_path / "plain.txt": []}
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/small.bin").touch()
    (tmp_path / "plain.txt").touch()
    assert list(notebook.output_files(settings).values()) == [
        [tmp_path / "weights/small.bin"],
        [tmp_path / "plain.txt"],
    ]
