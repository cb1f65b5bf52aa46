"""What every exported model passes before it is placed in the model repository, whatever its file format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from workshop.errors import ParityError, RepositoryError
from workshop.files import replacing, sha256_of
from workshop.triton.artefact import MODEL_FILES, Sidecar, read_sidecar, version_folder, write_sidecar
from workshop.triton.signature import ModelSignature, write_config

# largest absolute difference allowed between eager and traced outputs, by precision; both run the same kernels, so
# what is left comes from other blockings of the same sums
TOLERANCES = {"fp32": 1e-5, "bf16": 2e-2, "fp16": 5e-3}

Inputs = tuple[torch.Tensor, ...]
Run = Callable[..., torch.Tensor | Sequence[torch.Tensor]]


@dataclass(frozen=True)
class Exported:
    """A model in the form that a server runs.

    Attributes:
        run: takes the eager model's tensors and gives its outputs.
        save: writes the model's file.
    """

    run: Run
    save: Callable[[Path], None]


@dataclass(frozen=True)
class Provenance:
    """Where a model's weights come from, and what the export has frozen.

    Attributes:
        source: what the weights are, in words.
        source_sha256: hash of the weights.
        precision: precision of the weights.
        settings: further choices the graph has frozen.
    """

    source: str
    source_sha256: str
    precision: str
    settings: dict[str, str]


def check_parity(
    eager: nn.Module, exported: Run, inputs: dict[str, Inputs], tolerance: float, name: str
) -> dict[str, float]:
    """Compare eager and exported outputs on ``inputs``, which should differ in shape from the export's example.

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
                received = _as_tuple(exported(*tensors))
            except Exception as error:  # each runtime has exceptions of its own
                shapes = [tuple(tensor.shape) for tensor in tensors]
                raise ParityError(
                    f"model {name!r}: the exported model fails on {label} with shapes {shapes}: {_last_line(error)}",
                    hint="look for a size that the export has frozen",
                ) from error
        if [tuple(t.shape) for t in expected] != [tuple(t.shape) for t in received]:
            raise ParityError(
                f"model {name!r} on {label}: eager gives shapes {[tuple(t.shape) for t in expected]}, "
                f"exported gives {[tuple(t.shape) for t in received]}"
            )
        difference = max(
            (float((e - r).abs().max()) if e.numel() else 0.0) for e, r in zip(expected, received, strict=True)
        )
        if not difference <= tolerance:
            raise ParityError(
                f"model {name!r} on {label}: exported and eager differ by {difference:.3g}, allowed is {tolerance:.3g}",
                hint="look for a branch on values or a size that the export has frozen",
            )
        differences[label] = difference
    return differences


def place(
    model: nn.Module,
    signature: ModelSignature,
    export: Callable[[], Exported],
    parity_inputs: dict[str, Inputs],
    repository: Path,
    provenance: Provenance,
    *,
    tolerance: float,
    version: int,
    replace: bool,
) -> Sidecar:
    """Export a model, compare it with the eager one, and place it in the model repository with its sidecar.

    Args:
        model: the eager model in evaluation mode; it returns one tensor or a tuple, in the signature's order.
        signature: what the served model takes and gives.
        export: makes the servable form, and raises when a gate of its format refuses it.
        parity_inputs: named inputs unlike the example, at least two.
        repository: the model repository; ``config.pbtxt`` is written too.
        provenance: what the sidecar says of the weights.
        tolerance: largest absolute difference allowed.
        version: version number to write.
        replace: overwrite that version; without it an existing version is left alone.

    Raises:
        RepositoryError: the version exists and ``replace`` is false.
        TraceRefusedError: the model fails a gate; nothing was written.
    """
    folder = version_folder(repository, signature.name, version)
    file = folder / MODEL_FILES[signature.platform]
    if file.exists() and not replace:
        raise RepositoryError(
            f"model {signature.name!r} has a version {version} already",
            hint=f"pass replace=True to overwrite it, or version={version + 1} to add one",
        )
    if len(parity_inputs) < 2:
        raise ParityError(f"model {signature.name!r}: {len(parity_inputs)} parity inputs, expected at least 2")
    exported = export()
    parity = check_parity(model, exported.run, parity_inputs, tolerance, signature.name)
    with replacing(file) as aside:
        exported.save(aside)
        sidecar = Sidecar(
            model=signature.name,
            source=provenance.source,
            source_sha256=provenance.source_sha256,
            precision=provenance.precision,
            torch_version=torch.__version__,
            model_sha256=sha256_of(aside),
            signature=signature.config_text(),
            parity=parity,
            settings=provenance.settings,
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
    """Whether that version was made from the same weights, signature, settings and PyTorch, and is undamaged."""
    folder = version_folder(repository, signature.name, version)
    file = folder / MODEL_FILES[signature.platform]
    sidecar = read_sidecar(folder)
    return (
        sidecar is not None
        and file.is_file()
        and sidecar.source_sha256 == source_sha256
        and sidecar.precision == precision
        and sidecar.settings == (settings or {})
        and sidecar.signature == signature.config_text()
        and sidecar.torch_version == torch.__version__
        and sidecar.model_sha256 == sha256_of(file)
    )


def _as_tuple(output: torch.Tensor | Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    return (output,) if isinstance(output, torch.Tensor) else tuple(output)


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
