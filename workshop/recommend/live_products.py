"""Add a product after training: insert it, sample its neighbourhood where the graph is, embed it, recommend with it.

GraphSAGE learned how to combine features with neighbours, not one vector a product, so nothing is trained again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from arango.database import StandardDatabase

from workshop.errors import DataInvalidError, StoreSchemaError
from workshop.graph.client import check_features, check_hops, embed_subgraph
from workshop.graph.signature import PRODUCTS_MODEL, GraphModel
from workshop.recommend.product_graph import (
    FEATURE_DECIMALS,
    PRODUCT_COLLECTIONS,
    ProductCollections,
    co_purchase_edges,
    embedding_documents,
    rounded,
)
from workshop.recommend.products import ProductRecommender
from workshop.recommend.recommendation import Recommendation
from workshop.store.bulk import upsert
from workshop.store.connection import store_errors
from workshop.store.pending import MODEL_OF_EMBEDDING
from workshop.triton.client import TritonClient

_LEGAL_KEY = re.compile(r"[A-Za-z0-9_\-:.@()+,=;$!*'%]{1,120}")
"""Characters of an ArangoDB ``_key``; shorter than its 254 bytes, as an edge's key holds two."""


@dataclass(frozen=True)
class NewProduct:
    """A product that did not exist when the model was trained.

    Attributes:
        key: its id; ArangoDB's ``_key``.
        title: what a reader sees.
        features: float32 ``[in_channels]``, of the same space as the catalogue's; from ``graph.text_features(texts)``
            for generated data.
        bought_with: keys of products it was bought together with; none is fine. Repeated keys and its own are ignored.
        category: of the catalogue's, where it is known; None: the likeliest by the model stands in.
    """

    key: str
    title: str
    features: np.ndarray
    bought_with: tuple[str, ...] = ()
    category: str | None = None


@dataclass(frozen=True)
class LiveProduct:
    """What became of a new product.

    Attributes:
        key: its id.
        neighbourhood: number of products and of edges that were sampled.
        category: the likeliest category, with its probability; None when the model knows no categories.
        probability: see ``category``.
        recommendations: what goes with it.
        seconds: time of each step.
    """

    key: str
    neighbourhood: tuple[int, int]
    category: str | None
    probability: float | None
    recommendations: list[Recommendation]
    seconds: dict[str, float] = field(default_factory=dict)


def add_product(
    database: StandardDatabase,
    client: TritonClient,
    product: NewProduct,
    category_names: Sequence[str],
    *,
    model_version: str,
    model: GraphModel = PRODUCTS_MODEL,
    collections: ProductCollections = PRODUCT_COLLECTIONS,
    fan_out: Sequence[int] | None = None,
    seed: int = 0,
    limit: int = 10,
) -> LiveProduct:
    """Insert a product with its co-purchases, embed it through Triton, store that, and recommend.

    Every step writes by key, so after an error, a stopped server for instance, calling again completes the work.

    Args:
        database: the store, with the catalogue loaded.
        client: of a server that has the model loaded.
        product: what to add; a product of the same key is updated.
        category_names: name of each category number; empty: the likeliest category is not stored.
        model_version: name of the model and its weights; stored beside the vector.
        model: the served model.
        collections: where the catalogue lies.
        fan_out: neighbours a product at hop 1, 2, ...; None: those of the model's architecture.
        seed: of the sampling; the same seed draws the same neighbourhood.
        limit: number of recommendations.

    Raises:
        DataInvalidError: features of another width, NaN, an illegal key, or unknown products in ``bought_with``.
        ServingError: see :meth:`workshop.triton.client.TritonClient.infer`.
        StoreError: what the store raises.
    """
    fan_out = check_hops(fan_out, model)
    seconds: dict[str, float] = {}
    with _timed(seconds, "insert"):
        insert_product(database, product, width=model.architecture.in_channels, collections=collections)
    with _timed(seconds, "sample"):
        x, edge_index = sample_in_store(database, product.key, fan_out, seed, collections=collections)
    with _timed(seconds, "embed"):
        said = embed_subgraph(client, x, edge_index, np.zeros(1, dtype=np.int64), model=model)
    with _timed(seconds, "store"):
        document = next(embedding_documents([product.key], said, category_names))
        upsert(database, collections.products, [{**document, MODEL_OF_EMBEDDING: model_version}])
    with _timed(seconds, "recommend"):
        recommendations = ProductRecommender(database, collections=collections).recommend(product.key, limit=limit)
    return LiveProduct(
        key=product.key,
        neighbourhood=(len(x), edge_index.shape[1]),
        category=document.get("predicted_category"),
        probability=document.get("probability"),
        recommendations=recommendations,
        seconds=seconds,
    )


def insert_product(
    database: StandardDatabase,
    product: NewProduct,
    *,
    width: int = PRODUCTS_MODEL.architecture.in_channels,
    collections: ProductCollections = PRODUCT_COLLECTIONS,
) -> None:
    """Write a product, its co-purchases, and the new number of co-purchases of every product concerned.

    Args:
        database: the store, with the catalogue loaded.
        product: what to write.
        width: of the catalogue's features.
        collections: where the catalogue lies.

    Raises:
        DataInvalidError: features of another width, NaN, an illegal key, or unknown products in ``bought_with``;
            nothing is written.
    """
    if not _LEGAL_KEY.fullmatch(product.key):
        raise DataInvalidError(
            f"product key {product.key!r} cannot be stored", hint="letters, digits and _-:.@()+,=;$!*'%, at most 120"
        )
    check_features(np.asarray(product.features)[None], width)
    partners = sorted(set(product.bought_with) - {product.key})
    unknown = set(partners) - set(collections.query(database, "product_known", {"keys": partners}))
    if unknown:
        raise DataInvalidError(
            f"product {product.key!r} was bought with unknown products: {', '.join(sorted(unknown)[:5])}",
            hint="add these products first, or leave them out",
        )
    features = rounded(product.features, FEATURE_DECIMALS)
    document = {"_key": product.key, "title": product.title, "features": features, "co_purchases": 0}
    if product.category is not None:
        document["category"] = product.category
    upsert(database, collections.products, [document])
    keys = [product.key, *partners]
    pairs = np.stack([np.zeros(len(partners), dtype=np.int64), np.arange(1, len(keys))])
    upsert(database, collections.links, co_purchase_edges(keys, pairs, collections=collections))
    collections.query(database, "product_count_co_purchases", {"ids": [collections.id(key) for key in keys]})


def remove_product(
    database: StandardDatabase, key: str, *, collections: ProductCollections = PRODUCT_COLLECTIONS
) -> bool:
    """Take a product and its co-purchases out of the store; False when there is no such product."""
    graph, product = database.graph(collections.graph), collections.id(key)
    with store_errors(f"remove product {key!r}"):
        if not graph.has_vertex(product):
            return False
        edges = graph.edges(collections.links, product)["edges"]
        graph.delete_vertex(product)
    partners = {end for edge in edges for end in (edge["_from"], edge["_to"])} - {product}
    collections.query(database, "product_count_co_purchases", {"ids": sorted(partners)})
    return True


def sample_in_store(
    database: StandardDatabase,
    key: str,
    fan_out: Sequence[int],
    seed: int,
    *,
    collections: ProductCollections = PRODUCT_COLLECTIONS,
) -> tuple[np.ndarray, np.ndarray]:
    """Sample a product's neighbourhood by AQL, one query a hop; a product's neighbours are drawn once, when it is met.

    Args:
        database: the store.
        key: the product.
        fan_out: neighbours a product at hop 1, 2, ...
        seed: the same seed draws the same neighbourhood.
        collections: where the catalogue lies.

    Returns:
        Features float32 ``[nodes, in_channels]``, the product first, and edges int64 ``[2, edges]`` from neighbour to
        node.

    Raises:
        DataInvalidError: there is no such product.
        StoreSchemaError: products of the neighbourhood have no features stored.
    """
    source = collections.id(key)
    number, frontier, edges = {source: 0}, [source], []
    for limit in fan_out:
        pairs = collections.query(
            database, "product_neighbours", {"frontier": frontier, "fan_out": limit, "seed": seed}
        )
        frontier = []
        for neighbour, node in pairs:
            if neighbour not in number:
                number[neighbour] = len(number)
                frontier.append(neighbour)
            edges.append((number[neighbour], number[node]))
    features = collections.query(database, "product_features", {"ids": list(number)})
    without = [product for product, values in zip(number, features, strict=True) if values is None]
    if source in without:
        raise DataInvalidError(f"no product {key!r} with features is stored", hint="add_product or load_product_graph")
    if without:
        raise StoreSchemaError(
            f"{len(without)} products around {key!r} have no features, the first is {without[0]}",
            hint="load_product_graph writes them; or remove the edges to products that do not exist",
        )
    x = np.array(features, dtype=np.float32)
    return x, np.array(edges, dtype=np.int64).reshape(-1, 2).T


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[step] = time.perf_counter() - began
