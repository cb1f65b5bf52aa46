"""What tests of bulk work on Ray share: servers with a tiny sentence model, texts, and random graphs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tiny_text_models
import torch
from arango.collection import StandardCollection
from movie_world import fresh_database

from workshop import stack
from workshop.graph.architecture import Architecture
from workshop.graph.graphsage import GraphSAGE
from workshop.graph.inference import infer_layerwise
from workshop.graph.sampling import CSRGraph
from workshop.settings import Settings
from workshop.stack.private import private_settings
from workshop.store.bulk import upsert
from workshop.store.schema import ensure_collection
from workshop.text.prepare import prepare_sentence_bert
from workshop.text.signatures import SENTENCE_BERT

TEXTS = [f"{phrase} {number}" for number in range(100) for phrase in tiny_text_models.PHRASES]
DOCUMENTS = "texts"
SMALL_GRAPH = Architecture(in_channels=6, hidden_channels=8, out_channels=3), 50, 300
LARGER_GRAPH = Architecture(in_channels=64, hidden_channels=256, out_channels=16), 20_000, 200_000


@contextmanager
def sentence_servers(folder: Path) -> Iterator[Settings]:
    """Settings of a Triton that serves a tiny sentence model, and of a store, while the block runs."""
    model = tiny_text_models.save_sentence_model(folder / "hub", tiny_text_models.KINDS["cased"])
    own = private_settings(
        folder / "stack", model_repository=folder / "models", sentence_model=str(model), precision="fp32"
    )
    prepare_sentence_bert(own)
    with stack.running(own, ["triton", "aqlite"], models=[SENTENCE_BERT.name]):
        yield own


def fresh_documents(settings: Settings) -> StandardCollection:
    """A fresh collection of texts without vectors, two of them empty."""
    database = fresh_database(settings, settings.arango_database)
    ensure_collection(database, DOCUMENTS, edge=False)
    rows = [{"_key": f"t{number}", "title": text, "text_hash": number} for number, text in enumerate(TEXTS)]
    upsert(database, DOCUMENTS, [*rows, {"_key": "blank", "title": " "}, {"_key": "none"}])
    return database.collection(DOCUMENTS)


def stored(collection: StandardCollection, version: str) -> dict[int, list[float]]:
    """Every vector by the number of its text; each was made by the model of that version, of the present text."""
    found = {}
    for document in collection.all():
        if "embedding" in document:
            assert (document["embedding_model"], document["embedding_of"]) == (version, document["text_hash"])
            found[document["text_hash"]] = document["embedding"]
    return found


def revisions(collection: StandardCollection) -> dict[str, str]:
    """Each document's revision, which changes with every write."""
    return {document["_key"]: document["_rev"] for document in collection.all()}


def embedded_graph(
    architecture: Architecture, nodes: int, edges: int
) -> tuple[GraphSAGE, np.ndarray, CSRGraph, np.ndarray]:
    """A model, a random graph's features and edges, and the logits that the whole of it gets in this process."""
    torch.manual_seed(0)
    model = GraphSAGE(architecture)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(nodes, architecture.in_channels)).astype(np.float32)
    csr = CSRGraph.from_edge_index(rng.integers(0, nodes, (2, edges)), nodes)
    _, logits = infer_layerwise(model, torch.from_numpy(x), csr)
    return model, x, csr, logits.numpy()
