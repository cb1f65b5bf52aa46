"""Checks of `03_train_graphsage`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from workshop.exercises.answers import RefusedError, array, call, number, shown
from workshop.exercises.checking import Exercise
from workshop.exercises.verdict import Findings, right, wrong
from workshop.graph.sampling import CSRGraph

ASKED = 100


def largest_sample(answer: object, *, fan_out: Sequence[int]) -> Findings:
    """The most nodes that a sample with this fan-out can hold, its seed included."""
    value, hops = number(answer, "the answer"), np.cumprod(fan_out)
    if value == 1 + hops.sum():
        yield right(f"1 and then at most {', '.join(map(str, hops))} at each hop, whatever the size of the graph")
    elif value == hops.sum():
        yield wrong("all hops are there; the product in the middle is not")
    elif value == hops[-1]:
        yield wrong("these are the products of the last hop only")
    elif value == 1 + sum(fan_out):
        yield wrong("each product of the first hop brings neighbours of its own, so the numbers multiply")
    else:
        yield wrong(f"{value:g} is not the most products that can be drawn: go hop by hop")


def neighbour_vote(answer: object, *, csr: CSRGraph, categories: torch.Tensor, known: torch.Tensor) -> Findings:
    """A function of a product: the most frequent category of its neighbours that are ``known``, or -1."""
    truth, votes = categories.numpy(), known.numpy()
    silent = [product for product in range(csr.num_nodes) if not len(_voices(csr, product, votes))]
    rng = np.random.default_rng(0)
    groups = {
        "products without a known neighbour": silent,
        "products with known neighbours": np.setdiff1d(np.arange(csr.num_nodes), silent).tolist(),
    }
    for name, products in groups.items():
        asked = rng.permutation(products)[:ASKED].tolist()
        said = [call(answer, product) for product in asked]
        for product, category in zip(asked, said, strict=True):
            if number(category, f"the vote for product {product}") != int(category):
                raise RefusedError(f"a category is a whole number; for product {product} yours is {shown(category)}")
        allowed = [_winners(truth[_voices(csr, product, votes)]) for product in asked]
        bad = [n for n, product in enumerate(asked) if int(said[n]) not in allowed[n]]
        if not bad:
            yield right(f"{name}: the votes for {len(asked)} products are right")
            continue
        everybody = [_winners(truth[_neighbours(csr, product)]) for product in asked]
        leaks = all(int(said[n]) in everybody[n] for n in range(len(asked)))
        why = " Yours lets neighbours vote whose category is not known." if leaks else ""
        example = f"such as {said[bad[0]]} for product {asked[bad[0]]}"
        yield wrong(f"{name}: {len(bad)} of {len(asked)} votes are not right, {example}.{why}")


def _neighbours(csr: CSRGraph, product: int) -> np.ndarray:
    return csr.indices[csr.indptr[product] : csr.indptr[product + 1]]


def _voices(csr: CSRGraph, product: int, votes: np.ndarray) -> np.ndarray:
    around = _neighbours(csr, product)
    return around[votes[around]]


def _winners(categories: np.ndarray) -> set[int]:
    """The most frequent categories, several if they tie; -1 when there are none."""
    if not len(categories):
        return {-1}
    counts = np.bincount(categories)
    return set(np.flatnonzero(counts == counts.max()).tolist())


def routed(
    answer: object,
    *,
    predicted: Mapping[str, torch.Tensor],
    links: np.ndarray,
    categories: torch.Tensor,
    test: torch.Tensor,
) -> Findings:
    """Predictions of the regression without links, of the network with links; ``links`` is int ``[products]``."""
    said = array(answer, "the predictions", (len(links),))
    regression, network = (predicted[name].numpy() for name in ("logistic regression", "GraphSAGE"))
    for name, products, expected in (
        ("without links", links == 0, regression),
        ("with links", links > 0, network),
    ):
        same = (said == expected)[products].mean() if products.any() else 1.0
        if same == 1:
            yield right(f"products {name}: the method that was asked for")
        else:
            yield wrong(f"products {name}: {1 - same:.0%} of them differ from the method that was asked for")
    if (said == np.where(links == 0, regression, network)).all():
        judged, truth = test.numpy(), categories.numpy()
        rates = [(p == truth)[judged].mean() for p in (regression, network, said)]
        yield right("test accuracy: regression {:.3f}, network {:.3f}, both together {:.3f}".format(*rates))


EXERCISES = {
    "1": Exercise("Set `largest_sample` in the cell above to a number.", largest_sample),
    "2": Exercise("Give `neighbour_vote` a body that returns a category.", neighbour_vote),
    "3": Exercise("Set `routed` in the cell above, from `predicted`.", routed),
}
