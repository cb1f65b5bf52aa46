"""GraphSAGE behind the real Triton: one subgraph a request, bad requests refused, the server unharmed."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from workshop.errors import DataInvalidError, InferenceError, TensorShapeError, TensorTypeError
from workshop.graph.checkpoint import save_model
from workshop.graph.client import EmbeddingGraph, embed_products, embed_subgraph
from workshop.graph.graphsage import GraphSAGE
from workshop.graph.inference import infer_layerwise
from workshop.graph.sampling import ALL_NEIGHBORS, sample_subgraph
from workshop.graph.served import trace_checkpoint
from workshop.graph.signature import ARCHITECTURE, GRAPHSAGE_PRODUCTS
from workshop.triton.client import TritonClient

NODES, ISOLATED = 300, 299
EVERYTHING = [ALL_NEIGHBORS] * 3
TOLERANCE = 1e-5  # float32 sums in another order


@pytest.fixture(scope="module")
def data() -> Data:
    """A random graph with a hub; its last ten nodes are isolated."""
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(0, NODES - 10, (2, 1500), generator=generator)
    edges[1, :200] = 0
    return Data(x=torch.randn(NODES, ARCHITECTURE.in_channels, generator=generator), edge_index=edges)


@pytest.fixture(scope="module")
def graph(data) -> EmbeddingGraph:
    return EmbeddingGraph.from_data(data)


@pytest.fixture(scope="module")
def model() -> GraphSAGE:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return GraphSAGE(ARCHITECTURE).eval()


@pytest.fixture(scope="module")
def expected(model, data, graph) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings and logits of all nodes by the local model."""
    embedding, logits = infer_layerwise(model, data.x, graph.csr)
    return embedding.numpy(), logits.numpy()


@pytest.fixture(scope="module")
def client(local_stack, model, data, graph, tmp_path_factory) -> Iterator[TritonClient]:
    """A client of the stack, which serves this model from here on."""
    checkpoint = tmp_path_factory.mktemp("graphsage") / "model.safetensors"
    save_model(checkpoint, model, {"data": "random"})
    trace_checkpoint(checkpoint, data.x, graph.csr, local_stack.model_repository)
    with TritonClient.from_settings(local_stack) as client:
        client.load_model(GRAPHSAGE_PRODUCTS.name)
        client.wait_ready(GRAPHSAGE_PRODUCTS.name)
        yield client


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_server_reports_the_signature(client):
    served = client.signature(GRAPHSAGE_PRODUCTS.name)
    assert (served.inputs, served.outputs, served.max_batch_size) == (
        GRAPHSAGE_PRODUCTS.inputs,
        GRAPHSAGE_PRODUCTS.outputs,
        0,
    )


@pytest.mark.parametrize("products_per_request", [1, 7, 128])
def test_served_answers_equal_the_local_model(client, graph, expected, rng, products_per_request):
    """Hub, isolated product, repeated product; the order asked is the order answered."""
    products = [0, ISOLATED, 5, 5, *range(50, 60)]
    answer = embed_products(client, graph, products, EVERYTHING, rng=rng, products_per_request=products_per_request)
    np.testing.assert_allclose(answer.embedding, expected[0][products], atol=TOLERANCE)
    np.testing.assert_allclose(answer.logits, expected[1][products], atol=TOLERANCE)
    assert answer.category.tolist() == expected[1][products].argmax(axis=1).tolist()
    softmax = torch.from_numpy(expected[1][products]).softmax(dim=1).max(dim=1).values
    np.testing.assert_allclose(answer.probability, softmax, atol=TOLERANCE)


def test_sampled_request_equals_the_local_model_on_the_same_sample(client, graph, model, data):
    answer = embed_products(client, graph, [0, 9], (3, 2, 2), rng=np.random.default_rng(4))
    sub = sample_subgraph(graph.csr, [0, 9], (3, 2, 2), np.random.default_rng(4))
    with torch.no_grad():
        local = model(
            data.x[torch.from_numpy(sub.node_ids)],
            torch.from_numpy(sub.edge_index),
            sub.nodes_per_hop,
            sub.edges_per_hop,
        )
    np.testing.assert_allclose(answer.logits, local, atol=TOLERANCE)


def test_isolated_product_and_no_product_at_all(client, graph, expected, rng):
    alone = embed_products(client, graph, [ISOLATED], rng=rng)
    np.testing.assert_allclose(alone.embedding[0], expected[0][ISOLATED], atol=TOLERANCE)
    assert np.isfinite(alone.embedding).all()
    nothing = embed_products(client, graph, [], rng=rng)
    assert nothing.embedding.shape == (0, 256)
    assert nothing.logits.shape == (0, 47)


def test_product_unknown_to_the_graph_is_embedded_from_its_neighborhood(client, graph, data, model):
    """Inductive: a new node with new features and two edges, sent as a subgraph of its own."""
    x = np.concatenate([np.full((1, 100), 0.5, dtype=np.float32), graph.x[[3, 4]]])
    edge_index = np.array([[1, 2], [0, 0]])
    answer = embed_subgraph(client, x, edge_index, np.array([0]))
    with torch.no_grad():
        local = model.encode(torch.from_numpy(x), torch.from_numpy(edge_index))[0]
    np.testing.assert_allclose(answer.embedding[0], local, atol=TOLERANCE)


GOOD = {
    "x": np.zeros((3, 100), dtype=np.float32),
    "edge_index": np.array([[0], [1]]),
    "targets": np.array([0]),
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edge_index": np.array([[0], [3]])}, "edge_index__1 points outside the 3 nodes"),
        ({"edge_index": np.array([[-1], [0]])}, "edge_index__1 points outside the 3 nodes"),
        ({"targets": np.array([3])}, "targets__2 points outside the 3 nodes"),
        ({"x": np.full((3, 100), np.nan, dtype=np.float32)}, "x__0 holds NaN or infinite features"),
    ],
)
def test_server_refuses_what_a_careless_client_sends_and_goes_on(client, change, message):
    def ask(x: np.ndarray, edge_index: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
        inputs = zip(GRAPHSAGE_PRODUCTS.inputs, (x, edge_index, targets), strict=True)
        return client.infer(GRAPHSAGE_PRODUCTS.name, {spec.name: value for spec, value in inputs})

    with pytest.raises(InferenceError, match=message):
        ask(**{**GOOD, **change})
    assert ask(**GOOD)["embedding__0"].shape == (1, 256)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros((3, 99), dtype=np.float32)}, r"expected float32 \[nodes, 100\], received float32 \[3, 99\]"),
        ({"x": np.zeros((3, 100))}, r"expected float32 \[nodes, 100\], received float64"),
        ({"x": np.full((3, 100), np.inf, dtype=np.float32)}, "3 rows are NaN or infinite; the first is row 0"),
        ({"edge_index": np.array([[0], [3]])}, "point outside the 3 nodes; the first is edge 0: 0 -> 3"),
        ({"edge_index": np.array([0, 1])}, r"expected integers of shape \[2, edges\]"),
        ({"targets": np.array([3])}, "targets: expected rows 0 to 2, received 3 to 3"),
    ],
)
def test_helper_refuses_before_anything_is_sent(client, change, message):
    with pytest.raises(DataInvalidError, match=message):
        embed_subgraph(client, **{**GOOD, **change})


def test_helper_refuses_unknown_products_and_bad_graphs(client, graph, data, rng):
    with pytest.raises(DataInvalidError, match=f"1 outside the {NODES} nodes; the first is {NODES}"):
        embed_products(client, graph, [0, NODES], rng=rng)
    with pytest.raises(DataInvalidError, match="rows are NaN"):
        EmbeddingGraph.from_data(Data(x=data.x * float("nan"), edge_index=data.edge_index))
    with pytest.raises(DataInvalidError, match="point outside"):
        EmbeddingGraph.from_data(Data(x=data.x[:20], edge_index=data.edge_index))


def test_client_checks_types_and_ranks_against_the_served_signature(client):
    with pytest.raises(TensorTypeError, match=r"edge_index__1.*INT64"):
        client.infer(
            GRAPHSAGE_PRODUCTS.name,
            {"x__0": GOOD["x"], "edge_index__1": np.zeros((2, 1), dtype=np.float32), "targets__2": GOOD["targets"]},
        )
    with pytest.raises(TensorShapeError, match="x__0"):
        client.infer(
            GRAPHSAGE_PRODUCTS.name,
            {"x__0": GOOD["x"][0], "edge_index__1": GOOD["edge_index"], "targets__2": GOOD["targets"]},
        )
