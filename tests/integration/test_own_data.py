"""The whole road with own data: train, trace, serve, store, embed, recommend, add a product."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from workshop.data.orders import read_orders
from workshop.data.own_products import products_of_data, products_of_orders
from workshop.files import sha256_of
from workshop.graph.checkpoint import save_model
from workshop.graph.inference import infer_layerwise
from workshop.graph.sampling import CSRGraph
from workshop.graph.served import trace_checkpoint
from workshop.graph.signature import served_graph_model
from workshop.graph.training import TrainingConfig, fit
from workshop.recommend.live_products import NewProduct, add_product
from workshop.recommend.product_graph import ProductCollections, embed_catalogue, load_product_graph
from workshop.recommend.products import ProductRecommender
from workshop.store.connection import connect
from workshop.triton.client import TritonClient

SMALL = {"hidden_channels": 12, "max_epochs": 1, "batch_size": 16}


@pytest.fixture(scope="module")
def database(local_store):
    return connect(local_store, database="own_data")


def random_graph():
    """40 nodes of 7 features and 3 categories, some without a label; two layers will do."""
    generator = torch.Generator().manual_seed(4)
    edges = torch.randint(0, 40, (2, 90), generator=generator)
    part = torch.arange(40) % 4
    y = torch.arange(40) % 3
    y[part == 3] = -1
    masks = {"train_mask": part < 2, "val_mask": part == 2}
    data = Data(torch.randn(40, 7, generator=generator), torch.cat([edges, edges.flip(0)], dim=1), y=y, **masks)
    products = products_of_data(data, "random", category_names=["red", "green", "blue"])
    return products, None, data, TrainingConfig(fan_out=(4, 3), **SMALL)


def made_up_orders(folder: Path):
    """A shop whose ids are no document keys and which has no categories."""
    rng = np.random.default_rng(5)
    names = ["a/b", "Käse 5 kg", "50 %", "x" * 200, *(f"sku:{number}" for number in range(20))]
    lines = [f"{order},{names[i]}" for order in range(22) for i in rng.choice(len(names), 3, replace=False)]
    path = folder / "orders.csv"
    path.write_text("order_id,product_id\n" + "\n".join(lines), encoding="utf-8")
    products, weight = products_of_orders(read_orders(path), "shop", num_features=9)
    return products, weight, products.to_data(), TrainingConfig(task="links", fan_out=(4, 3, 2), **SMALL)


@pytest.mark.parametrize("name", ["graph", "orders"])
def test_own_data_from_training_to_recommendation(name, tmp_path, local_stack, database):
    products, weight, data, config = random_graph() if name == "graph" else made_up_orders(tmp_path)
    trained = fit(data, config, progress=False).model
    checkpoint = tmp_path / "own.safetensors"
    save_model(checkpoint, trained, {"data": name})
    csr = CSRGraph.from_edge_index(products.edge_index, products.num_products)
    repository = local_stack.model_repository
    sidecar = trace_checkpoint(checkpoint, products.x, csr, repository, name=f"graphsage_{name}")
    assert sidecar.source_sha256 == sha256_of(checkpoint)
    model = served_graph_model(repository, f"graphsage_{name}")

    own = ProductCollections(f"{name}_products", f"{name}_links", f"{name}_graph")
    load_product_graph(database, products, collections=own, edge_weight=weight)
    version = sidecar.version_name
    with TritonClient.from_settings(local_stack) as client:
        client.load_model(model.name)
        client.wait_ready(model.name)
        report = embed_catalogue(database, client, products, model_version=version, model=model, collections=own)
        assert report.stored == products.num_products
        features, partners = products.x[0].numpy(), tuple(products.keys[:2])
        live = add_product(
            database,
            client,
            NewProduct("new", "A new thing", features, partners),
            products.category_names,
            model_version=version,
            model=model,
            collections=own,
        )
    exact = torch.nn.functional.normalize(infer_layerwise(trained, products.x, csr)[0]).numpy()
    stored = [database.collection(own.products).get(key)["embedding"] for key in products.keys]
    assert 0 < csr.in_degree.max() <= min(model.architecture.fan_out), "a neighbour is left out: not to be compared"
    np.testing.assert_allclose(stored, exact, atol=1e-3)  # they are stored with three decimals
    assert (live.category in products.category_names) is (config.task == "categories")
    assert set(partners) & {item.key for item in live.recommendations}
    recommender = ProductRecommender(database, collections=own)
    assert len(recommender.similar(products.keys[0], limit=5)) == 5
    assert recommender.recommend(products.keys[1], graph_weight=0.5, limit=3)
