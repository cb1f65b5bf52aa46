"""Co-purchases as stored: once per pair, whatever the edge list looks like."""

import json

import numpy as np
import pytest
import torch

from workshop.errors import DataInvalidError
from workshop.files import sha256_of
from workshop.graph.client import ProductEmbeddings
from workshop.recommend.product_graph import co_purchase_edges, embedding_documents, undirected
from workshop.settings import load_settings


def test_both_directions_loops_and_duplicates_become_one_pair():
    edges = torch.tensor([[0, 1, 1, 2, 0, 3], [1, 1, 0, 0, 1, 2]])
    pairs, weights = undirected(edges, 4)
    assert pairs.tolist() == [[0, 0, 2], [1, 2, 3]]
    assert weights is None


def test_larger_weight_of_the_two_directions_counts():
    edges = torch.tensor([[2, 0, 1, 1], [0, 2, 0, 1]])
    pairs, weights = undirected(edges, 3, torch.tensor([1.0, 4.0, 2.0, 9.0]))
    assert pairs.tolist() == [[0, 0], [1, 2]]
    assert weights.tolist() == [2.0, 4.0]


def test_no_edges():
    pairs, weights = undirected(torch.empty(2, 0, dtype=torch.int64), 3, torch.empty(0))
    assert pairs.shape == (2, 0)
    assert len(weights) == 0


@pytest.mark.parametrize("node", [-1, 3])
def test_edges_to_unknown_products(node):
    with pytest.raises(DataInvalidError, match="point outside the 3 nodes"):
        undirected(torch.tensor([[0, node], [1, 1]]), 3)


def test_edge_key_is_the_same_from_both_ends():
    keys = ["b", "a"]
    one, other = (next(co_purchase_edges(keys, np.array(pair))) for pair in ([[0], [1]], [[1], [0]]))
    assert one == other == {"_key": "a:b", "_from": "products/a", "_to": "products/b"}


def test_embedding_document_holds_a_unit_vector_and_the_likeliest_categories():
    said = ProductEmbeddings(np.array([[3.0, 4.0]], dtype=np.float32), np.log([[0.1, 0.6, 0.3]]).astype(np.float32))
    document = next(embedding_documents(["p"], said, ["A", "B", "C"]))
    assert document["embedding"] == [0.6, 0.8]
    assert (document["predicted_category"], document["probability"]) == ("B", 0.6)
    assert [item["category"] for item in document["predictions"]] == ["B", "C", "A"]


@pytest.mark.parametrize("vector", [[0.0, 0.0], [np.nan, 1.0]])
def test_vectors_without_direction_are_refused(vector):
    said = ProductEmbeddings(np.array([vector], dtype=np.float32), np.zeros((1, 3), dtype=np.float32))
    with pytest.raises(DataInvalidError, match="embeddings: 1 rows"):
        next(embedding_documents(["p"], said, ["A", "B", "C"]))


def test_dump_is_small_and_of_the_weights_in_checkpoints():
    settings = load_settings()
    folder = settings.dump_dir / "products"
    manifest = json.loads((folder / "manifest.json").read_text())
    (weights,) = settings.checkpoint_dir.glob("*_mini.safetensors")
    assert manifest["embedding_models"] == {"products": [f"graphsage_products {sha256_of(weights)[:12]} fp32"]}
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 12e6
