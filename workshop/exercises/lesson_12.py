"""Checks of `12_accelerate_models`. Tables have a row a form, and the columns of the notebook's own."""

from __future__ import annotations

import math
from itertools import product

import pandas as pd

from workshop.exercises.answers import RefusedError, call, names, number, parts, shown
from workshop.exercises.checking import Exercise
from workshop.exercises.verdict import Findings, right, wrong

PLACES = pd.DataFrame(
    {"batched": [100.0, 300.0, 300.0, 300.0, 80.0, 500.0], "overlap": [1.0, 0.97, 0.97, 0.96, 1.0, 0.8]},
    index=["whole", "twin", "other twin", "equally fast", "equally true", "rough"],
)
ROOM = pd.DataFrame(
    {
        "single": [40.0, 90.0, 100.0, 50.0, 400.0, 300.0],
        "batched": [70.0, 90.0, 100.0, 600.0, 900.0, 800.0],
        "overlap": [1.0, 0.99, 0.99, 0.97, 0.8, 0.99],
        "memory_mb": [300.0, 200.0, 500.0, 400.0, 100.0, float("nan")],
    },
    index=["whole", "small", "quick alone", "quick in batches", "rough", "unmeasured"],
)
ROOM_OVERLAP, ROOM_LIMITS = 0.95, (200, 450, 600, 900)


def one_at_a_time(answer: object, *, table: pd.DataFrame, least_overlap: float) -> Findings:
    """``(form, times)``: the quickest for one text of those that keep enough, and its gain over the first row."""
    form, times = parts(answer, ("form", "times as fast"))
    if not isinstance(form, str) or form not in table.index:
        raise RefusedError(f"{shown(form)} is none of the forms of the table")
    times, median = number(times, "times as fast"), table["p50_ms"]
    if (kept := table.loc[form, "overlap"]) < least_overlap:
        yield wrong(f"`{form}` keeps {kept:.1%} of the neighbours, asked for are {least_overlap:.0%}")
    elif median[form] > median[table["overlap"] >= least_overlap].min():
        yield wrong(f"another form that keeps enough answers sooner than `{form}`")
    else:
        yield right(f"`{form}` keeps enough, and no other that does answers sooner")
    gain = median.iloc[0] / median[form]
    if abs(times - gain) <= 0.02 * gain:
        yield right(f"it is {gain:.2f} times as fast as `{table.index[0]}`")
    elif abs(times - 1 / gain) <= 0.02 / gain:
        yield wrong("this is the share of the time that it takes: the fraction is upside down")
    elif abs(times - 100 * gain) <= 2 * gain:
        yield wrong("this is in per cent, asked is how many times")
    else:
        yield wrong(f"`{form}` is not {times:.3g} times as fast as `{table.index[0]}` at one text")


def beaten(answer: object, *, table: pd.DataFrame) -> Findings:
    """A function that names the forms of a table that another one beats in batches and in neighbours kept."""
    for title, forms in {"the table of this notebook": table, "a table with equals": PLACES}.items():
        given = forms[["batched", "overlap"]].astype(float)
        said, expected = names(call(answer, given.copy()), f"{title}: what your function returns"), _beaten(given)
        for name in given.index:
            if name in said and name not in expected:
                yield wrong(f"{title}: nothing beats `{name}`: {_nearest_rival(given, name)}")
            elif name in expected and name not in said:
                yield wrong(f"{title}: `{name}` is missing, another is at least as good in both and better in one")
        if strange := said - set(given.index):
            yield wrong(f"{title}: `{min(strange)}` is none of its forms")
        if said == expected:
            yield right(f"{title}: {len(expected)} of {len(given)} are beaten")


def _beaten(table: pd.DataFrame) -> set[str]:
    rows = {str(name): (row["batched"], row["overlap"]) for name, row in table.iterrows()}
    return {
        name
        for name, own in rows.items()
        if any(other != own and other[0] >= own[0] and other[1] >= own[1] for other in rows.values())
    }


def _nearest_rival(table: pd.DataFrame, name: str) -> str:
    """Why a form is not beaten, in words."""
    others = table.drop(index=name)
    if (others == table.loc[name]).all(axis=1).any():
        return "a form that is its equal in both does not beat it"
    return "each other one is slower or keeps less"


def two_forms(answer: object, *, table: pd.DataFrame, least_overlap: float) -> Findings:
    """A function ``(table, least_overlap, most_mb)`` that chooses a form for one text and one for batches."""
    own = table[["single", "batched", "overlap", "memory_mb"]].astype(float)
    needs = own["memory_mb"][own["overlap"] >= least_overlap].dropna()
    limits = sorted({math.ceil(needs.min()), math.ceil(needs.sum())}) if len(needs) else []
    cases = [("the table of this notebook", own, least_overlap, limit) for limit in limits]
    cases += [("another table", ROOM, ROOM_OVERLAP, limit) for limit in ROOM_LIMITS]
    for title, forms, least, limit in cases:
        about = f"{title}, at most {limit} MB"
        chosen = parts(call(answer, forms.copy(), least, limit), ("for one text", "for batches"))
        if unknown := [name for name in chosen if name not in forms.index]:
            raise RefusedError(f"{about}: {shown(unknown[0])} is none of the forms")
        rows = forms.loc[list(dict.fromkeys(chosen))]
        memory = rows["memory_mb"].sum(skipna=False)
        if (worst := rows["overlap"].min()) < least:
            yield wrong(f"{about}: `{rows['overlap'].idxmin()}` keeps {worst:.1%}, asked for are {least:.0%}")
        elif not memory <= limit:
            takes = "an amount that nobody measured" if pd.isna(memory) else f"{memory:.0f} MB"
            yield wrong(f"{about}: your choice takes {takes}")
        elif (seconds := _seconds(forms, *chosen)) > 1.0001 * (least_seconds := _least_seconds(forms, least, limit)):
            yield wrong(
                f"{about}: {1000 * seconds:.2f} ms for one text alone and one in a batch; "
                f"{1000 * least_seconds:.2f} ms are possible"
            )
        else:
            yield right(f"{about}: nothing that fits is faster")


def _seconds(table: pd.DataFrame, alone: str, batches: str) -> float:
    return 1 / table.loc[alone, "single"] + 1 / table.loc[batches, "batched"]


def _least_seconds(table: pd.DataFrame, least_overlap: float, limit: int) -> float:
    kept = table.index[table["overlap"] >= least_overlap]
    memory = table["memory_mb"]
    fitting = [pair for pair in product(kept, kept) if sum(memory[name] for name in set(pair)) <= limit]
    return min(_seconds(table, *pair) for pair in fitting)


EXERCISES = {
    "1": Exercise("Fill in `alone` in the cell above with a name and a number.", one_at_a_time),
    "2": Exercise("Give `dominated` a body that returns a list of names.", beaten),
    "3": Exercise("Give `choose_two` a body that returns two names.", two_forms),
}
