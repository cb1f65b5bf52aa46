"""The rubric: points for what was measured, reasons for what is missing."""

from __future__ import annotations

import pytest

from workshop.errors import DataInvalidError
from workshop.evaluate.rubric import Rubric, criterion


def test_points_are_a_share_and_only_all_of_it_gives_all_of_them():
    half = criterion("orders", 10, 100, "more orders", needed=200)
    nearly = criterion("texts", 10, 0.999, "longer texts")
    full = criterion("served", 20, True, "serve it")
    assert [part.points for part in (half, nearly, full)] == [5, 9, 20]
    assert criterion("much", 10, 900, "", needed=200).points == 10
    rubric = Rubric((half, nearly, full))
    assert (rubric.points, rubric.most) == (34, 40)
    assert rubric.table()["what is missing"].tolist() == ["more orders", "longer texts", ""]


@pytest.mark.parametrize(("most", "reached", "needed"), [(0, 1, 1), (10, float("nan"), 1), (10, -1, 1), (10, 1, 0)])
def test_what_makes_no_sense_is_refused(most, reached, needed):
    with pytest.raises(DataInvalidError, match="criterion 'x'"):
        criterion("x", most, reached, "", needed=needed)
