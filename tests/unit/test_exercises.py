"""Checks of exercises and quizzes: the machinery; each exercise is tried where its notebook runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from workshop.errors import ExerciseError
from workshop.exercises import answers, check, quiz
from workshop.exercises.verdict import MEDIA_TYPE, Verdict, inline, right, wrong

OPTION = '[[question.option]]\nsays = "{}"\nwhy = "since `{}`"\n'


def three(*rights: str) -> str:
    options = [OPTION.format(name, name) + ("right = true\n" if name in rights else "") for name in "abc"]
    return '[[question]]\nasks = "Which of < and `>`?"\n' + "".join(options)


@pytest.mark.parametrize("nothing", [None, ..., (..., ...), [None], {"a": ...}])
def test_no_answer_says_how_to_start_and_is_no_failure(nothing):
    verdict = check("01.1", nothing, mask=torch.ones(2, 2))
    assert (verdict.status, verdict.passed) == ("open", False)
    assert "`padding`" in str(verdict)


def test_a_starter_function_is_no_answer_yet():
    assert check("01.2", lambda hidden, mask: ...).status == "open"


def test_a_function_that_stops_answering_is_wrong():
    given = iter([[("a", 1 / 61 + 1 / 62), ("c", 1 / 63 + 1 / 61), ("b", 1 / 62), ("e", 1 / 63), ("d", 1 / 64)]])
    verdict = check("06.3", lambda rankings, k: next(given, None))
    assert [finding.right for finding in verdict.findings] == [True, False]
    assert "returns nothing" in str(verdict)


def test_what_a_learners_function_raises_is_part_of_the_verdict():
    verdict = check("06.3", lambda rankings, k: rankings["a"])
    assert verdict.status == "not yet"
    assert "your function raised TypeError" in str(verdict)


def test_right_and_wrong_findings_are_told_apart():
    mask = torch.tensor([[1, 1, 1, 0]])
    assert check("01.1", torch.tensor(0.25), mask=mask).passed
    assert "hold a token" in str(check("01.1", 0.75, mask=mask))
    assert "`'a quarter'`" in str(check("01.1", "a quarter", mask=mask))


@pytest.mark.parametrize(
    ("exercise", "given", "message"),
    [
        ("01.9", {}, "no exercise '01.9': notebook 01 has 01.1, 01.2, 01.3"),
        ("77.1", {}, "no notebook has it"),
        ("..errors.1", {}, "no notebook has it"),
        ("01.1", {}, r"checked with \['mask'\], got \[\]"),
        ("01.1", {"mask": 0, "ids": 0}, r"got \['ids', 'mask'\]"),
    ],
)
def test_an_unknown_exercise_or_other_data_is_an_error(exercise, given, message):
    with pytest.raises(ExerciseError, match=message):
        check(exercise, 1, **given)


def test_a_verdict_is_shown_as_text_as_html_and_for_programs():
    bundle = Verdict("00.1", (right("a < b"), wrong("not `x`")), "Begin.")._repr_mimebundle_()
    assert bundle["text/plain"] == "00.1: not yet\n✓ a < b\n✗ not `x`"
    assert "a &lt; b" in bundle["text/html"]
    assert "<code>x</code>" in bundle["text/html"]
    assert inline("no *model* of `a * b * c`") == "no <em>model</em> of <code>a * b * c</code>"
    assert bundle[MEDIA_TYPE]["findings"] == [[True, "a < b"], [False, "not `x`"]]


@pytest.mark.parametrize("odd", ["three", None, [1, 2], float("nan"), np.inf, True])
def test_what_is_no_number_is_refused(odd):
    with pytest.raises(answers.RefusedError, match="the share should be a number"):
        answers.number(odd, "the share")


def test_arrays_are_taken_from_tensors_and_refused_by_shape():
    assert answers.array(torch.ones(2, 3, requires_grad=True), "it", (None, 3)).shape == (2, 3)
    with pytest.raises(answers.RefusedError, match=r"\[any, 4\], and has \[2, 3\]"):
        answers.array(np.ones((2, 3)), "it", (None, 4))
    with pytest.raises(answers.RefusedError, match="array of numbers"):
        answers.array([["a"]], "it", (1, 1))


def test_answers_of_parts_and_names_are_looked_at():
    with pytest.raises(answers.RefusedError, match="share is still open"):
        answers.parts(("client", ...), ("party", "share"))
    with pytest.raises(answers.RefusedError, match=r"should be \(party, share\)"):
        answers.parts("client", ("party", "share"))
    with pytest.raises(answers.RefusedError, match="list of names, and holds `1`"):
        answers.names(["a", 1], "the answer")
    with pytest.raises(answers.RefusedError, match="list of names"):
        answers.names("a", "the answer")


def test_a_quiz_shows_reasons_in_html_only_and_escapes_text(tmp_path):
    (tmp_path / "09_a_b.toml").write_text(three("b"))
    shown = quiz("09", tmp_path)
    assert "since" not in str(shown)
    page = shown._repr_html_()
    assert "Which of &lt; and <code>&gt;</code>?" in page
    assert page.count("<details>") == 3
    assert page.count("✓ Right. since <code>b</code>") == 1
    assert "<script" not in page


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (three(), "exactly one option must be right"),
        (three("a", "b"), "exactly one option must be right"),
        ("[[question]]\nasks = 'x'\noption = []", "at least 3 items"),
        ("[[question]", "not valid TOML"),
        (None, "has 0 quizzes of notebook '09'"),
    ],
)
def test_a_bad_quiz_is_an_error_that_names_the_file(tmp_path, content, message):
    if content is not None:
        (tmp_path / "09_a_b.toml").write_text(content)
    with pytest.raises(ExerciseError, match=message):
        quiz("09", tmp_path)
