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
from workshop.graph.architecture import FAN_OUT
from workshop.graph.client import ProductEmbeddings, check_features, embed_subgraph
from workshop.recommend.product_graph import (
    BOUGHT_TOGETHER,
    FEATURE_DECIMALS,
    PRODUCT_GRAPH,
    PRODUCTS,
    co_purchase_edges,
    embedding_documents,
    rounded,
)
from workshop.recommend.products import ProductRecommender
from workshop.recommend.recommendation import Recommendation
from workshop.store.bulk import upsert
from workshop.store.connection import store_errors
from workshop.store.pending import MODEL_OF_EMBEDDING
from workshop.store.queries import run_query
from workshop.triton.client import TritonClient

_LEGAL_KEY = re.compile(r"[A-Za-z0-9_\-:.@()+,=;$!*'%]{1,120}")
"""Characters of an ArangoDB ``_key``; shorter than its 254 bytes, as an edge's key holds two."""


@dataclass(frozen=True)
class NewProduct:
    """A product that did not exist when the model was trained.

    Attributes:
        key: its id; ArangoDB's ``_key``.
        title: what a reader sees.
        features: float32 ``[100]``, of the same space as the catalogue's; from ``graph.text_features(texts)`` for
            generated data.
        bought_with: keys of products it was bought together with; none is fine. Repeated keys and its own are ignored.
    """

    key: str
    title: str
    features: np.ndarray
    bought_with: tuple[str, ...] = ()


@dataclass(frozen=True)
class LiveProduct:
    """What became of a new product.

    Attributes:
        key: its id.
        neighbourhood: number of products and of edges that were sampled.
        category: the likeliest category, with its probability.
        probability: see ``category``.
        recommendations: what goes with it.
        seconds: time of each step.
    """

    key: str
    neighbourhood: tuple[int, int]
    category: str
    probability: float
    recommendations: list[Recommendation]
    seconds: dict[str, float] = field(default_factory=dict)


def add_product(
    database: StandardDatabase,
    client: TritonClient,
    product: NewProduct,
    category_names: Sequence[str],
    *,
    model_version: str,
    fan_out: tuple[int, int, int] = FAN_OUT,
    seed: int = 0,
    limit: int = 10,
) -> LiveProduct:
    """Insert a product with its co-purchases, embed it through Triton, store that, and recommend.

    Every step writes by key, so after an error, a stopped server for instance, calling again completes the work.

    Args:
        database: the store, with the catalogue loaded.
        client: of a server that has ``graphsage_products`` loaded.
        product: what to add; a product of the same key is updated.
        category_names: name of each category number.
        model_version: name of the model and its weights; stored beside the vector.
        fan_out: neighbours a product at hop 1, 2 and 3.
        seed: of the sampling; the same seed draws the same neighbourhood.
        limit: number of recommendations.

    Raises:
        DataInvalidError: features of another width, NaN, an illegal key, or unknown products in ``bought_with``.
        ServingError: see :meth:`workshop.triton.client.TritonClient.infer`.
        StoreError: what the store raises.
    """
    seconds: dict[str, float] = {}
    with _timed(seconds, "insert"):
        insert_product(database, product)
    with _timed(seconds, "sample"):
        x, edge_index = sample_in_store(database, product.key, fan_out, seed)
    with _timed(seconds, "embed"):
        said = embed_subgraph(client, x, edge_index, np.zeros(1, dtype=np.int64))
    with _timed(seconds, "store"):
        document = _store_embedding(database, product.key, said, category_names, model_version)
    with _timed(seconds, "recommend"):
        recommendations = ProductRecommender(database).recommend(product.key, limit=limit)
    return LiveProduct(
        key=product.key,
        neighbourhood=(len(x), edge_index.shape[1]),
        category=document["predicted_category"],
        probability=document["probability"],
        recommendations=recommendations,
        seconds=seconds,
    )


def insert_product(database: StandardDatabase, product: NewProduct) -> None:
    """Write a product, its co-purchases, and the new number of co-purchases of every product concerned.

    Raises:
        DataInvalidError: features of another width, NaN, an illegal key, or unknown products in ``bought_with``;
            nothing is written.
    """
    if not _LEGAL_KEY.fullmatch(product.key):
        raise DataInvalidError(
            f"product key {product.key!r} cannot be stored", hint="letters, digits and _-:.@()+,=;$!*'%, at most 120"
        )
    check_features(np.asarray(product.features)[None])
    partners = sorted(set(product.bought_with) - {product.key})
    unknown = set(partners) - set(run_query(database, "product_known", {"keys": partners}))
    if unknown:
        raise DataInvalidError(
            f"product {product.key!r} was bought with unknown products: {', '.join(sorted(unknown)[:5])}",
            hint="add these products first, or leave them out",
        )
    features = rounded(product.features, FEATURE_DECIMALS)
    upsert(database, PRODUCTS, [{"_key": product.key, "title": product.title, "features": features, "co_purchases": 0}])
    keys = [product.key, *partners]
    pairs = np.stack([np.zeros(len(partners), dtype=np.int64), np.arange(1, len(keys))])
    upsert(database, BOUGHT_TOGETHER, co_purchase_edges(keys, pairs))
    run_query(database, "product_count_co_purchases", {"keys": keys})


def remove_product(database: StandardDatabase, key: str) -> bool:
    """Take a product and its co-purchases out of the store; False when there is no such product."""
    graph = database.graph(PRODUCT_GRAPH.graph)
    with store_errors(f"remove product {key!r}"):
        if not graph.has_vertex(f"{PRODUCTS}/{key}"):
            return False
        edges = graph.edges(BOUGHT_TOGETHER, f"{PRODUCTS}/{key}")["edges"]
        graph.delete_vertex(f"{PRODUCTS}/{key}")
    partners = {end.partition("/")[2] for edge in edges for end in (edge["_from"], edge["_to"])} - {key}
    run_query(database, "product_count_co_purchases", {"keys": sorted(partners)})
    return True


def sample_in_store(
    database: StandardDatabase, key: str, fan_out: tuple[int, int, int], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sample a product's neighbourhood by AQL.

    Returns:
        Features float32 ``[nodes, 100]``, the product first, and edges int64 ``[2, edges]`` from neighbour to node.

    Raises:
        DataInvalidError: there is no such product.
        StoreSchemaError: products of the neighbourhood have no features stored.
    """
    bind_vars = {"key": key, "seed": seed, **{f"fan_out_{hop}": limit for hop, limit in enumerate(fan_out, start=1)}}
    found = run_query(database, "product_neighbourhood", bind_vars)[0]
    nodes = found["nodes"]
    without = [node["id"] for node in nodes if node["features"] is None]
    if f"{PRODUCTS}/{key}" in without:
        raise DataInvalidError(f"no product {key!r} with features is stored", hint="add_product or load_product_graph")
    if without:
        raise StoreSchemaError(
            f"{len(without)} products around {key!r} have no features, the first is {without[0]}",
            hint="load_product_graph writes them; or remove the edges to products that do not exist",
        )
    number = {node["id"]: i for i, node in enumerate(nodes)}
    edges = [(number[source], number[target]) for source, target in found["edges"]]
    x = np.array([node["features"] for node in nodes], dtype=np.float32)
    return x, np.array(edges, dtype=np.int64).reshape(-1, 2).T


def _store_embedding(
    database: StandardDatabase, key: str, said: ProductEmbeddings, category_names: Sequence[str], model_version: str
) -> dict[str, object]:
    document = next(embedding_documents([key], said, category_names))
    upsert(database, PRODUCTS, [{**document, MODEL_OF_EMBEDDING: model_version}])
    return document


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[step] = time.perf_counter() - began
