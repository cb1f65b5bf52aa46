"""The model, layer-wise inference, checkpoints and the traced model."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from workshop.errors import CheckpointError, ModelError, RepositoryError
from workshop.export.torchscript import load_traced
from workshop.graph.architecture import Architecture
from workshop.graph.checkpoint import (
    METADATA_KEY,
    load_model,
    load_training_state,
    read_about,
    save_model,
    save_training_state,
)
from workshop.graph.graphsage import GraphSAGE, sorted_edges
from workshop.graph.inference import accuracy, infer_layerwise
from workshop.graph.sampling import ALL_NEIGHBORS, CSRGraph, sample_subgraph
from workshop.graph.served import ServedGraphSAGE, parity_inputs, request_inputs, trace_checkpoint
from workshop.graph.signature import ARCHITECTURE, GRAPHSAGE_PRODUCTS, GraphModel, served_graph_model
from workshop.triton.signature import parse_config

NODES = 120
TOLERANCE = 1e-5  # float32 sums in another order


@pytest.fixture(scope="module")
def edge_index() -> torch.Tensor:
    """A graph with a hub (node 0), loops, parallel edges, and nodes 100 to 119 isolated."""
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(0, 100, (2, 600), generator=generator)
    edges[1, :80] = 0
    return edges


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return torch.randn(NODES, ARCHITECTURE.in_channels, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def csr(edge_index) -> CSRGraph:
    return CSRGraph.from_edge_index(edge_index, NODES)


@pytest.fixture(scope="module")
def model() -> GraphSAGE:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return GraphSAGE(ARCHITECTURE).eval()


@pytest.fixture(scope="module")
def everything(model, x, edge_index) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings and logits of all nodes by the plain full pass."""
    with torch.no_grad():
        return model.encode(x, edge_index), model(x, edge_index)


@pytest.fixture(scope="module")
def checkpoint(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("checkpoints") / "model.safetensors"
    save_model(path, model, {"data": "random"})
    return path


@pytest.fixture(scope="module")
def repository(checkpoint, x, csr, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    trace_checkpoint(checkpoint, x, csr, folder)
    return folder


@pytest.fixture(scope="module")
def traced(repository) -> torch.jit.ScriptModule:
    return load_traced(repository / GRAPHSAGE_PRODUCTS.name / "1" / "model.pt")


# --- the model ------------------------------------------------------------------------------------------------
def test_one_layer_is_the_mean_of_the_neighbors_and_the_node_itself(model, x, edge_index):
    """Algorithm 1 of the paper, written out for one node."""
    conv = model.convs[0]
    neighbors = edge_index[0, edge_index[1] == 5]
    by_hand = conv.lin_l(x[neighbors].mean(dim=0)) + conv.lin_r(x[5])
    torch.testing.assert_close(model.layer(0, x, x, edge_index)[5], by_hand.relu(), atol=TOLERANCE, rtol=0)


def test_subgraph_of_all_neighbors_gives_the_full_pass(model, x, csr, everything):
    seeds = [0, 7, 110]
    sub = sample_subgraph(csr, seeds, [ALL_NEIGHBORS] * 3, np.random.default_rng(0))
    features, edges = x[torch.from_numpy(sub.node_ids)], torch.from_numpy(sub.edge_index)
    with torch.no_grad():
        logits = model(features, edges, sub.nodes_per_hop, sub.edges_per_hop)
        two_hops = sample_subgraph(csr, seeds, [ALL_NEIGHBORS] * 2, np.random.default_rng(0))
        embedding = model.encode(
            x[torch.from_numpy(two_hops.node_ids)],
            torch.from_numpy(two_hops.edge_index),
            two_hops.nodes_per_hop,
            two_hops.edges_per_hop,
        )
    torch.testing.assert_close(embedding, everything[0][seeds], atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(logits, everything[1][seeds], atol=TOLERANCE, rtol=0)


def test_sparse_edges_give_the_outputs_and_gradients_of_the_edge_list(model, x, csr):
    sub = sample_subgraph(csr, [0, 1, 2, 110], [4], np.random.default_rng(0))
    edge_index = torch.from_numpy(sub.edge_index)
    results = []
    for edges in (edge_index, sorted_edges(edge_index, sub.n_targets, len(sub.node_ids))):
        source = x[torch.from_numpy(sub.node_ids)].clone().requires_grad_()
        out = model.layer(0, source, source[: sub.n_targets], edges)
        weight = model.convs[0].lin_l.weight
        results.append((out, *torch.autograd.grad(out.square().sum(), [source, weight])))
    for plain, sparse in zip(*results, strict=True):
        torch.testing.assert_close(plain, sparse, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("edges_per_batch", [1, 37, 10**6])
def test_layerwise_inference_equals_the_full_pass(model, x, csr, everything, edges_per_batch):
    embedding, logits = infer_layerwise(model, x, csr, edges_per_batch)
    torch.testing.assert_close(embedding, everything[0], atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(logits, everything[1], atol=TOLERANCE, rtol=0)


def test_layerwise_inference_switches_dropout_off_and_back_on(x, csr):
    model = GraphSAGE(ARCHITECTURE).train()
    first, second = infer_layerwise(model, x, csr)[1], infer_layerwise(model, x, csr)[1]
    assert torch.equal(first, second)
    assert model.training


def test_accuracy_leaves_out_empty_masks():
    logits, y = torch.eye(3), torch.tensor([0, 1, 1])
    masks = {"all": torch.ones(3, dtype=torch.bool), "none": torch.zeros(3, dtype=torch.bool)}
    assert accuracy(logits, y, masks) == {"all": pytest.approx(2 / 3)}


@pytest.mark.parametrize("wrong", [{"num_layers": 1}, {"hidden_channels": 0}])
def test_impossible_architectures_are_refused(wrong):
    with pytest.raises(ModelError, match="positive widths and at least 2 layers"):
        Architecture(**wrong)


# --- checkpoints ----------------------------------------------------------------------------------------------
def test_checkpoint_round_trip(checkpoint, model):
    loaded = load_model(checkpoint, expected=ARCHITECTURE)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in loaded.state_dict().items())
    assert not loaded.training
    assert read_about(checkpoint)["data"] == "random"


def test_equal_weights_make_equal_files(checkpoint, model, tmp_path):
    again = tmp_path / "again.safetensors"
    save_model(again, model, {"data": "random"})
    assert again.read_bytes() == checkpoint.read_bytes()


def test_checkpoint_of_another_architecture_is_refused(checkpoint):
    with pytest.raises(CheckpointError, match=r"expected .*in_channels=64.*received .*in_channels=100"):
        load_model(checkpoint, expected=Architecture(in_channels=64))


def altered(checkpoint: Path, path: Path, *, about: str | None = None, **tensors: torch.Tensor | None) -> Path:
    state = {**load_model(checkpoint).state_dict(), **tensors}
    metadata = {METADATA_KEY: about or json.dumps(read_about(checkpoint))}
    save_file({name: value for name, value in state.items() if value is not None}, path, metadata=metadata)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"convs.0.lin_l.bias": torch.full((256,), float("nan"))}, "not finite"),
        ({"convs.0.lin_l.bias": torch.zeros(3)}, "tensors do not fit"),
        ({"convs.2.lin_l.weight": None}, "tensors do not fit"),
        ({"about": '{"architecture": {"layers": 3}}'}, "says no GraphSAGE architecture"),
        ({"about": '{"architecture": {"num_layers": 1}}'}, "says no GraphSAGE architecture"),
        ({"about": "{}"}, "says no GraphSAGE architecture"),
        ({"about": "-"}, "damaged"),
    ],
)
def test_inconsistent_checkpoints_are_refused(checkpoint, tmp_path, changes, message):
    with pytest.raises(CheckpointError, match=message):
        load_model(altered(checkpoint, tmp_path / "altered.safetensors", **changes))


def test_damaged_and_missing_checkpoints_are_refused(checkpoint, tmp_path):
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="not a safetensors file, or damaged"):
        load_model(cut)
    with pytest.raises(CheckpointError, match=r"no such file(.|\n)*03_train_graphsage"):
        load_model(tmp_path / "none.safetensors")


def test_training_state_holds_no_code(tmp_path):
    path = tmp_path / "state.pt"
    save_training_state(path, {"epoch": 3, "weights": {"w": torch.ones(2)}})
    assert load_training_state(path)["epoch"] == 3
    torch.save({"path": Path("x")}, path)
    with pytest.raises(CheckpointError, match="not a training state"):
        load_training_state(path)


# --- the traced model -----------------------------------------------------------------------------------------
def test_traced_targets_equal_the_full_pass(traced, x, edge_index, everything):
    """Sizes differ from the trace example; targets come in any order, repeated, isolated and not."""
    targets = torch.tensor([110, 3, 0, 3, 99])
    embedding, logits = traced(x, edge_index, targets)
    torch.testing.assert_close(embedding, everything[0][targets], atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(logits, everything[1][targets], atol=TOLERANCE, rtol=0)


def test_a_target_does_not_depend_on_its_companions(traced, x, csr):
    """One request of several products gives what each product's own request gives."""
    sub = sample_subgraph(csr, [0, 3, 110], [ALL_NEIGHBORS] * 3, np.random.default_rng(0))
    together = traced(
        x[torch.from_numpy(sub.node_ids)], torch.from_numpy(sub.edge_index), torch.from_numpy(sub.targets)
    )
    for position, product in enumerate([0, 3, 110]):
        one = sample_subgraph(csr, [product], [ALL_NEIGHBORS] * 3, np.random.default_rng(1))
        alone = traced(x[torch.from_numpy(one.node_ids)], torch.from_numpy(one.edge_index), torch.tensor([0]))
        for joint, single in zip(together, alone, strict=True):
            torch.testing.assert_close(joint[position], single[0], atol=TOLERANCE, rtol=0)


def test_isolated_product_has_a_finite_embedding_of_its_own(traced, x):
    no_edges = torch.empty(2, 0, dtype=torch.int64)
    first, second = (traced(x[i : i + 1], no_edges, torch.tensor([0]))[0] for i in (110, 111))
    assert first.shape == (1, 256)
    assert first.isfinite().all()
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("edge", "target", "feature", "message"),
    [
        ((0, 5), 0, 1.0, "edge_index__1 points outside the 5 nodes of x__0"),
        ((-1, 0), 0, 1.0, "edge_index__1 points outside"),
        ((0, 1), 5, 1.0, "targets__2 points outside the 5 nodes of x__0"),
        ((0, 1), -1, 1.0, "targets__2 points outside"),
        ((0, 1), 0, float("nan"), "x__0 holds NaN or infinite features"),
        ((0, 1), 0, float("inf"), "x__0 holds NaN or infinite features"),
    ],
)
def test_bad_indices_and_features_are_errors_in_eager_and_traced_form(traced, model, x, edge, target, feature, message):
    inputs = (x[:5] * feature, torch.tensor(edge)[:, None], torch.tensor([target]))
    with pytest.raises(ValueError, match=message):
        ServedGraphSAGE(model)(*inputs)
    with pytest.raises(torch.jit.Error, match=message):
        traced(*inputs)


def test_huge_features_are_not_taken_for_infinite_ones(traced, x):
    """Their sum overflows, which is where the check looks first."""
    huge = torch.full_like(x[:2], 1e37)
    assert huge.sum().isinf()
    traced(huge, torch.tensor([[0], [1]]), torch.tensor([1]))


def test_saved_model_comes_with_config_and_measured_parity(repository):
    folder = repository / GRAPHSAGE_PRODUCTS.name
    assert parse_config((folder / "config.pbtxt").read_text()) == GRAPHSAGE_PRODUCTS.to_config()
    parity = json.loads((folder / "1" / "model.json").read_text())["parity"]
    assert {"an isolated product", "the largest hub", "no target"} <= set(parity)
    assert max(parity.values()) <= TOLERANCE


def test_committed_config_is_the_signatures(request):
    path = request.config.rootpath / "model_repository" / GRAPHSAGE_PRODUCTS.name / "config.pbtxt"
    assert path.read_text() == GRAPHSAGE_PRODUCTS.config_text()


def test_parity_inputs_are_unlike_the_trace_example(x, csr):
    rng = np.random.default_rng(0)
    example = [tuple(tensor.shape) for tensor in request_inputs(x, csr, [0, 1, 2], rng)]
    shapes = [[tuple(tensor.shape) for tensor in inputs] for inputs in parity_inputs(x, csr, rng).values()]
    assert example not in shapes


def test_the_products_name_is_kept_for_the_products_architecture(tmp_path, x, csr):
    other = tmp_path / "other.safetensors"
    save_model(other, GraphSAGE(Architecture(out_channels=3)), {})
    with pytest.raises(CheckpointError, match=r"out_channels=47(?s:.*)out_channels=3(?s:.*)Try: a name of its own"):
        trace_checkpoint(other, x, csr, tmp_path)
    with pytest.raises(CheckpointError, match="takes features of width 100, the graph has 99"):
        trace_checkpoint(other, x[:, :99], csr, tmp_path, name="mine")
    assert not (tmp_path / GRAPHSAGE_PRODUCTS.name).exists()
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("architecture", "hops"),
    [(Architecture(7, 12, 3, 2), 2), (Architecture(3, 8, 5, 4), 4), (Architecture(7, 12, 1, 2), 1)],
)
def test_signature_and_hops_follow_from_the_architecture(tmp_path, architecture, hops):
    """Other widths, other depths, and a model that knows no categories; on a graph of a few nodes."""
    checkpoint = tmp_path / "own.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = GraphSAGE(architecture).eval()
        features = torch.randn(9, architecture.in_channels)
    save_model(checkpoint, model, {})
    edges = torch.tensor([[0, 1, 2, 3, 4, 0], [1, 2, 3, 4, 5, 5]])
    graph = CSRGraph.from_edge_index(edges, 9)
    trace_checkpoint(checkpoint, features, graph, tmp_path / "repository", name="own")
    served = served_graph_model(tmp_path / "repository", "own")
    assert served == GraphModel("own", architecture)
    assert (architecture.hops, len(architecture.fan_out)) == (hops, hops)
    config = parse_config((tmp_path / "repository/own/config.pbtxt").read_text())
    assert config.input[0].dims == [-1, architecture.in_channels]
    widths = [architecture.hidden_channels, architecture.out_channels][: 1 + architecture.has_categories]
    assert [list(output.dims) for output in config.output] == [[-1, width] for width in widths]
    answer = load_traced(tmp_path / "repository/own/1/model.pt")(
        *request_inputs(features, graph, [5, 8], np.random.default_rng(0), model=served)
    )
    for part, exact in zip(answer, infer_layerwise(model, features, graph), strict=False):
        torch.testing.assert_close(part, exact[[5, 8]], atol=TOLERANCE, rtol=0)


def test_an_artefact_without_an_architecture_is_named(repository, tmp_path):
    shutil.copytree(repository, tmp_path / "repository")
    sidecar = tmp_path / "repository" / GRAPHSAGE_PRODUCTS.name / "1" / "model.json"
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), "settings": {}}))
    with pytest.raises(RepositoryError, match=r"names no GraphSAGE architecture .*\nTry: trace the model again"):
        served_graph_model(tmp_path / "repository", GRAPHSAGE_PRODUCTS.name)


def test_existing_version_is_kept_unless_asked(repository, checkpoint, x, csr):
    with pytest.raises(RepositoryError, match="has a version 1 already"):
        trace_checkpoint(checkpoint, x, csr, repository, replace=False)
