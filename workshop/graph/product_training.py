"""GraphSAGE on the product graphs: how each size is trained, and where the weights lie."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch_geometric.data import Data

from workshop.data.products import ProductGraph
from workshop.errors import CheckpointError
from workshop.export.gates import reuse
from workshop.export.weights import check_manifest
from workshop.files import sha256_of
from workshop.graph.checkpoint import load_model, read_about
from workshop.graph.graphsage import GraphSAGE
from workshop.graph.inference import accuracy, infer_layerwise
from workshop.graph.sampling import CSRGraph
from workshop.graph.served import trace_checkpoint
from workshop.graph.signature import ARCHITECTURE, GRAPHSAGE_PRODUCTS, PRODUCTS_MODEL
from workshop.graph.training import TrainingConfig
from workshop.settings import DataSize, Settings
from workshop.triton.artefact import Sidecar

FULL_CONFIG = TrainingConfig(num_classes=ARCHITECTURE.out_channels, hidden_channels=ARCHITECTURE.hidden_channels)
"""OGB's own choices; ogbn-products has 196,615 training products."""

CONFIGS: dict[DataSize, TrainingConfig] = {
    "tiny": replace(FULL_CONFIG, fan_out=(2, 2, 2), batch_size=16, max_epochs=15),
    "default": replace(FULL_CONFIG, fan_out=(2, 2, 2), batch_size=256),
    "full": FULL_CONFIG,
}
"""The smaller graphs have 80 and 1,600 training products; smaller batches keep enough steps an epoch.

Training products have many links and the others few. Of the fan-outs (15, 10, 5), (5, 5, 5) and (2, 2, 2) the last,
which shows the network small neighbourhoods, was right most often on the default size's validation products: 0.905,
0.915 and 0.9225."""

LINK_CONFIGS: dict[DataSize, TrainingConfig] = {
    size: replace(config, task="links", batch_size=512, max_epochs=3, links_per_epoch=5_000)
    for size, config in CONFIGS.items()
}
"""How each size is trained when nobody has named categories: a few epochs on links alone."""

RESTORE = "git restore checkpoints, or python scripts/train_graphsage.py"
SAME_SPACE_COSINE = 0.98
"""Least cosine between two trainings' embeddings of one product that still counts as the same embedding. The same
training with another number of threads gave 0.9999996 at least. On another processor it went its own way from the
published weights: 0.79 at least and 0.94 in the middle, and at the same epoch hardly more, so that counts as another
model."""


def data_name(products: ProductGraph) -> str:
    """What weights say they were trained on: features of another data set, or size, mean something else."""
    return f"{products.name}, {products.num_products} products, {products.edge_index.shape[1]} edges"


def weights_name(products: ProductGraph) -> str:
    """File name of published weights."""
    return f"graphsage_{products.name.replace('-', '_')}.safetensors"


def measure_test_accuracy(model: GraphSAGE, data: Data) -> float:
    """Share of test products whose category the model finds, with all their neighbours."""
    _, logits = infer_layerwise(model, data.x, CSRGraph.from_edge_index(data.edge_index, data.num_nodes))
    return accuracy(logits, data.y, {"test": data.test_mask})["test"]


def trained_path(settings: Settings, products: ProductGraph) -> Path:
    """Where notebook 03 leaves its weights for notebook 04; each graph has its own file."""
    return settings.data_dir / "graphsage" / f"{products.name}-{products.num_products}.safetensors"


def find_checkpoint(settings: Settings, products: ProductGraph, *, precomputed: bool = False) -> Path:
    """The weights for a product graph: those of notebook 03, otherwise the ones in ``checkpoints/``.

    Args:
        settings: give the folders.
        products: the graph the weights must have been trained on.
        precomputed: pass over the weights of notebook 03.

    Raises:
        CheckpointError: there are none for this graph, or the precomputed ones were altered.
    """
    published = settings.checkpoint_dir / weights_name(products)
    candidates = [published] if precomputed else [trained_path(settings, products), published]
    wanted = data_name(products)
    found = {path: read_about(path).get("data") for path in candidates if path.is_file()}
    for path, name in found.items():
        if name == wanted:
            if path == published:
                check_manifest(path, rebuild=RESTORE)
            return path
    raise CheckpointError(
        f"no GraphSAGE weights for {wanted}; found {[f'{path}: {name}' for path, name in found.items()]}",
        hint="run notebooks/03_train_graphsage.ipynb with the same DATA_SIZE",
    )


def prepare_graphsage(
    settings: Settings, products: ProductGraph, *, precomputed: bool = False, force: bool = False
) -> Sidecar:
    """Place ``graphsage_products`` in the model repository, unless it was traced from the same weights already.

    Args:
        settings: folders of weights and models.
        products: the graph that is going to be served.
        precomputed: pass over the weights of notebook 03.
        force: trace again in any case.

    Raises:
        CheckpointError: there are no weights for this graph.
        TraceRefusedError: the trace fails a gate.
    """
    checkpoint = find_checkpoint(settings, products, precomputed=precomputed)
    repository, digest = settings.model_repository, sha256_of(checkpoint)
    current = {"source_sha256": digest, "precision": "fp32", "settings": PRODUCTS_MODEL.artefact_settings}
    if not force and (placed := reuse(GRAPHSAGE_PRODUCTS, repository, **current)):
        return placed
    csr = CSRGraph.from_edge_index(products.edge_index, products.num_products)
    return trace_checkpoint(checkpoint, products.x, csr, repository)


def equivalent_versions(
    settings: Settings, products: ProductGraph, checkpoint: Path, sidecar: Sidecar
) -> tuple[str, ...]:
    """Names of model versions whose stored embeddings of a graph may stand beside those of the served model.

    Training adds up rounding differences, so weights trained here differ from the published ones, which the dump's
    embeddings come from: by nothing to speak of, or by so much that they are another model. They are as good when
    every product's exact embedding has a cosine of ``SAME_SPACE_COSINE`` or more between the two; models of different
    seeds have no space in common.

    Args:
        settings: folder of the published weights.
        products: the graph.
        checkpoint: weights of the served model.
        sidecar: the served model's artefact.
    """
    published = settings.checkpoint_dir / weights_name(products)
    names = list(sidecar.equivalent_version_names)
    if (
        published.is_file()
        and sha256_of(published) != sidecar.source_sha256
        and read_about(published).get("data") == data_name(products)
    ):
        served, other = load_model(checkpoint), load_model(published)
        csr = CSRGraph.from_edge_index(products.edge_index, products.num_products)
        if served.architecture == other.architecture:
            embeddings = [infer_layerwise(model, products.x, csr)[0] for model in (served, other)]
            if torch.nn.functional.cosine_similarity(*embeddings).min() >= SAME_SPACE_COSINE:
                twin = replace(sidecar, source_sha256=sha256_of(published))
                names += [twin.version_name, *twin.equivalent_version_names]
    return tuple(names)


def about_training(products: ProductGraph, accuracies: dict[str, float], epochs: int) -> dict[str, str]:
    """Text that goes with trained weights."""
    return {
        "data": data_name(products),
        "task": "categories",
        "epochs": str(epochs),
        "torch": torch.__version__,
        **{f"test accuracy, {name}": f"{value:.4f}" for name, value in accuracies.items()},
    }
