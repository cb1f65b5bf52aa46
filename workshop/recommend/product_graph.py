"""The product catalogue as a graph in the store, with the embeddings and categories the served GraphSAGE gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from arango.database import StandardDatabase

from workshop.data.products import ProductGraph
from workshop.errors import DataInvalidError, StoreSchemaError
from workshop.graph.client import EmbeddingGraph, ProductEmbeddings, embed_products
from workshop.graph.sampling import check_edge_index
from workshop.store.bulk import Document, Progress, UpsertReport, upsert
from workshop.store.embeddings import check_vectors
from workshop.store.pending import EMBEDDING, PendingReport, compute_pending
from workshop.store.queries import run_query
from workshop.store.schema import EdgeDefinition, GraphSchema, PersistentIndex, ensure_schema
from workshop.triton.client import TritonClient

PRODUCTS, BOUGHT_TOGETHER = "products", "bought_together"

PRODUCT_GRAPH = GraphSchema(
    graph="product_graph",
    vertices=(PRODUCTS,),
    edges=(EdgeDefinition(BOUGHT_TOGETHER, (PRODUCTS,), (PRODUCTS,)),),
    indexes=(PersistentIndex(PRODUCTS, ("category",)),),
)

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
    edge_weight: torch.Tensor | None = None,
    progress: Progress | None = None,
) -> dict[str, UpsertReport]:
    """Write products and co-purchases; what the store knows besides, such as embeddings, stays.

    A co-purchase has no direction and is stored once. Self loops and duplicate edges are dropped.

    Args:
        database: the store.
        graph: the catalogue.
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
    ensure_schema(database, PRODUCT_GRAPH)
    data_set = f"{graph.name}, {graph.num_products} products"
    others = set(run_query(database, "product_data_sets")) - {data_set, None}
    if others:
        raise StoreSchemaError(
            f"database {database.name!r} holds {', '.join(sorted(others))}; {data_set} cannot be mixed with it",
            hint="connect(settings, database=...) with a database of its own",
        )
    total = graph.num_products + pairs.shape[1]

    def report(done_before: int, done: int) -> None:
        if progress:
            progress(done_before + done, total)

    degree = np.bincount(pairs.ravel(), minlength=graph.num_products)
    return {
        PRODUCTS: upsert(
            database, PRODUCTS, _products(graph, degree, data_set), on_batch=lambda done, refused: report(0, done)
        ),
        BOUGHT_TOGETHER: upsert(
            database,
            BOUGHT_TOGETHER,
            co_purchase_edges(graph.keys, pairs, weights),
            on_batch=lambda done, refused: report(graph.num_products, done),
        ),
    }


def undirected(
    edge_index: torch.Tensor, num_products: int, edge_weight: torch.Tensor | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Each linked pair of different products once: int64 ``[2, pairs]``, smaller number first, and its weight.

    Where both directions carry a weight the larger one counts.
    """
    check_edge_index(edge_index, num_products)
    linked = edge_index[0] != edge_index[1]
    number = edge_index.min(dim=0).values[linked] * num_products + edge_index.max(dim=0).values[linked]
    unique, position = torch.unique(number, return_inverse=True)
    pairs = torch.stack([unique // max(num_products, 1), unique % max(num_products, 1)]).numpy()
    if edge_weight is None:
        return pairs, None
    weights = torch.zeros(len(unique)).scatter_reduce(0, position, edge_weight[linked].float(), "amax")
    return pairs, weights.numpy()


def co_purchase_edges(keys: Sequence[str], pairs: np.ndarray, weights: np.ndarray | None = None) -> Iterator[Document]:
    """Edge documents of ``int64 [2, pairs]``; the key names both ends, so writing an edge again adds nothing."""
    for i, (low, high) in enumerate(pairs.T.tolist()):
        first, second = sorted((keys[low], keys[high]))
        edge = {"_key": f"{first}:{second}", "_from": f"{PRODUCTS}/{first}", "_to": f"{PRODUCTS}/{second}"}
        yield edge if weights is None else {**edge, "weight": round(float(weights[i]), 4)}


def embed_catalogue(
    database: StandardDatabase,
    client: TritonClient,
    graph: ProductGraph,
    *,
    model_version: str,
    seed: int = 0,
    progress: Progress | None = None,
) -> PendingReport:
    """Embed every product that ``model_version`` has not embedded yet through Triton, and store what it says.

    Resumable as :func:`workshop.store.pending.compute_pending` is. Products that the store holds beside the catalogue
    are left alone.

    Args:
        database: the store, with the products loaded.
        client: of a server that has ``graphsage_products`` loaded.
        graph: the same catalogue.
        model_version: name of the model and its weights; stored beside every vector.
        seed: of the neighbourhood sampling.
        progress: called with the number of products stored and the number wanted.

    Raises:
        ServingError: see :meth:`workshop.triton.client.TritonClient.infer`.
        StoreError: what the store raises; all steps acknowledged before it stay.
    """
    number = {key: i for i, key in enumerate(graph.keys)}
    data = EmbeddingGraph.from_data(graph.to_data())
    rng = np.random.default_rng(seed)
    per_step = PRODUCTS_PER_STEP["small" if graph.num_products <= SMALL_GRAPH else "large"]

    def batches(page: list[Document]) -> Iterator[list[Document]]:
        known = [document for document in page if document["_key"] in number]
        return (known[start : start + per_step] for start in range(0, len(known), per_step))

    def compute(batch: list[Document]) -> Iterator[Document]:
        keys = [document["_key"] for document in batch]
        said = embed_products(client, data, [number[key] for key in keys], rng=rng, products_per_request=per_step)
        return embedding_documents(keys, said, graph.category_names)

    return compute_pending(database, PRODUCTS, compute, batches=batches, model_version=model_version, progress=progress)


def embedding_documents(
    keys: Sequence[str], said: ProductEmbeddings, category_names: Sequence[str]
) -> Iterator[Document]:
    """What is stored of a product's embedding: the vector at length 1, and the likeliest categories.

    Raises:
        DataInvalidError: a vector is zero or not finite.
    """
    check_vectors(said.embedding, count=len(keys), dimension=said.embedding.shape[1])
    unit = said.embedding / np.linalg.norm(said.embedding, axis=1, keepdims=True)
    exponent = np.exp(said.logits - said.logits.max(axis=1, keepdims=True))
    probability = exponent / exponent.sum(axis=1, keepdims=True)
    likeliest = np.argsort(-probability, axis=1, kind="stable")[:, :PREDICTIONS_KEPT]
    for row, key in enumerate(keys):
        predictions = [
            {"category": category_names[c], "probability": round(float(probability[row, c]), 4)} for c in likeliest[row]
        ]
        yield {
            "_key": key,
            EMBEDDING: rounded(unit[row], EMBEDDING_DECIMALS),
            "predicted_category": predictions[0]["category"],
            "probability": predictions[0]["probability"],
            "predictions": predictions,
        }


def rounded(vector: np.ndarray, decimals: int) -> list[float]:
    """A vector as plain numbers of few digits, so that documents stay short."""
    return np.round(vector.astype(np.float64), decimals).tolist()


def _products(graph: ProductGraph, degree: np.ndarray, data_set: str) -> Iterator[Document]:
    part = np.empty(graph.num_products, dtype=object)
    for name, members in graph.split.items():
        part[members.numpy()] = name
    for i, key in enumerate(graph.keys):
        yield {
            "_key": key,
            "title": graph.titles[i],
            "category": graph.category_names[int(graph.y[i])],
            "split": part[i],
            "co_purchases": int(degree[i]),
            "synthetic": graph.synthetic,
            "data_set": data_set,
            "features": rounded(graph.x[i].numpy(), FEATURE_DECIMALS),
        }
