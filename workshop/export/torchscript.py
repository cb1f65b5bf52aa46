"""From an eager model to a TorchScript file that Triton's LibTorch backend serves on CPU and on GPU.

TorchScript is deprecated in PyTorch and is still what Triton's LibTorch backend reads; ``export`` is the only place
that calls it. A trace that would not serve correctly is refused before anything is written.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import nn

from workshop.errors import DeviceConstantError, ForbiddenOpError, ModelError
from workshop.export.gates import TOLERANCES, Exported, Inputs, Progress, Provenance, Whole, place
from workshop.triton.artefact import Sidecar
from workshop.triton.known_file import check_known
from workshop.triton.signature import ModelSignature


def export(model: nn.Module, example: Inputs) -> torch.jit.ScriptModule:
    """Trace ``model`` with ``example`` inputs; sizes stay free as far as the model's code leaves them free."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=FutureWarning)
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        return torch.jit.trace(model, example, check_trace=False)


def load_traced(path: Path, device: str = "cpu") -> torch.jit.ScriptModule:
    """Read a TorchScript file that lies beside its sidecar, or beside its hash.

    Raises:
        ModelError: the file is missing, of unknown source, altered or not TorchScript.
    """
    try:
        check_known(path)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*torch\.jit.*")
            return torch.jit.load(path, map_location=device).eval()
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(f"{path} is not a TorchScript file to read: {error}", hint="trace the model again") from error


def graph_nodes(traced: torch.jit.ScriptModule) -> Iterator[torch._C.Node]:
    """Every node of the inlined graph, those inside loops and branches included."""
    graph = traced.inlined_graph  # owns its nodes, which become invalid once nothing refers to it
    blocks = [graph]
    while blocks:
        for node in blocks.pop().nodes():
            yield node
            blocks.extend(node.blocks())


def check_graph(traced: torch.jit.ScriptModule, name: str) -> None:
    """Refuse a graph that runs on one kind of device only, or that a plain LibTorch cannot run.

    Raises:
        DeviceConstantError: the graph holds a device constant.
        ForbiddenOpError: an operator is outside ``aten::`` and ``prim::``.
    """
    for node in graph_nodes(traced):
        if not node.kind().startswith(("aten::", "prim::")):
            raise ForbiddenOpError(
                f"model {name!r} uses {node.kind()}, which Triton's LibTorch backend does not have",
                hint="write the step with torch operators only",
            )
        if node.kind() == "prim::Constant" and node.output().type().kind() == "DeviceObjType":
            users = ", ".join(sorted({use.user.kind() for use in node.output().uses()})) or "nothing"
            raise DeviceConstantError(
                f"model {name!r}: device {node.output().toIValue()} is frozen into the graph, used by {users}",
                hint="derive devices from an input tensor inside forward, and expand masks in the wrapper",
            )


def trace_and_save(
    model: nn.Module,
    signature: ModelSignature,
    example: Inputs,
    parity_inputs: dict[str, Inputs],
    repository: Path,
    *,
    source: str,
    source_sha256: str,
    precision: str = "fp32",
    settings: dict[str, str] | None = None,
    tolerance: float | None = None,
    version: int = 1,
    replace: bool = False,
    files: Mapping[str, Path] | None = None,
    progress: Progress = lambda done, wanted: None,
    whole: Whole | None = None,
) -> Sidecar:
    """Trace a model, pass it through the gates, and place it in the model repository.

    Args:
        model: the eager model in evaluation mode; it returns one tensor or a tuple, in the signature's order.
        signature: what the served model takes and gives.
        example: inputs to trace with, in the signature's order.
        parity_inputs: named inputs unlike the example, at least two.
        repository: the model repository; ``config.pbtxt`` is written too.
        source: what the weights are, in words.
        source_sha256: hash of the weights.
        precision: precision of the weights, which picks the parity tolerance unless ``tolerance`` is given.
        settings: further choices the graph has frozen.
        tolerance: largest absolute difference allowed.
        version: version number to write.
        replace: overwrite that version; without it an existing version is left alone.
        files: name to source of files that belong into the version folder, such as the tokenizer.
        progress: of the comparison with the eager model.
        whole: what the same weights give in float32, where ``model`` is rounded.

    Raises:
        RepositoryError: the version exists and ``replace`` is false.
        TraceRefusedError: the trace fails a gate; nothing was written.
    """

    def traced() -> Exported:
        module = export(model, example)
        check_graph(module, signature.name)
        # torch's own writing to a file ends the process when the disk is full
        return Exported(module, lambda path: path.write_bytes(module.save_to_buffer()))

    return place(
        model,
        signature,
        traced,
        parity_inputs,
        repository,
        Provenance(source, source_sha256, precision, settings or {}, files or {}),
        tolerance=TOLERANCES[precision] if tolerance is None else tolerance,
        version=version,
        replace=replace,
        progress=progress,
        whole=whole,
    )
