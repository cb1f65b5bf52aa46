"""GraphSAGE: accuracy, training, sampling, and serving against PyG in process and the classic way of serving it.

All on ogbn-products-mini at its default size, 20,000 products. The classic way, met in older tutorials, sends one
product a request over HTTP as JSON: features padded to a fixed 1000 x 100, and for each of the three layers an edge
list and its two sizes, seven inputs in all. Here it is served by the same Triton on the same machine, from a model
traced for it, with the same weights, the same sampler and a kept-alive connection, so that only the form of the request
differs.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import requests
import torch
from torch import Tensor, nn

from workshop import stack
from workshop.data.products import ProductGraph, load_products
from workshop.export.torchscript import export
from workshop.files import sha256_of
from workshop.graph.architecture import FAN_OUT
from workshop.graph.baselines import METHODS, accuracy_of
from workshop.graph.checkpoint import load_model
from workshop.graph.client import EmbeddingGraph, embed_products
from workshop.graph.graphsage import GraphSAGE
from workshop.graph.product_training import CONFIGS, find_checkpoint, measure_test_accuracy
from workshop.graph.sampling import CSRGraph, sample_subgraph
from workshop.graph.served import trace_checkpoint
from workshop.graph.signature import ARCHITECTURE, GRAPHSAGE_PRODUCTS
from workshop.graph.training import TrainingResult, fit
from workshop.recommend.product_graph import PRODUCTS_PER_STEP
from workshop.settings import Settings, load_settings
from workshop.stack.private import private_settings
from workshop.triton.client import TritonClient
from workshop.triton.signature import ModelSignature, TensorSpec, write_config

PADDED_NODES = 1000
MANY, SINGLES, TURNS = 128, 20, 7
RATIO_BAR_MANY, RATIO_BAR_ONE = 75.0, 10.0
IN_PROCESS_SIZES, IN_PROCESS_BAR = (MANY, PRODUCTS_PER_STEP["small"]), 0.8
SAMPLER_BAR, EPOCH_BAR_SECONDS = 13_000_000.0, 0.45
GAIN_BAR, TOO_EASY = 0.10, 0.97


def measure(ids: set[str]) -> Iterator[dict]:
    """Yield the results of the benchmarks asked for."""
    settings = load_settings()
    products = load_products(settings, "default")
    if ids & {"mini_accuracy", "mini_methods", "train_epoch"}:
        trained = fit(products.to_data(), CONFIGS["default"], progress=False)
        if "mini_accuracy" in ids:
            yield mini_accuracy(products, trained)
        if "mini_methods" in ids:
            yield mini_methods(products, trained)
        if "train_epoch" in ids:
            yield train_epoch(trained)
    if "sampler_rate" in ids:
        yield sampler_rate(products)
    checkpoint = find_checkpoint(settings, products, precomputed=True)
    if "graphsage_in_process" in ids:
        yield graphsage_in_process(products, checkpoint)
    if "graphsage_vs_classic" in ids:
        yield graphsage_vs_classic(products, checkpoint)


def mini_accuracy(products: ProductGraph, trained: TrainingResult) -> dict:
    """Test accuracy of a training from nothing, beside the majority class and logistic regression on the features."""
    data = products.to_data()
    reached = measure_test_accuracy(trained.model, data)
    regression, majority = (
        accuracy_of(METHODS[name](data), data, data.test_mask) for name in ("logistic regression", "majority class")
    )
    return {
        "id": "mini_accuracy",
        "value": round(reached, 4),
        "unit": "test accuracy",
        "peer": round(regression, 4),
        "ratio": round(reached / regression, 2),
        "bar": f">= peer + {GAIN_BAR:.2f}, <= {TOO_EASY}",
        "holds": reached >= regression + GAIN_BAR and max(reached, regression) <= TOO_EASY,
        "note": f"peer: logistic regression on the features; majority class {majority:.4f}",
    }


def mini_methods(products: ProductGraph, trained: TrainingResult) -> dict:
    """Test accuracy of GraphSAGE beside every simple method, each tuned on the validation products."""
    data = products.to_data()
    reached = measure_test_accuracy(trained.model, data)
    others = {name: accuracy_of(method(data), data, data.test_mask) for name, method in METHODS.items()}
    best = max(others, key=others.get)
    return {
        "id": "mini_methods",
        "value": round(reached, 4),
        "unit": "test accuracy",
        "peer": f"{best}: {others[best]:.4f}",
        "ratio": round(reached / others[best], 3),
        "bar": "ratio >= 1 to the best of the others",
        "holds": reached >= others[best],
        "note": "; ".join(f"{name} {accuracy:.4f}" for name, accuracy in others.items()),
    }


def train_epoch(trained: TrainingResult) -> dict:
    """Median time of an epoch, scoring of all products included; the first epoch warms up."""
    epochs = trained.history[1:]
    seconds = statistics.median(epoch.train_seconds + epoch.score_seconds for epoch in epochs)
    note = f"median of {len(epochs)} epochs, {torch.get_num_threads()} threads, exact scoring of all products included"
    return _without_peer("train_epoch", round(seconds, 3), "s", f"<= {EPOCH_BAR_SECONDS:g} s", note) | {
        "holds": seconds <= EPOCH_BAR_SECONDS
    }


def sampler_rate(products: ProductGraph) -> dict:
    """Sampled edges a second on one core, over seeds from the whole graph."""
    csr = CSRGraph.from_edge_index(products.edge_index, products.num_products)
    rng = np.random.default_rng(0)
    sample_subgraph(csr, np.arange(MANY), FAN_OUT, rng)
    edges, start = 0, time.thread_time()
    for seeds in np.array_split(rng.permutation(products.num_products), 20):
        edges += sample_subgraph(csr, seeds, FAN_OUT, rng).edge_index.shape[1]
    rate = edges / (time.thread_time() - start)
    note = f"{edges:,} edges at fan-out {list(FAN_OUT)}, {products.num_products // 20} seeds a batch, processor time"
    return _without_peer("sampler_rate", round(rate), "edges/s per core", f">= {SAMPLER_BAR:,.0f}", note) | {
        "holds": rate >= SAMPLER_BAR
    }


def _without_peer(identifier: str, value: float, unit: str, bar: str, note: str) -> dict:
    return {"id": identifier, "value": value, "unit": unit, "peer": None, "ratio": None, "bar": bar, "note": note}


# --- against PyG in process -----------------------------------------------------------------------------------
def graphsage_in_process(products: ProductGraph, checkpoint: Path) -> dict:
    """The catalogue embedded by the server, against the same weights and sampler in this process with all its threads.

    The peer computes no more than PyG has to: each layer only the nodes that later layers need, and the logits alone.
    Compared in requests of the size that the workshop embeds such a catalogue in, which suits both sides best; the size
    that a client takes by itself is told beside it.
    """
    graph = EmbeddingGraph.from_data(products.to_data())
    chosen = np.random.default_rng(2).permutation(graph.csr.num_nodes)
    model, x = load_model(checkpoint).eval(), torch.from_numpy(graph.x)

    def in_process(size: int) -> None:
        rng = np.random.default_rng(3)
        for start in range(0, len(chosen), size):
            sub = sample_subgraph(graph.csr, chosen[start : start + size], FAN_OUT, rng)
            with torch.inference_mode():
                nodes, edges = torch.from_numpy(sub.node_ids), torch.from_numpy(sub.edge_index)
                model(x.index_select(0, nodes), edges, sub.nodes_per_hop, sub.edges_per_hop)

    with tempfile.TemporaryDirectory() as directory:
        repository = Path(directory) / "repository"
        trace_checkpoint(checkpoint, products.x, graph.csr, repository)
        settings = private_settings(Path(directory) / "stack", model_repository=repository)
        running = stack.running(settings, ["triton"], models=[GRAPHSAGE_PRODUCTS.name])
        with running, TritonClient.from_settings(settings) as client:

            def served(size: int) -> None:
                embed_products(client, graph, chosen, rng=np.random.default_rng(3), products_per_request=size)

            def turn(size: int) -> tuple[float, float]:
                return _seconds(lambda: in_process(size)), _seconds(lambda: served(size))

            # the first turn warms both up
            turns = [[turn(size) for size in IN_PROCESS_SIZES] for _ in range(TURNS + 1)][1:]
    rates, ratios = [], []
    for of_a_size in zip(*turns, strict=True):
        rates.append([len(chosen) / statistics.median(column) for column in zip(*of_a_size, strict=True)])
        ratios.append(statistics.median(theirs / own for theirs, own in of_a_size))
    (peer_small, ours_small), (peer, ours) = rates
    small, size = IN_PROCESS_SIZES
    return {
        "id": "graphsage_in_process",
        "value": round(ours, 1),
        "unit": f"products/s at {size} a request",
        "peer": f"PyG in process, same sampler: {peer:.0f} products/s",
        "ratio": ratios[-1],
        "bar": f"ratio >= {IN_PROCESS_BAR:g}",
        "holds": ratios[-1] >= IN_PROCESS_BAR,
        "note": f"{len(chosen):,} products, {torch.get_num_threads()} threads in process; "
        f"at {small} a request {ratios[0]:.2f} of PyG: {ours_small:.0f} to {peer_small:.0f} products/s",
    }


def _seconds(run: Callable[[], None]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


# --- against the classic way ----------------------------------------------------------------------------------
CLASSIC = ModelSignature(
    name="graphsage_classic",
    platform="pytorch_libtorch",
    inputs=(
        TensorSpec("x__0", "FP32", (PADDED_NODES, ARCHITECTURE.in_channels)),
        TensorSpec("edges_first__1", "INT64", (2, -1)),
        TensorSpec("edges_second__2", "INT64", (2, -1)),
        TensorSpec("edges_third__3", "INT64", (2, -1)),
        TensorSpec("size_first__4", "INT64", (2,)),
        TensorSpec("size_second__5", "INT64", (2,)),
        TensorSpec("size_third__6", "INT64", (2,)),
    ),
    outputs=GRAPHSAGE_PRODUCTS.outputs,
)


class ClassicGraphSAGE(nn.Module):
    """Layer by layer over lists of edges and sizes, as neighbour samplers of the time returned them."""

    def __init__(self, model: GraphSAGE) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, x: Tensor, first: Tensor, second: Tensor, third: Tensor, size1: Tensor, size2: Tensor, size3: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Embedding and logits of the one target; ``size`` holds a layer's numbers of sources and targets."""
        x = x[: size1[0]]
        for index, (edges, size) in enumerate(((first, size1), (second, size2), (third, size3))):
            embedding, x = x, self.model.layer(index, x, x[: size[1]], edges)
        return embedding[: size3[1]], x


def classic_inputs(graph: EmbeddingGraph, product: int, rng: np.random.Generator) -> list[np.ndarray]:
    """The seven inputs for one product, in the order of the signature."""
    sub = sample_subgraph(graph.csr, [product], FAN_OUT, rng)
    nodes, edges = np.cumsum(sub.nodes_per_hop), np.cumsum(sub.edges_per_hop)
    padded = np.zeros((PADDED_NODES, graph.x.shape[1]), dtype=np.float32)
    padded[: len(sub.node_ids)] = graph.x[sub.node_ids]
    lists = [sub.edge_index[:, :count] for count in edges[::-1]]
    sizes = [np.array([nodes[hop + 1], nodes[hop]]) for hop in (2, 1, 0)]
    return [padded, *lists, *sizes]


def ask_classic(session: requests.Session, url: str, inputs: list[np.ndarray]) -> np.ndarray:
    """One JSON request; returns the embedding."""
    body = [
        {"name": spec.name, "shape": list(value.shape), "datatype": spec.dtype, "data": value.ravel().tolist()}
        for spec, value in zip(CLASSIC.inputs, inputs, strict=True)
    ]
    answer = session.post(url, data=json.dumps({"inputs": body}), timeout=60)
    answer.raise_for_status()
    outputs = {output["name"]: output["data"] for output in answer.json()["outputs"]}
    return np.array(outputs[CLASSIC.outputs[0].name], dtype=np.float32)


def write_models(repository: Path, checkpoint: Path, products: ProductGraph, graph: EmbeddingGraph) -> None:
    """Trace both forms of the model into a repository."""
    trace_checkpoint(checkpoint, products.x, graph.csr, repository)
    example = classic_inputs(graph, 0, np.random.default_rng(0))
    traced = export(ClassicGraphSAGE(load_model(checkpoint)).eval(), tuple(map(torch.from_numpy, example)))
    write_config(CLASSIC, repository)
    (repository / CLASSIC.name / "1").mkdir()
    file = repository / CLASSIC.name / "1" / "model.pt"
    traced.save(str(file))
    file.with_name(f"{file.name}.sha256").write_text(sha256_of(file))


def graphsage_vs_classic(products: ProductGraph, checkpoint: Path) -> dict:
    """Served embeddings a second, ours at 128 and at one product a request, against the classic way."""
    graph = EmbeddingGraph.from_data(products.to_data())
    with tempfile.TemporaryDirectory() as directory:
        repository = Path(directory) / "repository"
        write_models(repository, checkpoint, products, graph)
        settings = private_settings(Path(directory) / "stack", model_repository=repository)
        with stack.running(settings, ["triton"], models=[GRAPHSAGE_PRODUCTS.name, CLASSIC.name]):
            seconds, difference = _compare(settings, graph)
    many, one = seconds["classic"] / seconds["many"], seconds["classic"] / seconds["one"]
    return {
        "id": "graphsage_vs_classic",
        "value": round(1 / seconds["many"], 1),
        "unit": f"products/s at {MANY} a request",
        "peer": round(1 / seconds["classic"], 2),
        "ratio": round(many, 1),
        "bar": f"ratio >= {RATIO_BAR_MANY:g}, at one product a request >= {RATIO_BAR_ONE:g} x",
        "holds": many >= RATIO_BAR_MANY and one >= RATIO_BAR_ONE and difference < 1e-4,
        "note": f"at one product a request {1 / seconds['one']:.1f} products/s, {one:.1f} x; peer: padded JSON, one"
        f" product a request; embeddings of both ways differ by {difference:.0e}",
    }


def _compare(settings: Settings, graph: EmbeddingGraph) -> tuple[dict[str, float], float]:
    """Seconds a product by way of asking, and the largest difference between the answers.

    The ways take turns. A request's time is its fastest of several turns, which leaves out what other programs of the
    machine do meanwhile; the requests' times are summed.
    """
    url = f"http://{settings.triton_host}:{settings.triton_http_port}/v2/models/{CLASSIC.name}/infer"
    chosen = np.random.default_rng(1).choice(graph.csr.num_nodes, 3 * MANY, replace=False)
    alone, together = chosen[:SINGLES].reshape(-1, 1), chosen.reshape(-1, MANY)

    with (
        requests.Session() as session,
        TritonClient(f"{settings.triton_host}:{settings.triton_grpc_port}", in_flight=1) as client,
    ):

        def ours(asked: np.ndarray) -> np.ndarray:
            rng = np.random.default_rng(asked[0])
            return embed_products(client, graph, asked, rng=rng, products_per_request=MANY).embedding

        def classic(asked: np.ndarray) -> np.ndarray:
            (product,) = asked.tolist()
            return ask_classic(session, url, classic_inputs(graph, product, np.random.default_rng(product)))

        difference = max(float(np.abs(ours(asked) - classic(asked)).max()) for asked in alone)
        ways = {"many": (ours, together), "one": (ours, alone), "classic": (classic, alone)}
        turns = [{name: _times(*way) for name, way in ways.items()} for _ in range(TURNS)]
    fastest = {name: np.min([turn[name] for turn in turns], axis=0).sum() for name in ways}
    return {name: float(fastest[name]) / requested.size for name, (_, requested) in ways.items()}, difference


def _times(ask: Callable[[np.ndarray], object], requested: np.ndarray) -> list[float]:
    """Seconds of each request."""
    seconds = []
    for asked in requested:
        start = time.perf_counter()
        ask(asked)
        seconds.append(time.perf_counter() - start)
    return seconds
