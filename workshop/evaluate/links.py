"""Judge recommenders of what goes with one product, by co-purchases that they were not shown.

A share of the links is held out. Whoever is judged sees the other links only, for messages between products too; what
is already linked to a product is never recommended with it. Recall@k and NDCG@k are averaged over products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from workshop.errors import DataInvalidError
from workshop.evaluate.baskets import Quality
from workshop.evaluate.metrics import ndcg_at_k, recall_at_k
from workshop.recommend.baskets import best_first
from workshop.recommend.products import ProductWeights

LinkScorer = Callable[[np.ndarray], np.ndarray]
"""Takes products, int64 ``[b]``; returns how well every product goes with each, float ``[b, products]``."""


@dataclass(frozen=True)
class HeldOutLinks:
    """A graph cut in two, and the products that are asked about.

    Attributes:
        known: the links that may be used, symmetric, float64 ``[products, products]`` of zeros and ones.
        asked: products with a held-out link and a known one, int64 ``[asked]``, in random order.
        wanted: their held-out links, float64 ``[asked, products]`` of zeros and ones.
    """

    known: sp.csr_matrix
    asked: np.ndarray
    wanted: sp.csr_matrix

    @property
    def edge_index(self) -> np.ndarray:
        """Both directions of every known link, int64 ``[2, edges]``."""
        return np.stack(self.known.nonzero()).astype(np.int64)

    def halves(self) -> tuple[HeldOutLinks, HeldOutLinks]:
        """The products asked about in two halves: one to choose on, one to judge on."""
        middle = len(self.asked) // 2
        first, second = (
            HeldOutLinks(self.known, self.asked[part], self.wanted[part])
            for part in (slice(None, middle), slice(middle, None))
        )
        return first, second


def hold_out_links(
    edge_index: np.ndarray, num_products: int, *, share: float = 0.1, most_asked: int = 4_000, seed: int = 0
) -> HeldOutLinks:
    """Hold out a random share of the links.

    Args:
        edge_index: int64 ``[2, edges]``; a link counts once, whichever direction it has, and loops do not count.
        num_products: of the graph.
        share: of the links that are held out.
        most_asked: products that are asked about, at most.
        seed: of the draw.

    Raises:
        DataInvalidError: no product has both a held-out link and a known one.
    """
    rng = np.random.default_rng(seed)
    low, high = np.sort(edge_index, axis=0)
    number = np.unique((low * num_products + high)[low != high])
    hidden = rng.random(len(number)) < share
    known, held_out = (_symmetric(number[part], num_products) for part in (~hidden, hidden))
    asked = np.flatnonzero((np.diff(known.indptr) > 0) & (np.diff(held_out.indptr) > 0))
    if not len(asked):
        raise DataInvalidError(
            f"none of {num_products} products has a link that is held out and another that is not, of {len(number)}"
            f" links with a share of {share}"
        )
    asked = rng.permutation(asked)[:most_asked]
    return HeldOutLinks(known, asked, held_out[asked])


def by_popularity(known: sp.csr_matrix) -> LinkScorer:
    """What has most links, whatever the product."""
    degree = np.asarray(known.sum(axis=1)).ravel()
    return lambda asked: np.tile(degree, (len(asked), 1))


def by_links(known: sp.csr_matrix) -> LinkScorer:
    """Products that are linked to the same ones; each shared one counts ``1 / (number of its links)``.

    Resource allocation, brought to at most 1 for each product (Zhou, Lü and Zhang 2009,
    https://arxiv.org/abs/0901.0553).
    """
    degree = np.asarray(known.sum(axis=1)).ravel()
    spread = (sp.diags(1 / np.maximum(degree, 1)) @ known).astype(np.float32)

    def score(asked: np.ndarray) -> np.ndarray:
        shared = (known[asked].astype(np.float32) @ spread).toarray()
        shared[np.arange(len(asked)), asked] = 0.0
        highest = shared.max(axis=1, keepdims=True)
        return shared / np.where(highest > 0, highest, 1.0)

    return score


def by_vectors(vectors: np.ndarray) -> LinkScorer:
    """Cosine similarity of vectors, float ``[products, width]``; zero vectors are similar to nothing."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = (vectors / np.where(norms > 0, norms, 1.0)).astype(np.float32)
    return lambda asked: unit[asked] @ unit.T


def by_terms(
    links: LinkScorer,
    vectors: LinkScorer,
    known: sp.csr_matrix,
    category: np.ndarray,
    weights: ProductWeights,
    graph_weight: float = 0.5,
) -> LinkScorer:
    """The score of ``product_recommend.aql`` with all its terms, over every product instead of candidates.

    Args:
        links: as for :func:`evaluate_mixtures`.
        vectors: likewise.
        known: the links that may be used, ``[products, products]`` of zeros and ones.
        category: of each product, int64 ``[products]``.
        weights: of popularity and category_share; nobody has bought anything yet, so nothing is repeated.
        graph_weight: of links against vectors.
    """
    degree = np.asarray(known.sum(axis=1)).ravel()
    popularity = (np.log1p(degree) / max(np.log1p(degree.max()), 1e-9)).astype(np.float32)
    members = sp.csr_matrix((np.ones(len(category)), (np.arange(len(category)), category)))
    share = sp.csr_matrix(sp.diags(1 / np.maximum(degree, 1)) @ known @ members).astype(np.float32)

    def score(asked: np.ndarray) -> np.ndarray:
        mixed = graph_weight * links(asked) / 2 + (1 - graph_weight) * vectors(asked)
        return mixed + weights.popularity * popularity + weights.category_share * share[asked].toarray()[:, category]

    return score


def evaluate_links(scorer: LinkScorer, held_out: HeldOutLinks, k: int = 10) -> Quality:
    """Recall@k and NDCG@k of a scorer.

    Raises:
        DataInvalidError: ``k`` is not positive, or a product has fewer than ``k`` others that are not linked to it.
    """
    return _evaluate(lambda asked: [scorer(asked)], held_out, k)[0]


def catalogue_coverage(scorer: LinkScorer, held_out: HeldOutLinks, k: int = 10) -> float:
    """Share of all products that are among the ``k`` recommended with any product asked about, from 0 to 1.

    Raises:
        DataInvalidError: as :func:`evaluate_links`.
    """
    _check_length(held_out, k)
    seen = np.zeros(held_out.known.shape[0], dtype=bool)
    for part in _batches(held_out):
        seen[best_first(scorer(part.asked), _excluded(part), k)] = True
    return float(seen.mean())


def evaluate_mixtures(
    links: LinkScorer, vectors: LinkScorer, graph_weights: Sequence[float], held_out: HeldOutLinks, k: int = 10
) -> dict[float, Quality]:
    """Recall@k and NDCG@k of two scorers mixed as in ``product_recommend.aql``, by the weight of the first.

    A mixture scores ``graph_weight * links / 2 + (1 - graph_weight) * vectors``: the query takes the mean of the direct
    link, none here, and of the shared ones.

    Raises:
        DataInvalidError: as :func:`evaluate_links`.
    """

    def mixtures(asked: np.ndarray) -> Iterator[np.ndarray]:
        by_link, by_vector = links(asked), vectors(asked)
        return (weight * by_link / 2 + (1 - weight) * by_vector for weight in graph_weights)

    return dict(zip(graph_weights, _evaluate(mixtures, held_out, k), strict=True))


def _evaluate(scorers: Callable[[np.ndarray], Iterable[np.ndarray]], held_out: HeldOutLinks, k: int) -> list[Quality]:
    """The quality of each of the scores that ``scorers`` gives for the products asked about."""
    _check_length(held_out, k)
    parts = []
    for part in _batches(held_out):
        wanted, excluded = part.wanted.toarray(), _excluded(part)
        hits = [np.take_along_axis(wanted, best_first(scores, excluded, k), axis=1) for scores in scorers(part.asked)]
        count = wanted.sum(axis=1)
        parts.append([(recall_at_k(hit, count), ndcg_at_k(hit, count)) for hit in hits])
    return [
        Quality(*(np.concatenate(values) for values in zip(*of_scorer, strict=True)), k)
        for of_scorer in zip(*parts, strict=True)
    ]


def _check_length(held_out: HeldOutLinks, k: int) -> None:
    """Raise DataInvalidError when not every product asked about has ``k`` others to recommend."""
    free = held_out.known.shape[0] - 1 - int(np.diff(held_out.known.indptr)[held_out.asked].max())
    if not 1 <= k <= free:
        raise DataInvalidError(f"k: expected 1 to {free}, the fewest products left to recommend, received {k}")


def _batches(held_out: HeldOutLinks, size: int = 256) -> Iterator[HeldOutLinks]:
    """The products asked about, ``size`` at a time: a row of scores holds every product."""
    for start in range(0, len(held_out.asked), size):
        part = slice(start, start + size)
        yield HeldOutLinks(held_out.known, held_out.asked[part], held_out.wanted[part])


def _excluded(held_out: HeldOutLinks) -> sp.csr_matrix:
    """What is not recommended with each product asked about, itself and what it is linked to, ``[asked, products]``."""
    asked = held_out.asked
    itself = sp.csr_matrix((np.ones(len(asked)), (np.arange(len(asked)), asked)), shape=held_out.wanted.shape)
    return held_out.known[asked] + itself


def _symmetric(number: np.ndarray, num_products: int) -> sp.csr_matrix:
    """Both directions of links numbered ``low * num_products + high``."""
    low, high = number // num_products, number % num_products
    ends = (np.concatenate([low, high]), np.concatenate([high, low]))
    return sp.csr_matrix((np.ones(2 * len(number)), ends), shape=(num_products, num_products))
