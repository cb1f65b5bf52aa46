"""A product catalogue embedded by layer-wise GraphSAGE on Ray, and written into the store; resumable on both ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from arango.database import StandardDatabase

from workshop.data.products import ProductGraph
from workshop.graph.client import ProductEmbeddings
from workshop.graph.graphsage import GraphSAGE
from workshop.graph.partition import partition_graph
from workshop.graph.sampling import CSRGraph
from workshop.recommend.product_graph import PRODUCT_COLLECTIONS, ProductCollections, store_embeddings
from workshop.scale.cluster import ray_cluster
from workshop.scale.layerwise import infer_on_ray
from workshop.store.bulk import Progress
from workshop.store.pending import PendingReport

PRODUCTS_PER_STEP = 2048
"""Products that are written at a time."""


def embed_catalogue_on_ray(
    database: StandardDatabase,
    model: GraphSAGE,
    graph: ProductGraph,
    folder: Path,
    *,
    parts: int,
    model_version: str,
    collections: ProductCollections = PRODUCT_COLLECTIONS,
    equivalent_versions: Sequence[str] = (),
    computed: Callable[[int, int], None] | None = None,
    progress: Progress | None = None,
) -> PendingReport:
    """Embed every product that ``model_version`` has not embedded yet with all its neighbours, and store it.

    The same as :func:`workshop.recommend.product_graph.embed_catalogue`, without a server and without sampling. A run
    that failed at any point is continued by calling again: outputs are kept in ``folder``, and the store says which
    products are pending. Where none is, nothing is computed.

    Args:
        database: the store, with the products loaded.
        model: the model.
        graph: the same catalogue.
        folder: as for :func:`workshop.scale.layerwise.infer_on_ray`.
        parts: partitions to cut the graph into.
        model_version: name of the model and its weights; stored beside every vector.
        collections: where the catalogue lies.
        equivalent_versions: embeddings of these versions are as good and stay.
        computed: called with the number of outputs of layers that are there and of all, layers times partitions.
        progress: called with the number of products stored and the number wanted.

    Raises:
        ClusterFailedError: Ray failed.
        DataInvalidError: the model made a vector that is zero or not finite.
        StoreError: what the store raises; all steps acknowledged before it stay.
    """
    layers = len(model.convs)

    @cache
    def everything() -> ProductEmbeddings:
        partitions = partition_graph(CSRGraph.from_edge_index(graph.edge_index, graph.num_products), parts)

        def outputs(count: int) -> np.ndarray:
            def report(done: int, total: int) -> None:
                if computed:
                    computed(done, total // count * model.architecture.hops)

            return np.concatenate(
                infer_on_ray(model, graph.x.numpy(), partitions, layers=count, folder=folder, progress=report)
            )

        with ray_cluster():  # one for both
            embedding = outputs(layers - 1)
            logits = outputs(layers) if model.architecture.has_categories else np.empty((len(embedding), 0), np.float32)
        return ProductEmbeddings(embedding, logits)

    def said(wanted: list[int]) -> ProductEmbeddings:
        return ProductEmbeddings(everything().embedding[wanted], everything().logits[wanted])

    return store_embeddings(
        database,
        graph,
        said,
        per_step=PRODUCTS_PER_STEP,
        model_version=model_version,
        collections=collections,
        equivalent_versions=equivalent_versions,
        progress=progress,
    )
