"""What a served GraphSAGE takes and gives, by its architecture. Without torch, so that clients can import it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from workshop.errors import ModelError, RepositoryError
from workshop.graph.architecture import Architecture
from workshop.triton.artefact import served_sidecar
from workshop.triton.signature import ModelSignature, TensorSpec

ARCHITECTURE = Architecture()
ARCHITECTURE_KEY = "architecture"


def graphsage_signature(name: str, architecture: Architecture) -> ModelSignature:
    """The signature of a GraphSAGE: one subgraph a request, any number of nodes, edges and targets.

    A model without categories answers with embeddings only.
    """
    outputs = [TensorSpec("embedding__0", "FP32", (-1, architecture.hidden_channels))]
    if architecture.has_categories:
        outputs.append(TensorSpec("logits__1", "FP32", (-1, architecture.out_channels)))
    return ModelSignature(
        name=name,
        platform="pytorch_libtorch",
        inputs=(
            TensorSpec("x__0", "FP32", (-1, architecture.in_channels)),
            TensorSpec("edge_index__1", "INT64", (2, -1)),
            TensorSpec("targets__2", "INT64", (-1,)),
        ),
        outputs=tuple(outputs),
        max_batch_size=0,
    )


@dataclass(frozen=True)
class GraphModel:
    """A served GraphSAGE as its clients need it: its name on the server and its architecture."""

    name: str
    architecture: Architecture

    @property
    def signature(self) -> ModelSignature:
        """Its tensors."""
        return graphsage_signature(self.name, self.architecture)

    @property
    def artefact_settings(self) -> dict[str, str]:
        """What the artefact beside the model keeps, for :func:`served_graph_model` to read."""
        return {ARCHITECTURE_KEY: json.dumps(asdict(self.architecture), sort_keys=True)}


def served_graph_model(repository: Path, name: str) -> GraphModel:
    """The model of that name as the artefact in the repository describes it.

    Raises:
        ModelSourceError: the repository holds no such model, or it was not traced yet.
        RepositoryError: the artefact names no GraphSAGE architecture.
    """
    settings = served_sidecar(repository, name).settings
    try:
        return GraphModel(name, Architecture(**json.loads(settings[ARCHITECTURE_KEY])))
    except (KeyError, ValueError, TypeError, ModelError) as error:
        raise RepositoryError(
            f"the artefact of {name!r} in {repository} names no GraphSAGE architecture ({error!r})",
            hint="trace the model again",
        ) from error


PRODUCTS_MODEL = GraphModel("graphsage_products", ARCHITECTURE)
"""The workshop's own: the features and categories of ogbn-products."""
GRAPHSAGE_PRODUCTS = PRODUCTS_MODEL.signature
