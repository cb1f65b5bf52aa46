"""Which weights fit which product graph, and the published ones."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from workshop.data.products import ProductGraph
from workshop.errors import CheckpointError
from workshop.files import sha256_of
from workshop.graph.baselines import METHODS
from workshop.graph.checkpoint import load_model, read_about, save_model
from workshop.graph.graphsage import GraphSAGE
from workshop.graph.product_training import (
    about_training,
    equivalent_versions,
    find_checkpoint,
    prepare_graphsage,
    trained_path,
    weights_name,
)
from workshop.graph.signature import ARCHITECTURE, GRAPHSAGE_PRODUCTS
from workshop.settings import PROJECT_ROOT, Settings, load_settings


def catalogue(num_products: int) -> ProductGraph:
    """Random products under the name of the miniature data set."""
    generator = torch.Generator().manual_seed(num_products)
    products = torch.arange(num_products)
    return ProductGraph(
        name="ogbn-products-mini",
        synthetic=True,
        x=torch.randn(num_products, ARCHITECTURE.in_channels, generator=generator),
        edge_index=torch.randint(0, num_products, (2, 4 * num_products), generator=generator),
        y=products % 3,
        split={"train": products[::2], "valid": products[1::4], "test": products[3::4]},
        category_names=["a", "b", "c"],
        keys=[f"P{i}" for i in range(num_products)],
        titles=[f"product {i}" for i in range(num_products)],
        topics=[],
    )


@pytest.fixture
def settings(tmp_path) -> Settings:
    """Folders of its own, with the published weights in ``checkpoints``."""
    shutil.copytree(PROJECT_ROOT / "checkpoints", tmp_path / "checkpoints")
    return load_settings(
        data_dir=tmp_path / "data", checkpoint_dir=tmp_path / "checkpoints", model_repository=tmp_path / "repository"
    )


def leave_weights(settings: Settings, products: ProductGraph, seed: int = 0) -> Path:
    """What notebook 03 leaves."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = GraphSAGE(ARCHITECTURE)
    path = trained_path(settings, products)
    save_model(path, model, about_training(products, {"GraphSAGE": 0.5}, 3))
    return path


def test_published_weights_have_the_served_architecture_and_beat_the_baselines():
    folder = PROJECT_ROOT / "checkpoints"
    manifest = json.loads((folder / "manifest.json").read_text())
    (name,) = manifest["files"]
    assert load_model(folder / name).architecture == ARCHITECTURE
    reached = manifest["test_accuracy"]
    assert reached["logistic regression"] + 0.1 <= reached["GraphSAGE"] <= 0.97
    assert max(reached, key=reached.get) == "GraphSAGE"
    assert set(reached) == {"GraphSAGE", *METHODS}
    text = (folder / "README.md").read_text()
    assert name in text
    figures = [f"{value:.3f}" for value in sorted(reached.values(), reverse=True)]
    assert f"| {' | '.join(figures)} |" in text


def published_products(settings: Settings) -> ProductGraph:
    """A catalogue that answers to the name of the one the published weights were trained on."""
    manifest = json.loads((settings.checkpoint_dir / "manifest.json").read_text())
    num_products, num_edges = (manifest["data"][part] for part in ("products", "edges"))
    edges = torch.zeros(2, num_edges, dtype=torch.int64)
    return replace(catalogue(50), x=torch.zeros(num_products, ARCHITECTURE.in_channels), edge_index=edges)


def test_weights_of_the_notebook_go_before_the_published_ones(settings):
    mini = published_products(settings)
    published = settings.checkpoint_dir / weights_name(mini)
    assert find_checkpoint(settings, mini) == published
    own = leave_weights(settings, mini)
    assert find_checkpoint(settings, mini) == own
    assert find_checkpoint(settings, mini, precomputed=True) == published


def test_weights_of_another_graph_are_passed_over(settings):
    small = catalogue(50)
    leave_weights(settings, catalogue(60)).rename(trained_path(settings, small))
    expected = r"no GraphSAGE weights for ogbn-products-mini, 50 products, 200 edges; found .*60 products(.|\n)*03_tra"
    with pytest.raises(CheckpointError, match=expected):
        find_checkpoint(settings, small)
    assert leave_weights(settings, small) == find_checkpoint(settings, small)
    with pytest.raises(CheckpointError, match="50 products, 198 edges; found"):
        find_checkpoint(settings, replace(small, edge_index=small.edge_index[:, 2:]))


def test_altered_published_weights_are_refused(settings):
    mini = published_products(settings)
    published = settings.checkpoint_dir / weights_name(mini)
    save_model(published, GraphSAGE(ARCHITECTURE), {"data": read_about(published)["data"]})
    with pytest.raises(CheckpointError, match="was altered: its SHA-256 is not the manifest's"):
        find_checkpoint(settings, mini)
    (settings.checkpoint_dir / "manifest.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"manifest\.json is missing, unreadable, or does not list"):
        find_checkpoint(settings, mini)


def test_tracing_happens_once_per_weights(settings):
    products = catalogue(60)
    leave_weights(settings, products)
    model = settings.model_repository / GRAPHSAGE_PRODUCTS.name / "1" / "model.pt"
    first = prepare_graphsage(settings, products)
    written = model.stat().st_mtime_ns
    assert prepare_graphsage(settings, products) == first
    assert model.stat().st_mtime_ns == written
    leave_weights(settings, products, seed=1)
    assert prepare_graphsage(settings, products).source_sha256 != first.source_sha256


def test_weights_that_differ_by_rounding_are_equivalent_and_another_training_is_not(settings):
    products = catalogue(60)
    checkpoint = leave_weights(settings, products)
    sidecar = prepare_graphsage(settings, products)
    published = settings.checkpoint_dir / weights_name(products)
    model = load_model(checkpoint)
    for parameter in model.parameters():
        parameter.data += 1e-5 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    save_model(published, model, about_training(products, {}, 3))
    twin = f"{GRAPHSAGE_PRODUCTS.name} {sha256_of(published)[:12]} fp32"
    assert twin in equivalent_versions(settings, products, checkpoint, sidecar)
    save_model(published, load_model(leave_weights(settings, products, seed=1)), about_training(products, {}, 3))
    leave_weights(settings, products)
    assert equivalent_versions(settings, products, checkpoint, sidecar) == sidecar.equivalent_version_names
    save_model(published, model, about_training(catalogue(61), {}, 3))
    assert equivalent_versions(settings, products, checkpoint, sidecar) == sidecar.equivalent_version_names
