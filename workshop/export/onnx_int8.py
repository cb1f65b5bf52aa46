"""Int8 variants of an ONNX graph: all matrices, or all but those that int8 hurts most, found by measuring each.

Weights are rounded once, one scale a column. Activations are rounded as they come, one scale a tensor, which one large
number in the tensor makes coarse for all the others: that is why some matrices suffer and most do not.

https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn

from workshop.errors import ModelError
from workshop.export.gates import Inputs, row_cosines
from workshop.export.neighbours import neighbour_overlap
from workshop.export.onnx import load_onnx
from workshop.export.quiet import errors_only

Feed = Mapping[str, np.ndarray]
"""Inputs of one run, by name."""
Progress = Callable[[int, int], None]
# of the widest weight in a column, and of the span of an activation
WEIGHT_STEPS, ACTIVATION_STEPS = 64, 255


def quantise_graph(graph: onnx.ModelProto, *, kept: Collection[str] = ()) -> onnx.ModelProto:
    """A copy of ``graph`` with the products with constant matrices in int8.

    One scale a column, and seven bits, since eight overflow on processors without VNNI.

    Args:
        graph: in float32.
        kept: names of the nodes to leave in float32.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    del copy.graph.value_info[:]  # shapes inside, as the exporter saw them, contradict the quantiser's own
    # the quantiser advises a preparation that fails on exported graphs, and writes files only
    with tempfile.TemporaryDirectory() as folder, errors_only():
        target = Path(folder) / "model.onnx"
        quantize_dynamic(
            copy,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],
            nodes_to_exclude=list(kept),
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
        )
        return onnx.load(target)


def restored(quantised: onnx.ModelProto, graph: onnx.ModelProto, kept: Collection[str]) -> onnx.ModelProto:
    """A copy of the quantised ``graph`` that answers as ``quantise_graph(graph, kept=kept)``, without quantising again.

    What the restored nodes replace is left in it, without use: to try a selection, not to serve it.

    Raises:
        ModelError: a node of ``kept`` is not in ``graph``, or what it computes has another name when quantised.
    """
    whole = {node.output[0]: node for node in graph.graph.node if node.name in set(kept)}
    copy = onnx.ModelProto()
    copy.CopyFrom(quantised)
    places = {node.output[0]: node for node in copy.graph.node if node.output and node.output[0] in whole}
    if not len(places) == len(whole) == len(set(kept)):
        raise ModelError(f"{len(set(kept))} nodes are to be restored, and {len(places)} were found in the int8 graph")
    for output, node in whole.items():
        places[output].CopyFrom(node)
    there = {tensor.name for tensor in copy.graph.initializer}
    needed = {name for node in whole.values() for name in node.input} - there
    copy.graph.initializer.extend(tensor for tensor in graph.graph.initializer if tensor.name in needed)
    return copy


def matrix_nodes(graph: onnx.ModelProto) -> list[str]:
    """Names of the nodes that multiply with a constant matrix, in the order of the graph."""
    return list(_matrix_inputs(graph))


def _matrix_inputs(graph: onnx.ModelProto) -> dict[str, list[str]]:
    constants = {tensor.name for tensor in graph.graph.initializer}
    return {
        node.name: list(node.input)
        for node in graph.graph.node
        if node.op_type in ("MatMul", "Gemm") and any(name in constants for name in node.input)
    }


def run_graph(graph: onnx.ModelProto, feeds: Sequence[Feed]) -> np.ndarray:
    """The graph's first output for every feed, rows below one another: float32 ``[rows, width]``."""
    session = load_onnx(graph)
    return np.concatenate([session.run(None, dict(feed))[0] for feed in feeds])


def sensitivities(model: nn.Module, inputs: Sequence[Inputs], *, progress: Progress | None = None) -> dict[str, float]:
    """What int8 in one matrix alone does to the answers: mean of 1 - cosine over the rows, by node of the graph.

    The linear layers of the eager model are rounded one after the other, weights and activations as ONNX Runtime rounds
    them: a run of the model for each, where a graph of its own for each would take ten times as long.

    Args:
        model: in float32 and evaluation mode.
        inputs: those of calibration texts.
        progress: called with the number of matrices done and of all.
    """
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}

    def answers() -> torch.Tensor:
        with torch.inference_mode():
            return torch.cat([model(*tensors) for tensors in inputs])

    reference = answers()
    found = {}
    for done, (name, layer) in enumerate(layers.items(), start=1):
        with _rounded(layer):
            found[node_of(name)] = float(1 - row_cosines(reference, answers()).mean())
        if progress:
            progress(done, len(layers))
    return found


def node_of(layer: str) -> str:
    """The node that multiplies with a linear layer's weights in a traced graph, by the layer's name in the model."""
    return f"/{layer.replace('.', '/')}/MatMul".replace("/layer/", "/layer.")


@contextmanager
def _rounded(layer: nn.Linear) -> Iterator[None]:
    """Let a layer compute as int8 does: seven bits for the weights, a scale a column; eight for what comes in."""
    whole = layer.weight.data
    scale = whole.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(whole.dtype).tiny) / WEIGHT_STEPS

    def round_input(_: nn.Module, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        (given,) = arguments
        low, high = given.min().clamp(max=0), given.max().clamp(min=0)
        step = (high - low).clamp(min=torch.finfo(given.dtype).tiny) / ACTIVATION_STEPS
        zero = torch.round(-low / step)
        return ((torch.clamp(torch.round(given / step) + zero, 0, ACTIVATION_STEPS) - zero) * step,)

    layer.weight.data = torch.round(whole / scale) * scale
    hook = layer.register_forward_pre_hook(round_input)
    try:
        yield
    finally:
        hook.remove()
        layer.weight.data = whole


@dataclass(frozen=True)
class Selection:
    """Which matrices stay in float32, and why.

    Attributes:
        loss: mean of 1 - cosine of the answers when this matrix alone is in int8, by node, worst first.
        kept: nodes that stay in float32, those first that gain most for the work they make.
    """

    loss: Mapping[str, float]
    kept: tuple[str, ...]

    def to_settings(self) -> dict[str, str]:
        """As text, for a sidecar."""
        return {"kept": json.dumps(self.kept), "loss": json.dumps(dict(self.loss))}

    @classmethod
    def from_settings(cls, settings: Mapping[str, str]) -> Selection:
        """Read it back from a sidecar's settings."""
        return cls(json.loads(settings["loss"]), tuple(json.loads(settings["kept"])))


def select_matrices(
    graph: onnx.ModelProto, loss: Mapping[str, float], feeds: Sequence[Feed], least_overlap: float
) -> Selection:
    """Leave the fewest matrices in float32 that have to be: first those that gain most for the work they make.

    Args:
        graph: in float32.
        loss: of each matrix, as :func:`sensitivities` gives it.
        feeds: inputs of calibration texts, at least 11 rows.
        least_overlap: of the ten nearest rows, this share must stay the same.
    """
    size = _sizes(graph)
    order = sorted(loss, key=lambda node: -loss[node] / size[node])
    reference, quantised = run_graph(graph, feeds), quantise_graph(graph)
    fewest, most = 0, len(order)
    while fewest < most:  # the overlap grows with what is kept
        count = (fewest + most) // 2
        found = neighbour_overlap(reference, run_graph(restored(quantised, graph, order[:count]), feeds))
        fewest, most = (fewest, count) if found >= least_overlap else (count + 1, most)
    return Selection({node: loss[node] for node in sorted(loss, key=lambda node: -loss[node])}, tuple(order[:fewest]))


def _sizes(graph: onnx.ModelProto) -> dict[str, int]:
    """Number of weights of each matrix, by node."""
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in graph.graph.initializer}
    return {node: sum(sizes.get(name, 0) for name in inputs) for node, inputs in _matrix_inputs(graph).items()}
