"""Product recommendation: quality on real orders, embedding a whole catalogue, and adding a product to it live.

The served figures are measured on a stack of their own, with its own ports and state: the real Triton with the weights
of ``checkpoints/``, and an empty store that is filled with ogbn-products-mini, 20,000 products.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from arango.database import StandardDatabase

from workshop import stack
from workshop.data.orders import Orders, load_grocery_orders, split_later_orders
from workshop.data.products import ProductGraph, load_products
from workshop.evaluate.baskets import cut_baskets, evaluate, tune, tune_hybrid
from workshop.evaluate.metrics import difference_interval
from workshop.graph.product_training import find_checkpoint
from workshop.graph.sampling import CSRGraph
from workshop.graph.served import trace_checkpoint
from workshop.graph.signature import GRAPHSAGE_PRODUCTS
from workshop.recommend.baskets import (
    Scorer,
    co_occurrence,
    co_purchase,
    ease,
    embedding,
    graphsage_vectors,
    history,
    hybrid,
    item_knn,
    popularity,
)
from workshop.recommend.live_products import NewProduct, add_product
from workshop.recommend.product_graph import embed_catalogue, load_product_graph
from workshop.settings import Settings, load_settings
from workshop.stack.private import private_settings
from workshop.store.connection import connect
from workshop.store.pending import PendingReport
from workshop.triton.client import TritonClient

KNN_GRID = tuple(itertools.product((50, 100, 300, 1000), (5.0, 20.0, 50.0, 200.0)))
EASE_GRID = (3.0, 10.0, 30.0, 100.0, 300.0)
EXPONENT_GRID = (0.1, 0.2, 0.3, 0.4, 0.5)
CATALOGUE_BAR_SECONDS, LIVE_BAR_MS = 11.0, 170.0
LIVE_PRODUCTS, LIVE_PARTNERS, WARM_UP = 60, 5, 10


def measure(ids: set[str]) -> Iterator[dict]:
    """Yield the results asked for: ``orders_recall``, ``catalogue_products``, ``live_product``."""
    settings = load_settings()
    if "orders_recall" in ids:
        yield orders_recall(load_grocery_orders(settings))
    if ids & {"catalogue_products", "live_product"}:
        products = load_products(settings, "default")
        with filled_stack(settings, products) as (database, client, version, report):
            if "catalogue_products" in ids:
                yield catalogue_products(report)
            if "live_product" in ids:
                yield live_product(database, client, products, version)


# --- orders ---------------------------------------------------------------------------------------------------
def orders_recall(orders: Orders) -> dict:
    """Recall@10 on the held-out later orders, all recommenders by the protocol of ``evaluate.baskets``.

    Every choice is made on the later part of the earlier orders. The hybrid has to beat the best rival by a paired
    bootstrap interval that excludes 0.
    """
    earlier, later = split_later_orders(orders)
    neighbours, shrinkage = tune(earlier, lambda past: {(n, s): item_knn(past, n, s) for n, s in KNN_GRID})
    regularization = tune(earlier, lambda past: {value: ease(past, value) for value in EASE_GRID})
    exponent = tune(earlier, lambda past: {value: co_purchase(past, value) for value in EXPONENT_GRID})

    def parts(past: Orders) -> tuple[Scorer, Scorer, Scorer]:
        return co_purchase(past, exponent), embedding(graphsage_vectors(past)), history(past)

    weights = tune_hybrid(earlier, parts, steps=5)
    without_history = tune_hybrid(earlier, lambda past: parts(past)[:2], steps=5)
    by_graph, by_vector, by_history = parts(earlier)
    scorers = {
        "hybrid": hybrid([by_graph, by_vector, by_history], weights),
        "hybrid without history": hybrid([by_graph, by_vector], without_history),
        "co-purchase alone": by_graph,
        "GraphSAGE alone": by_vector,
        "customer's own history": by_history,
        f"EASE, lambda {regularization:g}": ease(earlier, regularization),
        f"item-kNN, {neighbours} neighbours, shrinkage {shrinkage:g}": item_knn(earlier, neighbours, shrinkage),
        "item-item co-occurrence": co_occurrence(earlier),
        "popularity": popularity(earlier),
    }
    baskets = cut_baskets(earlier, later)
    quality = {name: evaluate(scorer, baskets) for name, scorer in scorers.items()}
    ours = quality.pop("hybrid")
    gain = {name: difference_interval(ours.recalls, other.recalls) for name, other in quality.items()}
    rival = max(quality, key=lambda name: quality[name].recall)
    return {
        "id": "orders_recall",
        "value": round(ours.recall, 4),
        "unit": "recall@10",
        "peer": f"{rival}: {quality[rival].recall:.4f}",
        "ratio": round(ours.recall / quality[rival].recall, 3),
        "bar": "more than every other, each paired 95 % interval above 0",
        "holds": all(interval.low > 0 for interval in gain.values()),
        "note": f"co-purchase {weights[0]:g}, GraphSAGE {weights[1]:g}, history {weights[2]:g}; "
        f"NDCG@10 {ours.ndcg:.4f}; {ours.num_cases} later baskets; recall and what the hybrid finds more: "
        + "; ".join(f"{name} {quality[name].recall:.3f}, {interval}" for name, interval in gain.items()),
    }


# --- served ---------------------------------------------------------------------------------------------------
@contextmanager
def filled_stack(
    settings: Settings, products: ProductGraph
) -> Iterator[tuple[StandardDatabase, TritonClient, str, PendingReport]]:
    """A stack whose store holds the catalogue, embedded just now; the report says how long that took."""
    checkpoint = find_checkpoint(settings, products, precomputed=True)
    with tempfile.TemporaryDirectory() as directory:
        repository = Path(directory) / "repository"
        csr = CSRGraph.from_edge_index(products.edge_index, products.num_products)
        version = trace_checkpoint(checkpoint, products.x, csr, repository).version_name
        own = private_settings(Path(directory) / "stack", model_repository=repository)
        with stack.running(own, models=[GRAPHSAGE_PRODUCTS.name]), TritonClient.from_settings(own) as client:
            database = connect(own)
            load_product_graph(database, products)
            report = embed_catalogue(database, client, products, model_version=version)
            yield database, client, version, report


def catalogue_products(report: PendingReport) -> dict:
    """Seconds to sample, embed through Triton and store every product with its vector and categories."""
    return {
        "id": "catalogue_products",
        "value": round(report.seconds, 1),
        "unit": "s",
        "peer": None,
        "ratio": None,
        "bar": f"<= {CATALOGUE_BAR_SECONDS:g} s",
        "holds": report.seconds <= CATALOGUE_BAR_SECONDS,
        "note": f"{report.stored:,} products, {report.stored / report.seconds:,.0f} a second, no warm-up",
    }


def live_product(database: StandardDatabase, client: TritonClient, products: ProductGraph, version: str) -> dict:
    """Milliseconds from an unknown product to its recommendations; every run adds another one."""
    rng = np.random.default_rng(0)
    runs: list[dict[str, float]] = []
    for run in range(WARM_UP + LIVE_PRODUCTS):
        partners = rng.choice(products.num_products, size=LIVE_PARTNERS, replace=False)
        features = products.x[int(rng.integers(products.num_products))].numpy()
        new = NewProduct(f"new-{run}", f"New product {run}", features, tuple(products.keys[i] for i in partners))
        live = add_product(database, client, new, products.category_names, model_version=version, seed=run)
        runs.append({step: 1000 * seconds for step, seconds in live.seconds.items()})
    runs = runs[WARM_UP:]
    p50 = statistics.median(sum(run.values()) for run in runs)
    steps = ", ".join(f"{step} {statistics.median(run[step] for run in runs):.0f}" for step in runs[0])
    return {
        "id": "live_product",
        "value": round(p50, 1),
        "unit": "ms p50",
        "peer": None,
        "ratio": None,
        "bar": f"<= {LIVE_BAR_MS:g} ms",
        "holds": p50 <= LIVE_BAR_MS,
        "note": f"{steps} (medians, ms); {len(runs)} products with {LIVE_PARTNERS} co-purchases each, in a catalogue of"
        f" {products.num_products:,}",
    }
