"""Checks of `90_your_own_data`. Recalls are float64 ``[baskets]``."""

from __future__ import annotations

import numpy as np
from scipy.stats import bootstrap

from workshop.data.orders import Orders
from workshop.exercises.answers import RefusedError, array, call, number, shown
from workshop.exercises.checking import Exercise
from workshop.exercises.verdict import Findings, right, wrong

DRAWS = 2_000
BASKETS = 5
LEAST_TOLERANCE = 0.1
"""Share of an interval's width by which an end may differ: the ends of two runs of so many draws differ by less."""


def without_company(answer: object, *, orders: Orders) -> Findings:
    """How many ordered products were never in an order with another one."""
    value = number(answer, "the answer")
    baskets = orders.matrix()
    large = np.asarray(baskets.sum(axis=1)).ravel() > 1
    ordered = np.asarray(baskets.sum(axis=0)).ravel() > 0
    together = np.asarray(baskets[np.flatnonzero(large)].sum(axis=0)).ravel() > 0
    alone = int((ordered & ~together).sum())
    if value == alone:
        yield right(f"{alone} of {int(ordered.sum())} ordered products were only ever bought alone")
    elif value == together.sum():
        yield wrong("these had company")
    elif value == orders.num_products:
        yield wrong("this is how many products there are at all")
    elif value == (~together).sum():
        yield wrong("this counts products that nobody has ordered as well")
    else:
        yield wrong(f"{value:g} is not it: once in company is enough not to count, whatever the other orders were")


def rival(answer: object, *, orders: Orders) -> Findings:
    """A function ``(orders, basket, k)`` that recommends what most orders hold."""
    counts = np.bincount(orders.product, minlength=orders.num_products)
    rng = np.random.default_rng(0)
    best = np.argsort(-counts, kind="stable")
    most = min(10, orders.num_products - BASKETS)
    cases = {
        "an empty basket": ([], most),
        "a basket of what sells best": (best[: min(3, BASKETS)].tolist(), most),
        "a drawn basket": (rng.choice(orders.num_products, size=min(BASKETS, most), replace=False).tolist(), most),
    }
    for name, (basket, k) in cases.items():
        said = call(answer, orders, list(basket), k)
        values = array(said, f"{name}: the recommendation", (None,))
        if (values != np.round(values)).any() or (values < 0).any() or (values >= orders.num_products).any():
            raise RefusedError(f"{name}: expected numbers of products, and got {shown(said)}")
        products = values.astype(int).tolist()
        free = [product for product in best.tolist() if product not in basket]
        if set(products) & set(basket):
            yield wrong(f"{name}: it recommends what lies in the basket")
        elif len(products) != k or len(set(products)) != k:
            yield wrong(f"{name}: expected {k} different products, and got {len(set(products))}")
        elif sorted(counts[products])[::-1] != sorted(counts[free[:k]])[::-1]:
            yield wrong(f"{name}: there are products in more orders than some of these")
        elif counts[products].tolist() != counts[free[:k]].tolist():
            yield wrong(f"{name}: the right products, but not the most ordered first")
        else:
            yield right(f"{name}: right")


def interval(answer: object, *, ours: np.ndarray, theirs: np.ndarray) -> Findings:
    """A function ``(ours, theirs, draws, rng)`` that gives the ends of a paired bootstrap interval."""
    rng = np.random.default_rng(0)
    easy = rng.random(300)
    cases = {
        "recalls of the notebook": (ours, theirs),
        "two methods that both find easy baskets easy": (easy + 0.05 * rng.random(300), easy),
    }
    for name, (first, second) in cases.items():
        said = call(answer, np.array(first), np.array(second), DRAWS, np.random.default_rng(1))
        low, high = array(said, f"{name}: the interval", (2,))
        difference = np.asarray(first) - np.asarray(second)
        drawn = bootstrap((difference,), np.mean, n_resamples=DRAWS, batch=100, method="percentile", random_state=rng)
        truth = drawn.confidence_interval
        tolerance = LEAST_TOLERANCE * (truth.high - truth.low) + 1e-9
        if low > high:
            yield wrong(f"{name}: the low end comes first")
        elif abs(low - truth.low) <= tolerance and abs(high - truth.high) <= tolerance:
            yield right(f"{name}: {low:.3f} to {high:.3f}")
        elif abs(low + truth.high) <= tolerance and abs(high + truth.low) <= tolerance:
            yield wrong(f"{name}: who is subtracted from whom?")
        elif high - low > truth.high - truth.low + tolerance:
            yield wrong(f"{name}: too wide; draw pairs, and look at the spread of means")
        else:
            yield wrong(f"{name}: {low:.3f} to {high:.3f} is not it; the mean difference is {difference.mean():.3f}")


EXERCISES = {
    "1": Exercise("Set `never_in_company` in the cell above to a number.", without_company),
    "2": Exercise("Give `most_ordered` a body that returns a list.", rival),
    "3": Exercise("Give `paired_interval` a body that returns two numbers.", interval),
}
