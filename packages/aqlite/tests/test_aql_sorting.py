"""Sorting in steps: the same order as one sort, and stopped between two steps."""

from __future__ import annotations

from operator import itemgetter

import pytest
from aql_support import Database
from hypothesis import given
from hypothesis import strategies as st

from aqlite.aql import sorting
from aqlite.aql.sorting import sorted_in_steps


@given(st.lists(st.integers(0, 9), max_size=60), st.booleans(), st.integers(1, 5))
def test_steps_give_what_one_sort_gives(keys, reverse, run):
    items = list(enumerate(keys))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorting, "RUN", run)
        assert sorted_in_steps(items, itemgetter(1), reverse=reverse) == sorted(
            items, key=itemgetter(1), reverse=reverse
        )


def test_many_steps_with_a_look_between_them():
    looks = []
    items = [number * 7919 % 20_011 for number in range(20_011)]
    assert sorted_in_steps(items, lambda item: item, check=lambda: looks.append(1)) == list(range(20_011))
    assert len(looks) > 2 * 20_011 / sorting.RUN


@pytest.mark.parametrize("stop_after", [1, 19, 25, 60])
def test_a_sort_can_be_stopped_anywhere(stop_after):
    looks = []

    def check() -> None:
        looks.append(1)
        if len(looks) == stop_after:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        sorted_in_steps([number * 7919 % 20_011 for number in range(20_011)], lambda item: item, check=check)
    assert len(looks) == stop_after


@pytest.mark.parametrize("text", ["d.n", "d.n DESC", "d.n DESC, d.m", "d.n, d.m DESC"])
def test_large_sorts_agree_with_small_ones(db, text):
    query = f"FOR i IN 0..9000 LET d = {{n: i * 7919 % 97, m: i * 31 % 89, i}} SORT {text} RETURN d.i"
    whole = db.rows(query)
    assert db.rows(query.replace("RETURN", "LIMIT 50 RETURN")) == whole[:50]
    assert sorted(whole) == list(range(9001))
    assert db.rows(query.replace("RETURN", "LIMIT 12000 RETURN")) == whole


@pytest.fixture
def db(tmp_path):
    database = Database(tmp_path / "data")
    yield database
    database.close()
