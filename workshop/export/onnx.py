"""From an eager model to an ONNX file that Triton's ONNX Runtime backend serves, with a free batch axis.

Exporter: https://docs.pytorch.org/docs/stable/onnx_export.html
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn

from workshop.errors import ForbiddenOpError, ModelError, ParityError
from workshop.export.gates import Exported, Inputs, Provenance, place
from workshop.export.quiet import errors_only
from workshop.files import replacing
from workshop.triton.artefact import Sidecar
from workshop.triton.signature import ModelSignature

Exporter = Callable[[nn.Module, ModelSignature, Inputs], onnx.ModelProto]
# largest absolute difference to the eager model: ONNX Runtime fuses and orders float32 sums in its own way
TOLERANCE = 1e-4
STANDARD_DOMAINS = ("", "ai.onnx")
TRACED_OPSET = 17
MIN_EXAMPLE_SIZE = 2
"""Of every free axis: the exporter takes a size of 1 for a constant."""


def export(model: nn.Module, signature: ModelSignature, example: Inputs) -> onnx.ModelProto:
    """Export ``model`` with the signature's tensor names; the first axis of every input is the batch and stays free.

    Args:
        model: in evaluation mode; takes the signature's inputs and returns its outputs, in that order.
        signature: names of inputs and outputs.
        example: tensors with at least two rows.

    Raises:
        ParityError: the example has fewer than two rows.
    """
    if any(len(tensor) < MIN_EXAMPLE_SIZE for tensor in example):
        rows = [len(tensor) for tensor in example]
        raise ParityError(f"model {signature.name!r}: example rows {rows}, expected at least {MIN_EXAMPLE_SIZE}")
    batch = torch.export.Dim("batch")
    with errors_only("torch.onnx"), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        program = torch.onnx.export(
            model,
            example,
            dynamo=True,
            verbose=False,
            input_names=[spec.name for spec in signature.inputs],
            output_names=[spec.name for spec in signature.outputs],
            dynamic_shapes=tuple({0: batch} for _ in example),
        )
    return program.model_proto


def export_traced(model: nn.Module, signature: ModelSignature, example: Inputs) -> onnx.ModelProto:
    """Export by tracing, for a model whose sizes depend on values it is given; arguments as those of :func:`export`.

    Sizes that the signature leaves free are free in the graph.
    """
    first = 1 if signature.max_batch_size else 0
    axes = {
        spec.name: {
            **({0: "batch"} if first else {}),
            **{first + axis: f"{spec.name}_{axis}" for axis, size in enumerate(spec.dims) if size == -1},
        }
        for spec in (*signature.inputs, *signature.outputs)
    }
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter is deprecated, and warns of every value it reads
        torch.onnx.export(
            model,
            example,
            file,
            input_names=[spec.name for spec in signature.inputs],
            output_names=[spec.name for spec in signature.outputs],
            dynamic_axes={name: named for name, named in axes.items() if named},
            opset_version=TRACED_OPSET,
            dynamo=False,
        )
    return onnx.load_model_from_string(file.getvalue())


def check_graph(graph: onnx.ModelProto, signature: ModelSignature) -> None:
    """Refuse a graph that a plain ONNX Runtime cannot run, or that freezes the batch or misses a tensor.

    Raises:
        ForbiddenOpError: an operator is outside ONNX's own domain.
        ParityError: tensors are named otherwise than in the signature, or their first axis is fixed.
        ModelError: ONNX's checker refuses the graph.
    """
    foreign = sorted({f"{n.domain}::{n.op_type}" for n in graph.graph.node if n.domain not in STANDARD_DOMAINS})
    if foreign:
        raise ForbiddenOpError(
            f"model {signature.name!r} uses {', '.join(foreign)}, which ONNX Runtime does not have",
            hint="write the step with torch operators that ONNX knows",
        )
    for specs, values in ((signature.inputs, graph.graph.input), (signature.outputs, graph.graph.output)):
        if [spec.name for spec in specs] != [value.name for value in values]:
            raise ParityError(
                f"model {signature.name!r}: the graph has the tensors {[v.name for v in values]}, "
                f"expected {[spec.name for spec in specs]}"
            )
        for value in values:
            if not value.type.tensor_type.shape.dim[0].dim_param:
                raise ParityError(f"model {signature.name!r}: the batch axis of {value.name!r} is frozen")
    try:
        onnx.checker.check_model(graph, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"model {signature.name!r}: ONNX's checker refuses the graph: {error}") from error


def load_onnx(source: Path | onnx.ModelProto) -> onnxruntime.InferenceSession:
    """Open an ONNX model on the CPU.

    Raises:
        ModelError: the file is missing or is not an ONNX model.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    model = source.SerializeToString() if isinstance(source, onnx.ModelProto) else str(source)
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        raise ModelError(f"{source!s:.200} is not a readable ONNX model: {error}", hint="export it again") from error


def export_and_save(
    model: nn.Module,
    signature: ModelSignature,
    example: Inputs,
    parity_inputs: dict[str, Inputs],
    repository: Path,
    *,
    source: str,
    source_sha256: str,
    settings: dict[str, str] | None = None,
    tolerance: float = TOLERANCE,
    version: int = 1,
    replace: bool = False,
    exporter: Exporter = export,
    files: Mapping[str, Path] | None = None,
) -> Sidecar:
    """Export a float32 model, pass it through the gates, and place it in the model repository.

    Arguments and errors are those of :func:`workshop.export.torchscript.trace_and_save`; ``exporter`` is :func:`export`
    or :func:`export_traced`.
    """

    def exported() -> Exported:
        graph = exporter(model, signature, example)
        check_graph(graph, signature)
        return as_exported(graph, signature)

    return place(
        model,
        signature,
        exported,
        parity_inputs,
        repository,
        Provenance(source, source_sha256, "fp32", settings or {}, files or {}),
        tolerance=tolerance,
        version=version,
        replace=replace,
    )


def as_exported(graph: onnx.ModelProto, signature: ModelSignature) -> Exported:
    """A graph as the gates take it: run by ONNX Runtime on the CPU, saved as it is.

    Raises:
        ModelError: ONNX Runtime cannot open it.
    """
    session = load_onnx(graph)

    def run(*tensors: torch.Tensor) -> list[torch.Tensor]:
        feed = {spec.name: tensor.numpy() for spec, tensor in zip(signature.inputs, tensors, strict=True)}
        return [torch.from_numpy(array) for array in session.run([s.name for s in signature.outputs], feed)]

    return Exported(run, lambda path: path.write_bytes(graph.SerializeToString()))


def quantise(source: Path, target: Path) -> None:
    """Write a variant with int8 weights; activations are quantised as they come.

    One scale a channel, and seven bits, since eight overflow on processors without VNNI:
    https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
    """
    graph = onnx.load(source)
    del graph.graph.value_info[:]  # shapes inside, as the exporter saw them, contradict the quantiser's own
    # the quantiser advises a preparation that fails on this exporter's graphs
    with replacing(target) as aside, errors_only():
        quantize_dynamic(
            graph,
            aside,
            op_types_to_quantize=["MatMul", "Gemm"],
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
        )
