"""From an ONNX graph to OpenVINO's own format, ``model.xml`` and ``model.bin``, which Triton's OpenVINO backend serves.

https://docs.openvino.ai/2026/openvino-workflow/model-preparation.html
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from workshop.errors import ModelError
from workshop.export.gates import TOLERANCES, Exported, Inputs, Provenance, place
from workshop.triton.artefact import Sidecar
from workshop.triton.signature import ModelSignature

# largest absolute difference to the eager model: OpenVINO fuses and orders float32 sums in its own way
TOLERANCE = 1e-4
WEIGHTS_FILE = "model.bin"
HINT_OF = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}


def library() -> Any:
    """The openvino package, which is an extra.

    Raises:
        ModelError: it is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise ModelError(f"the package openvino is not installed: {error}", hint="pip install openvino") from error
    return openvino


def version() -> str:
    """The release of OpenVINO that writes the files, which stands in the sidecar's settings."""
    return library().__version__


def convert_and_save(
    model: nn.Module,
    signature: ModelSignature,
    graph: onnx.ModelProto,
    parity_inputs: dict[str, Inputs],
    repository: Path,
    *,
    source: str,
    source_sha256: str,
    precision: str = "fp32",
    settings: dict[str, str] | None = None,
    replace: bool = False,
    files: Mapping[str, Path] | None = None,
) -> Sidecar:
    """Convert an ONNX graph of ``model``, pass it through the gates, and place it in the model repository.

    Args:
        model: the eager float32 model in evaluation mode, which the gates compare with.
        signature: what the served model takes and gives; the graph has its names.
        graph: the model as ONNX, float32 or quantised.
        parity_inputs: named inputs, at least two.
        repository: the model repository; ``config.pbtxt`` is written too.
        source: what the weights are, in words.
        source_sha256: hash of the weights.
        precision: ``fp32``, ``bf16`` (float32 weights, computed in bf16) or ``int8``, as the graph is quantised.
        settings: further choices the file has frozen.
        replace: overwrite the version; without it an existing one is left alone.
        files: name to source of files that belong into the version folder, such as the tokenizer.

    Raises:
        ModelError: OpenVINO is not installed, or does not read the graph; nothing was written.
        RepositoryError: the version exists and ``replace`` is false.
        TraceRefusedError: the converted model fails a gate; nothing was written.
    """
    openvino = library()
    with tempfile.TemporaryDirectory() as folder:
        xml, weights = Path(folder) / "model.xml", Path(folder) / WEIGHTS_FILE

        def converted() -> Exported:
            onnx_file = Path(folder) / "model.onnx"
            onnx.save(graph, onnx_file)
            try:
                openvino.serialize(openvino.Core().read_model(onnx_file), xml, weights)
                # read back, so that what is judged is what was written
                compiled = openvino.Core().compile_model(xml, "CPU", {"INFERENCE_PRECISION_HINT": HINT_OF[precision]})
            except RuntimeError as error:
                reason = str(error).strip().splitlines()[-1]
                raise ModelError(f"model {signature.name!r}: OpenVINO does not read the graph: {reason}") from error

            def run(*tensors: torch.Tensor) -> list[torch.Tensor]:
                feed = {spec.name: tensor.numpy() for spec, tensor in zip(signature.inputs, tensors, strict=True)}
                answer = compiled(feed)
                return [torch.from_numpy(answer[spec.name].copy()) for spec in signature.outputs]

            return Exported(run, lambda path: path.write_bytes(xml.read_bytes()), {WEIGHTS_FILE: weights})

        return place(
            model,
            signature,
            converted,
            parity_inputs,
            repository,
            Provenance(
                source, source_sha256, precision, {**(settings or {}), "openvino": openvino.__version__}, files or {}
            ),
            tolerance=max(TOLERANCE, TOLERANCES[precision]),
            version=1,
            replace=replace,
        )
