"""From an eager model to a TorchScript file that Triton's LibTorch backend serves on CPU and on GPU.

TorchScript is deprecated in PyTorch and is still what Triton's LibTorch backend reads; ``export`` is the only place
that calls it. A trace that would not serve correctly is refused before anything is written.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import nn

from workshop.errors import DeviceConstantError, ForbiddenOpError, ModelError, ParityError, RepositoryError
from workshop.files import replacing, sha256_of
from workshop.triton.artefact import MODEL_FILE, Sidecar, read_sidecar, version_folder, write_sidecar
from workshop.triton.signature import ModelSignature, write_config

# largest absolute difference allowed between eager and traced outputs, by precision; both run the same kernels, so
# what is left comes from other blockings of the same sums
TOLERANCES = {"fp32": 1e-5, "bf16": 2e-2, "fp16": 5e-3}

Inputs = tuple[torch.Tensor, ...]


def export(model: nn.Module, example: Inputs) -> torch.jit.ScriptModule:
    """Trace ``model`` with ``example`` inputs; sizes stay free as far as the model's code leaves them free."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=FutureWarning)
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        return torch.jit.trace(model, example, check_trace=False)


def load_traced(path: Path, device: str = "cpu") -> torch.jit.ScriptModule:
    """Read a TorchScript file.

    Raises:
        ModelError: the file is missing or is not TorchScript.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*torch\.jit.*")
            return torch.jit.load(path, map_location=device).eval()
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(f"{path} is not a readable TorchScript file: {error}", hint="trace the model again") from error


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


def check_parity(
    eager: nn.Module, traced: torch.jit.ScriptModule, inputs: dict[str, Inputs], tolerance: float, name: str
) -> dict[str, float]:
    """Compare eager and traced outputs on ``inputs``, which should differ in shape from the trace example.

    Returns:
        The largest absolute difference for each input's label.

    Raises:
        ParityError: outputs differ in shape, or by more than ``tolerance``, or are not finite.
    """
    differences = {}
    for label, tensors in inputs.items():
        with torch.no_grad():
            expected = _as_tuple(eager(*tensors))
            try:
                received = _as_tuple(traced(*tensors))
            except RuntimeError as error:
                shapes = [tuple(tensor.shape) for tensor in tensors]
                raise ParityError(
                    f"model {name!r}: the traced model fails on {label} with shapes {shapes}: {_last_line(error)}",
                    hint="look for a size that tracing has frozen",
                ) from error
        if [tuple(t.shape) for t in expected] != [tuple(t.shape) for t in received]:
            raise ParityError(
                f"model {name!r} on {label}: eager gives shapes {[tuple(t.shape) for t in expected]}, "
                f"traced gives {[tuple(t.shape) for t in received]}"
            )
        difference = max(
            (float((e - r).abs().max()) if e.numel() else 0.0) for e, r in zip(expected, received, strict=True)
        )
        if not difference <= tolerance:
            raise ParityError(
                f"model {name!r} on {label}: traced and eager differ by {difference:.3g}, allowed is {tolerance:.3g}",
                hint="look for a branch on values or a size that tracing has frozen",
            )
        differences[label] = difference
    return differences


def _as_tuple(output: torch.Tensor | Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    return (output,) if isinstance(output, torch.Tensor) else tuple(output)


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]


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

    Raises:
        RepositoryError: the version exists and ``replace`` is false.
        TraceRefusedError: the trace fails a gate; nothing was written.
    """
    folder = version_folder(repository, signature.name, version)
    if (folder / MODEL_FILE).exists() and not replace:
        raise RepositoryError(
            f"model {signature.name!r} has a version {version} already",
            hint=f"pass replace=True to overwrite it, or version={version + 1} to add one",
        )
    if len(parity_inputs) < 2:
        raise ParityError(f"model {signature.name!r}: {len(parity_inputs)} parity inputs, expected at least 2")
    traced = export(model, example)
    check_graph(traced, signature.name)
    parity = check_parity(
        model, traced, parity_inputs, TOLERANCES[precision] if tolerance is None else tolerance, signature.name
    )

    with replacing(folder / MODEL_FILE) as aside:
        traced.save(str(aside))
        sidecar = Sidecar(
            model=signature.name,
            source=source,
            source_sha256=source_sha256,
            precision=precision,
            torch_version=torch.__version__,
            model_sha256=sha256_of(aside),
            signature=signature.config_text(),
            parity=parity,
            settings=settings or {},
        )
    write_sidecar(folder, sidecar)
    write_config(signature, repository)
    return sidecar


def is_current(
    signature: ModelSignature,
    repository: Path,
    *,
    source_sha256: str,
    precision: str,
    settings: dict[str, str] | None = None,
    version: int = 1,
) -> bool:
    """Whether that version was traced from the same weights, signature, settings and PyTorch, and is undamaged."""
    folder = version_folder(repository, signature.name, version)
    sidecar = read_sidecar(folder)
    return (
        sidecar is not None
        and (folder / MODEL_FILE).is_file()
        and sidecar.source_sha256 == source_sha256
        and sidecar.precision == precision
        and sidecar.settings == (settings or {})
        and sidecar.signature == signature.config_text()
        and sidecar.torch_version == torch.__version__
        and sidecar.model_sha256 == sha256_of(folder / MODEL_FILE)
    )
