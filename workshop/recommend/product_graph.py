"""The product catalogue as a graph in the store, with the embeddings and categories the served GraphSAGE gives."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from arango.database import StandardDatabase

from workshop.data.keys import pair_key
from workshop.errors import DataInvalidError
from workshop.graph.checks import check_edge_index
from workshop.graph.client import EmbeddingGraph, ProductEmbeddings, embed_products
from workshop.graph.signature import PRODUCTS_MODEL, GraphModel
from workshop.store.bulk import Document, Progress, UpsertReport, upsert
from workshop.store.data_sets import DataSet, check_data_set
from workshop.store.embeddings import check_vectors
from workshop.store.pending import EMBEDDING, PendingReport, compute_pending
from workshop.store.queries import run_query_on
from workshop.store.schema import EdgeDefinition, GraphSchema, PersistentIndex, ensure_schema
from workshop.triton.client import TritonClient

if TYPE_CHECKING:  # torch is for loading a catalogue; recommending from the store does without
    import torch

    from workshop.data.products import ProductGraph


@dataclass(frozen=True)
class ProductCollections:
    """Where a catalogue lies in its database; each catalogue of one database has names of its own.

    Attributes:
        products: collection of the products.
        links: edge collection of the co-purchases.
        graph: the named graph over both.
    """

    products: str = "products"
    links: str = "bought_together"
    graph: str = "product_graph"

    @classmethod
    def prefixed(cls, prefix: str) -> ProductCollections:
        """The usual names behind a prefix, ``"mine_"`` for instance.

        Raises:
            DataInvalidError: the prefix is not a letter with letters, digits, ``_`` and ``-`` behind it.
        """
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", prefix):
            raise DataInvalidError(
                f"prefix: expected a letter, then letters, digits, _ or -, received {prefix!r}", hint='"mine_"'
            )
        return cls(*(f"{prefix}{name}" for name in (cls.products, cls.links, cls.graph)))

    @property
    def schema(self) -> GraphSchema:
        """Collections, named graph and indexes."""
        return GraphSchema(
            graph=self.graph,
            vertices=(self.products,),
            edges=(EdgeDefinition(self.links, (self.products,), (self.products,)),),
            indexes=(PersistentIndex(self.products, ("category",)),),
        )

    def id(self, key: str) -> str:
        """The ``_id`` of a product."""
        return f"{self.products}/{key}"

    def query(self, database: StandardDatabase, name: str, bind_vars: Mapping[str, Any] | None = None) -> list[Any]:
        """Run one of the ``product_*`` queries on these collections.

        Raises:
            QueryError: the store refuses the query, or it fails.
        """
        return run_query_on(database, name, {"products": self.products, "links": self.links}, bind_vars)


PRODUCT_COLLECTIONS = ProductCollections()
PRODUCTS, BOUGHT_TOGETHER = PRODUCT_COLLECTIONS.products, PRODUCT_COLLECTIONS.links
PRODUCT_GRAPH = PRODUCT_COLLECTIONS.schema

FEATURE_DECIMALS = 2
"""Features have a standard deviation near 1, so this keeps them to half a per cent of it."""
EMBEDDING_DECIMALS = 3
"""Of a vector of length 1 and width 256: a rounded vector has a cosine above 0.99999 to the exact one."""
SMALL_GRAPH = 100_000
"""Up to so many products a request may hold the whole graph; sampled neighbourhoods of a larger one are kept apart."""
PRODUCTS_PER_STEP = {"small": 2048, "large": 128}
PREDICTIONS_KEPT = 3


def load_product_graph(
    database: StandardDatabase,
    graph: ProductGraph,
    *,
    collections: ProductCollections = PRODUCT_COLLECTIONS,
    edge_weight: torch.Tensor | None = None,
    progress: Progress | None = None,
) -> dict[str, UpsertReport]:
    """Write products and co-purchases; what the store knows besides, such as embeddings, stays.

    A co-purchase has no direction and is stored once. Self loops and duplicate edges are dropped.

    Args:
        database: the store.
        graph: the catalogue.
        collections: where it goes; each catalogue of a database has its own.
        edge_weight: float ``[edges]``, how strong each co-purchase of ``graph.edge_index`` is; None: all alike.
        progress: called with the number of documents written, and the number of all.

    Returns:
        What was written, by collection.

    Raises:
        DataInvalidError: an edge names an unknown product, or the weights do not fit the edges.
        DocumentsRejectedError: the store refused documents.
        StoreSchemaError: a collection or the graph exists and is different, or products of another catalogue are there.
    """
    if edge_weight is not None and edge_weight.shape != graph.edge_index.shape[1:]:
        raise DataInvalidError(
            f"edge_weight: expected [{graph.edge_index.shape[1]}], one an edge, received {list(edge_weight.shape)}"
        )
    pairs, weights = undirected(graph.edge_index, graph.num_products, edge_weight)
    check_catalogue(database, graph, collections=collections)
    total = graph.num_products + pairs.shape[1]

    def report(done_before: int, done: int) -> None:
        if progress:
            progress(done_before + done, total)

    degree = np.bincount(pairs.ravel(), minlength=graph.num_products)
    return {
        collections.products: upsert(
            database,
            collections.products,
            _products(graph, degree, _data_set(graph).marks),
            on_batch=lambda done, refused: report(0, done),
        ),
        collections.links: upsert(
            database,
            collections.links,
            co_purchase_edges(graph.keys, pairs, weights, collections=collections),
            on_batch=lambda done, refused: report(graph.num_products, done),
        ),
    }


def check_catalogue(
    database: StandardDatabase, graph: ProductGraph, *, collections: ProductCollections = PRODUCT_COLLECTIONS
) -> None:
    """Create the collections and the named graph where they are missing; refuse products of another catalogue in them.

    Raises:
        StoreSchemaError: a collection or the graph exists and is different, or products of another catalogue are there.
    """
    ensure_schema(database, collections.schema)
    check_data_set(
        database,
        collections.products,
        _data_set(graph),
        differ_in="products or links",
        graph=collections.graph,
        own_place="collections=ProductCollections(...) with names of their own, or another database",
    )


def _data_set(graph: ProductGraph) -> DataSet:
    """What tells catalogues apart, also two of one name and size: the products and their links, hashed."""
    digest = hashlib.sha256("\0".join([*graph.keys, *graph.titles]).encode())
    digest.update(graph.edge_index.contiguous().numpy().tobytes())
    return DataSet(f"{graph.name}, {graph.num_products} products", digest.hexdigest()[:12])


def undirected(
    edge_index: torch.Tensor, num_products: int, edge_weight: torch.Tensor | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Each linked pair of different products once: int64 ``[2, pairs]``, smaller number first, and its weight.

    Where both directions carry a weight the larger one counts.
    """
    import torch

    check_edge_index(edge_index.numpy(), num_products)
    linked = edge_index[0] != edge_index[1]
    number = edge_index.min(dim=0).values[linked] * num_products + edge_index.max(dim=0).values[linked]
    unique, position = torch.unique(number, return_inverse=True)
    pairs = torch.stack([unique // max(num_products, 1), unique % max(num_products, 1)]).numpy()
    if edge_weight is None:
        return pairs, None
    weights = torch.zeros(len(unique)).scatter_reduce(0, position, edge_weight[linked].float(), "amax")
    return pairs, weights.numpy()


def co_purchase_edges(
    keys: Sequence[str],
    pairs: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    collections: ProductCollections = PRODUCT_COLLECTIONS,
) -> Iterator[Document]:
    """Edge documents of ``int64 [2, pairs]``; the key names both ends, so writing an edge again adds nothing."""
    for i, (low, high) in enumerate(pairs.T.tolist()):
        first, second = sorted((keys[low], keys[high]))
        edge = {"_key": pair_key(first, second), "_from": collections.id(first), "_to": collections.id(second)}
        yield edge if weights is None else {**edge, "weight": round(float(weights[i]), 4)}


def embed_catalogue(
    database: StandardDatabase,
    client: TritonClient,
    graph: ProductGraph,
    *,
    model_version: str,
    model: GraphModel = PRODUCTS_MODEL,
    collections: ProductCollections = PRODUCT_COLLECTIONS,
    equivalent_versions: Sequence[str] = (),
    seed: int = 0,
    progress: Progress | None = None,
) -> PendingReport:
    """Embed every product that ``model_version`` has not embedded yet through Triton, and store what it says.

    Resumable as :func:`workshop.store.pending.compute_pending` is. Products that the store holds beside the catalogue
    are left alone.

    Args:
        database: the store, with the products loaded.
        client: of a server that has the model loaded.
        graph: the same catalogue.
        model_version: name of the model and its weights; stored beside every vector.
        model: the served model.
        collections: where the catalogue lies.
        equivalent_versions: embeddings of these versions are as good and stay, see
            :func:`workshop.graph.product_training.equivalent_versions`.
        seed: of the neighbourhood sampling.
        progress: called with the number of products stored and the number wanted.

    Raises:
        ServingError: see :meth:`workshop.triton.client.TritonClient.infer`.
        StoreError: what the store raises; all steps acknowledged before it stay.
    """
    data = EmbeddingGraph.from_data(graph.to_data())
    rng = np.random.default_rng(seed)
    per_step = PRODUCTS_PER_STEP["small" if graph.num_products <= SMALL_GRAPH else "large"]

    def said(wanted: list[int]) -> ProductEmbeddings:
        return embed_products(client, data, wanted, rng=rng, model=model, products_per_request=per_step)

    return store_embeddings(
        database,
        graph,
        said,
        per_step=per_step,
        model_version=model_version,
        collections=collections,
        equivalent_versions=equivalent_versions,
        progress=progress,
    )


def store_embeddings(
    database: StandardDatabase,
    graph: ProductGraph,
    said: Callable[[list[int]], ProductEmbeddings],
    *,
    per_step: int,
    model_version: str,
    collections: ProductCollections = PRODUCT_COLLECTIONS,
    equivalent_versions: Sequence[str] = (),
    progress: Progress | None = None,
) -> PendingReport:
    """Store what a model says of every product that ``model_version`` has not embedded yet.

    Args:
        database: the store, with the products loaded.
        graph: the same catalogue.
        said: what the model says of the products with these numbers; called for pending products only.
        per_step: most products in a call of it.
        model_version: as for :func:`embed_catalogue`, like the rest.
        collections: where the catalogue lies.
        equivalent_versions: embeddings of these versions are as good and stay.
        progress: called with the number of products stored and the number wanted.

    Raises:
        StoreError: what the store raises; all steps acknowledged before it stay.
        WorkshopError: what ``said`` raises, likewise.
    """
    number = {key: i for i, key in enumerate(graph.keys)}

    def batches(page: list[Document]) -> Iterator[list[Document]]:
        known = [document for document in page if document["_key"] in number]
        return (known[start : start + per_step] for start in range(0, len(known), per_step))

    def compute(batch: list[Document]) -> Iterator[Document]:
        keys = [document["_key"] for document in batch]
        return embedding_documents(keys, said([number[key] for key in keys]), graph.category_names)

    return compute_pending(
        database,
        collections.products,
        compute,
        batches=batches,
        model_version=model_version,
        equivalent_versions=equivalent_versions,
        progress=progress,
    )


def embedding_documents(
    keys: Sequence[str], said: ProductEmbeddings, category_names: Sequence[str]
) -> Iterator[Document]:
    """What is stored of a product's embedding: the vector at length 1, and the likeliest categories if there are any.

    Without ``category_names`` the model's numbers of categories say nothing, and none are stored.

    Raises:
        DataInvalidError: a vector is zero or not finite.
    """
    check_vectors(said.embedding, count=len(keys), dimension=said.embedding.shape[1])
    unit = said.embedding / np.linalg.norm(said.embedding, axis=1, keepdims=True)
    predictions = (
        _predictions(said.logits, category_names) if said.has_categories and category_names else [{}] * len(keys)
    )
    for row, key in enumerate(keys):
        yield {"_key": key, EMBEDDING: rounded(unit[row], EMBEDDING_DECIMALS), **predictions[row]}


def _predictions(logits: np.ndarray, category_names: Sequence[str]) -> list[Document]:
    exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
    probability = exponent / exponent.sum(axis=1, keepdims=True)
    likeliest = np.argsort(-probability, axis=1, kind="stable")[:, :PREDICTIONS_KEPT]
    documents = []
    for row in range(len(logits)):
        predictions = [
            {"category": category_names[c], "probability": round(float(probability[row, c]), 4)} for c in likeliest[row]
        ]
        best = predictions[0]
        documents.append(
            {"predicted_category": best["category"], "probability": best["probability"], "predictions": predictions}
        )
    return documents


def rounded(vector: np.ndarray, decimals: int) -> list[float]:
    """A vector as plain numbers of few digits, so that documents stay short."""
    return np.round(vector.astype(np.float64), decimals).tolist()


def _products(graph: ProductGraph, degree: np.ndarray, marks: Mapping[str, str | None]) -> Iterator[Document]:
    part = np.empty(graph.num_products, dtype=object)
    for name, members in graph.split.items():
        part[members.numpy()] = name
    for i, key in enumerate(graph.keys):
        yield {
            "_key": key,
            "title": graph.titles[i],
            "category": graph.category_names[int(graph.y[i])] if graph.y[i] >= 0 else None,
            "split": part[i],
            "co_purchases": int(degree[i]),
            "synthetic": graph.synthetic,
            **marks,
            "features": rounded(graph.x[i].numpy(), FEATURE_DECIMALS),
        }
