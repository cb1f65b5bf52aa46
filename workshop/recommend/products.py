"""Recommend products: alike, bought together, both at once, varied, and with the reason."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from arango.database import StandardDatabase

from workshop.errors import DataInvalidError, UnknownKeyError
from workshop.recommend.product_graph import EMBEDDING_DECIMALS, PRODUCT_COLLECTIONS, ProductCollections, rounded
from workshop.recommend.recommendation import Reason, Recommendation
from workshop.store.pending import EMBEDDING
from workshop.store.vector_index import VectorSearch

POOL = 50
"""Candidates taken from each source before they are ranked together."""
NEIGHBOURS = 50
"""Most co-purchases of a product that are followed; a hub has hundreds."""
CANDIDATES = 2 * POOL + NEIGHBOURS
"""Most products that can be recommended beside one: its neighbours, those through them, and those alike."""

TERMS = ("graph_score", "similarity", "popularity", "category_share", "repetition")
"""What the score of a recommended product is made of."""


@dataclass(frozen=True)
class ProductWeights:
    """How much the terms beside graph and embedding count; 0 switches one off. Each term lies between 0 and 1.

    Notebook 07 judges popularity and category_share: held-out co-purchases are found more often with popularity, and it
    would choose more of it than the default, which stays below so that the same few best sellers do not go with
    everything.

    Attributes:
        popularity: logarithm of the number of co-purchases, as a share of the best-selling candidate's.
        category_share: share of what is bought with the product that is of the candidate's category. Most co-purchases
            stay inside a category, so it mostly speaks for products of the product's own.
        repetition: taken off for a product that the customer bought already. 1 is more than most scores differ by; less
            is right where things are bought again and again, as groceries are.
    """

    popularity: float = 0.2
    category_share: float = 0.2
    repetition: float = 1.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise DataInvalidError(f"weights: {name} is {value!r}", hint="give every weight as a number from 0 on")


@dataclass(frozen=True)
class Explanation:
    """Why one product goes with another: a direct co-purchase, likeness, and the products that link the two."""

    title: str
    recommended_title: str
    bought_together: bool
    similarity: float | None
    shared_count: int
    shared: tuple[str, ...]

    def __str__(self) -> str:
        counted = "1 product is" if self.shared_count == 1 else f"{self.shared_count} products are"
        reasons = [f"{counted} bought with both"] if self.shared_count else []
        if self.shared:
            names = ", ".join(self.shared)
            reasons[0] += f": {names}" if len(self.shared) == self.shared_count else f", {names} among them"
        if self.bought_together:
            reasons.insert(0, "the two are bought together")
        if self.similarity is not None:
            reasons.append(f"their embeddings have a cosine of {self.similarity:.2f}")
        return f"{self.recommended_title}: {'; '.join(reasons) or 'nothing links the two'}"


class ProductRecommender:
    """Recommendations from a store that holds the product graph and its embeddings.

    Args:
        database: the store.
        search: whether the vector index is used for :meth:`similar`, from ``ensure_vector_index``; None: exact.
        collections: where the catalogue lies.
    """

    def __init__(
        self,
        database: StandardDatabase,
        search: VectorSearch | None = None,
        *,
        collections: ProductCollections = PRODUCT_COLLECTIONS,
    ) -> None:
        self._database = database
        self._search = search
        self._collections = collections

    def find(self, text: str, *, limit: int = 10) -> list[dict[str, Any]]:
        """Products with ``text`` in their title, the most co-purchased first."""
        return self._query("product_find", {"text": text.strip(), "limit": limit})

    def product(self, key: str) -> dict[str, Any]:
        """The whole document of a product.

        Raises:
            UnknownKeyError: there is no such product.
        """
        found = self._query("product_document", {"key": key})
        if not found:
            raise UnknownKeyError(f"no product has the key {key!r}", hint="recommender.find('part of its title')")
        return found[0]

    def similar(self, key: str, *, category: str | None = None, limit: int = 10) -> list[Recommendation]:
        """Products nearest to one in embedding space, of one category if wanted.

        Raises:
            DataInvalidError: there is no such product, or it has no embedding yet.
        """
        return self.similar_to(self._vector(key), category=category, exclude=key, limit=limit)

    def similar_to(
        self, vector: np.ndarray, *, category: str | None = None, exclude: str = "", limit: int = 10
    ) -> list[Recommendation]:
        """Products nearest to any vector, float ``[width of the embeddings]``."""
        bind_vars = {
            "vector": rounded(vector, EMBEDDING_DECIMALS),
            "exclude": exclude,
            "category": category,
            "limit": limit,
        }
        if self._search is None or not self._search.approximate:
            found = self._query("product_nearest_exact", bind_vars)
        else:
            bind_vars["n_probe"] = self._search.n_probe
            found = self._query("product_nearest_approximate", bind_vars)
        return [Recommendation.from_row({**row, "score": row["similarity"]}, ["similarity"]) for row in found]

    def co_purchased(self, key: str, *, limit: int = 10) -> list[Recommendation]:
        """Products that were bought together with one; none for an isolated product.

        The score is the edge's ``weight``, 1 where edges have none; ``shared`` counts the products linked to both.

        Raises:
            DataInvalidError: there is no such product.
        """
        self.product(key)
        rows = self._query("product_co_purchased", self._bind(key, limit))
        return [Recommendation.from_row({**row, "score": row["weight"]}, ["weight", "shared"]) for row in rows]

    def recommend(
        self,
        key: str,
        *,
        graph_weight: float = 0.5,
        weights: ProductWeights | None = None,
        bought: Iterable[str] = (),
        per_category: int | None = None,
        limit: int = 10,
    ) -> list[Recommendation]:
        """What goes with a product: by graph and embedding at once, by popularity and by category.

        Args:
            key: the product.
            graph_weight: from 0, embeddings alone, to 1, the co-purchase graph alone. The default lies where the exact
                weight matters little by held-out co-purchases, see notebook 07.
            weights: how much each other term counts; None: the defaults.
            bought: keys of what the customer has bought already; a key of no product does no harm.
            per_category: at most so many of one category, for variety; None: no limit.
            limit: length of the list.

        Returns:
            Each with the ``terms`` of its score and ``reasons`` whose weights add up to it.

        Raises:
            DataInvalidError: there is no such product, or a number makes no sense.
        """
        _check_numbers(graph_weight, per_category=per_category, limit=limit)
        weights = weights or ProductWeights()
        wanted = limit if per_category is None else max(limit, CANDIDATES)
        found = self._scored(key, graph_weight, weights, bought, wanted)
        if per_category is not None:
            bind_vars = {"candidates": found, "per_category": per_category, "limit": limit}
            found = self._query("product_diversify", bind_vars)
        return [Recommendation.from_row(row, TERMS, _reasons(row, graph_weight, weights)) for row in found]

    def recommend_for_basket(
        self,
        basket: Collection[str],
        *,
        graph_weight: float = 0.5,
        weights: ProductWeights | None = None,
        limit: int = 10,
    ) -> list[Recommendation]:
        """What goes with a basket: the mean of the scores that :meth:`recommend` gives beside each product of it.

        A product that is no candidate beside one of them gets 0 there. Costs a query for each product of the basket.
        The scorers of :mod:`workshop.recommend.baskets`, which learn from whole orders, are those that were judged by
        held-out baskets; the store holds links only.

        Args:
            basket: keys of products; repeated ones count once.
            graph_weight: as for :meth:`recommend`.
            weights: likewise.
            limit: length of the list.

        Returns:
            As :meth:`recommend`, none of them in the basket; the terms are means too.

        Raises:
            UnknownKeyError: one of the keys is no product's.
            DataInvalidError: the basket is empty, or a number makes no sense.
        """
        _check_numbers(graph_weight, limit=limit)
        basket = list(dict.fromkeys(basket))
        if not basket:
            raise DataInvalidError("the basket is empty", hint="recommender.find('part of a title') gives keys")
        weights = weights or ProductWeights()
        beside: dict[str, list[dict[str, Any]]] = {}
        for key in basket:
            for row in self._scored(key, graph_weight, weights, (), CANDIDATES):
                beside.setdefault(row["key"], []).append(row)
        means = [_mean_row(rows, len(basket)) for key, rows in beside.items() if key not in basket]
        best = sorted(means, key=lambda row: (-row["score"], row["key"]))[:limit]
        return [Recommendation.from_row(row, TERMS, _reasons(row, graph_weight, weights)) for row in best]

    def _scored(
        self, key: str, graph_weight: float, weights: ProductWeights, bought: Iterable[str], limit: int
    ) -> list[dict[str, Any]]:
        """The rows of the query ``product_recommend``, best first."""
        has_embedding = self.product(key).get(EMBEDDING) is not None
        bind_vars = {
            **self._bind(key, limit),
            "graph_weight": graph_weight,
            "weights": vars(weights),
            "bought": list(bought),
            "pool": POOL,
            "near": POOL if has_embedding else 0,
            "neighbours": NEIGHBOURS,
        }
        return self._query("product_recommend", bind_vars)

    def links_among(self, keys: Iterable[str]) -> list[tuple[str, str]]:
        """The co-purchases among some products, as pairs of keys."""
        ids = [self._collections.id(key) for key in keys]
        return [tuple(pair) for pair in self._query("product_links_among", {"ids": ids})]

    def explain(self, key: str, recommended: str, *, limit: int = 3) -> Explanation:
        """Why ``recommended`` goes with ``key``; names the ``limit`` linking products that say most.

        Raises:
            DataInvalidError: one of the two is not a product.
        """
        self.product(key), self.product(recommended)
        bind_vars = {**self._bind(key, limit), "target": self._collections.id(recommended)}
        found = self._query("product_explain", bind_vars)[0]
        return Explanation(
            title=found["title"],
            recommended_title=found["recommended_title"],
            bought_together=found["bought_together"],
            similarity=found["similarity"],
            shared_count=found["shared_count"],
            shared=tuple(item["title"] for item in found["shared"]),
        )

    def _vector(self, key: str) -> np.ndarray:
        vector = self.product(key).get(EMBEDDING)
        if vector is None:
            raise DataInvalidError(
                f"product {key!r} has no embedding yet", hint="embed_catalogue(database, client, ...)"
            )
        return np.array(vector)

    def _query(self, name: str, bind_vars: dict[str, Any]) -> list[Any]:
        return self._collections.query(self._database, name, bind_vars)

    def _bind(self, key: str, limit: int) -> dict[str, Any]:
        return {"source": self._collections.id(key), "limit": limit}


def _check_numbers(graph_weight: float, **limits: int | None) -> None:
    if not 0 <= graph_weight <= 1 or any(limit is not None and limit < 1 for limit in limits.values()):
        received = ", ".join(f"{name}={value}" for name, value in {"graph_weight": graph_weight, **limits}.items())
        raise DataInvalidError(f"expected graph_weight from 0 to 1 and positive limits, received {received}")


def _mean_row(rows: Sequence[Mapping[str, Any]], number: int) -> dict[str, Any]:
    """One row for what was scored beside some of ``number`` products, with 0 beside the others."""
    means = {name: sum(row[name] for row in rows) / number for name in ("score", *TERMS)}
    return {**rows[0], **means, "bought_together": any(row["bought_together"] for row in rows)}


def _reasons(row: Mapping[str, Any], graph_weight: float, weights: ProductWeights) -> Iterator[Reason]:
    """Every part of a product's score that is not 0, in words; their weights add up to the score."""
    said = {
        "graph": (
            "bought with it" if row["bought_together"] else "bought with the same",
            graph_weight * row["graph_score"],
        ),
        "embedding": (f"similarity {row['similarity']:.2f}", (1 - graph_weight) * row["similarity"]),
        "popularity": (f"{row['co_purchases']:,} co-purchases", weights.popularity * row["popularity"]),
        "category": (f"{row['category']}, bought with it", weights.category_share * row["category_share"]),
        "repetition": ("bought already", -weights.repetition * row["repetition"]),
    }
    return (Reason(kind, name, part) for kind, (name, part) in said.items() if part)
