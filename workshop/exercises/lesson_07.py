"""Checks of `07_recommend_products`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from workshop.exercises.answers import RefusedError, call, number, shown
from workshop.exercises.checking import Exercise
from workshop.exercises.verdict import Findings, right, wrong
from workshop.recommend.recommendation import Recommendation


def never_together(answer: object, *, recommended: Sequence[Recommendation]) -> Findings:
    """How many of the recommended products have no edge to the one asked for."""
    value = number(answer, "the answer")
    new = sum(not item.facts["bought_together"] for item in recommended)
    if value == new:
        yield right(f"{new} of {len(recommended)} have no edge to it")
    elif value > len(recommended) or value != int(value):
        yield wrong(f"{value:g} is not a number of products out of {len(recommended)}")
    elif value == len(recommended) - new:
        yield wrong("this is how many were bought together with it")
    else:
        yield wrong(f"{value:g} is not how many of them have no edge to it: count once more")


def variety(answer: object, *, recommended: Sequence[Recommendation]) -> Findings:
    """A function ``(items, limit)`` that keeps at most ``limit`` items of a category, in their order."""
    made_up = [_item(key, category) for key, category in enumerate("AABACBBADAC")]
    for name, items in {"made-up items": made_up, "the notebook's": list(recommended)}.items():
        for limit in (1, 2, 3):
            found = call(answer, list(items), limit)
            if not isinstance(found, list | tuple) or not all(isinstance(item, Recommendation) for item in found):
                raise RefusedError(f"expected a list of items, and got {shown(found)}")
            expected = _at_most(items, limit)
            keys = [item.key for item in found]
            most = max(Counter(item.facts["category"] for item in found).values(), default=0)
            when = f"{name}, at most {limit} of a category"
            if keys == [item.key for item in expected]:
                yield right(f"{when}: right")
            elif most > limit:
                yield wrong(f"{when}: there are {most} of one")
            elif len(found) < len(expected):
                yield wrong(f"{when}: {len(expected) - len(found)} are left out that there is room for")
            else:
                yield wrong(f"{when}: of each category the best have to be kept, in the order of the list")


def _item(key: int, category: str) -> Recommendation:
    return Recommendation(str(key), f"item {key}", 1 - key / 100, {}, {"category": category})


def _at_most(items: Sequence[Recommendation], limit: int) -> list[Recommendation]:
    before = [Counter(item.facts["category"] for item in items[:place]) for place in range(len(items))]
    return [item for item, seen in zip(items, before, strict=True) if seen[item.facts["category"]] < limit]


def recall(answer: object) -> Findings:
    """A function ``(recommended, wanted, k)`` that gives the mean recall at k."""
    rng = np.random.default_rng(0)
    pages = [rng.permutation(60).tolist() for _ in range(30)]
    missing = [rng.choice(60, size=int(size), replace=False).tolist() for size in rng.integers(1, 8, size=30)]
    cases = {
        "two baskets": ([["a", "b", "c", "d"], ["e", "a", "b", "c"]], [["b", "x", "d"], ["e"]], 2),
        "a page shorter than k": ([["a"]], [["a", "b"]], 10),
        "thirty baskets at 10": (pages, missing, 10),
    }
    for name, (recommended, wanted, k) in cases.items():
        given = [list(page) for page in recommended], [list(basket) for basket in wanted]
        value = number(call(answer, *given, k), f"{name}: recall")
        shares = [np.isin(basket, page[:k]).mean() for page, basket in zip(recommended, wanted, strict=True)]
        if abs(value - np.mean(shares)) < 1e-9:
            yield right(f"{name}: {value:.3f}")
        elif not 0 <= value <= 1:
            yield wrong(f"{name}: recall is between 0 and 1, and this is {value:.3g}")
        else:
            more = value > np.mean(shares)
            yield wrong(f"{name}: {value:.3f} is too {'large' if more else 'small'}; what is divided by what?")


EXERCISES = {
    "1": Exercise("Set `never_together` in the cell above to a number.", never_together),
    "2": Exercise("Give `with_variety` a body that returns a list.", variety),
    "3": Exercise("Give `recall_at` a body that returns a number.", recall),
}
