"""What every exported model passes before it is placed in the model repository, whatever its file format."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from workshop.errors import OutputMismatchError, ParityError, PrecisionLossError, RepositoryError
from workshop.files import replacing, sha256_of
from workshop.triton.artefact import (
    LEAST_FP32_COSINE,
    MODEL_FILES,
    ROUNDED,
    Sidecar,
    changed_files,
    read_sidecar,
    version_folder,
    write_sidecar,
)
from workshop.triton.signature import ModelSignature, TensorSpec, write_config

# largest absolute difference allowed between eager and traced outputs, by precision; both run the same kernels, so
# what is left comes from other blockings of the same sums. For int8 the eager model is the one in float32, and the
# cosine is what tells: 0.2 in one of 384 numbers is a rounded matrix, not a mistake
TOLERANCES = {"fp32": 1e-5, "bf16": 2e-2, "fp16": 5e-3, "int8": 0.2}
# lowest cosine allowed between rows of eager and exported outputs: a difference of 2e-2 in each of 384 numbers would
# let a cosine of 0.92 pass
LEAST_COSINES = {"fp32": 0.9999, "bf16": 0.999, "fp16": 0.999, "int8": 0.95}

Inputs = tuple[torch.Tensor, ...]
Outputs = tuple[torch.Tensor, ...]
Progress = Callable[[int, int], None]
"""Called with (inputs compared, inputs in all)."""

_DTYPES = {
    "BOOL": torch.bool,
    "UINT8": torch.uint8,
    "INT8": torch.int8,
    "INT16": torch.int16,
    "INT32": torch.int32,
    "INT64": torch.int64,
    "FP16": torch.float16,
    "FP32": torch.float32,
    "FP64": torch.float64,
}
Run = Callable[..., torch.Tensor | Sequence[torch.Tensor]]


@dataclass(frozen=True)
class Exported:
    """A model in the form that a server runs.

    Attributes:
        run: takes the eager model's tensors and gives its outputs.
        save: writes the model's file.
        companions: name to source of the files that the format keeps beside the model's file, such as its weights.
    """

    run: Run
    save: Callable[[Path], None]
    companions: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Provenance:
    """Where a model's weights come from, and what the export has frozen.

    Attributes:
        source: what the weights are, in words.
        source_sha256: hash of the weights.
        precision: precision of the weights.
        settings: further choices the graph has frozen.
        files: name to source of files that belong into the version folder, such as the tokenizer.
    """

    source: str
    source_sha256: str
    precision: str
    settings: dict[str, str]
    files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Agreement:
    """How near two models' outputs are.

    Attributes:
        difference: largest absolute difference.
        cosine: lowest cosine of two rows, the vectors along the last axis.
        rounding: how near a rounded model is to its weights in float32, where that was asked.
    """

    difference: float
    cosine: float
    rounding: Agreement | None = None

    @classmethod
    def of(cls, expected: Outputs, received: Outputs) -> Agreement:
        """Compare outputs of the same shapes; those without any number agree."""
        pairs = [pair for pair in zip(expected, received, strict=True) if pair[0].numel()]
        differences = [float((first - second).abs().max()) for first, second in pairs]
        cosines = [float(row_cosines(first, second).min()) for first, second in pairs]
        return cls(float(np.max([0.0, *differences])), float(np.min([1.0, *cosines])))  # NaN stays NaN


@dataclass(frozen=True)
class Whole:
    """What a model gives in float32: its rounded form is held against that, besides against itself before the export.

    Attributes:
        outputs: for each parity input's label.
        compared: takes inputs and outputs of the rounded form, and gives what is comparable with ``outputs``.
        least_cosine: lowest cosine of a row allowed.
        tolerance: largest absolute difference allowed.
    """

    outputs: Mapping[str, Outputs]
    compared: Callable[[Inputs, Outputs], Outputs] = lambda inputs, outputs: outputs
    least_cosine: float = LEAST_FP32_COSINE
    tolerance: float = math.inf

    @classmethod
    def of(cls, model: nn.Module, inputs: Mapping[str, Inputs], **options: object) -> Whole:
        """Ask the float32 model, which is not needed any more afterwards."""
        with torch.no_grad():
            return cls({label: _as_tuple(model(*tensors)) for label, tensors in inputs.items()}, **options)


def row_cosines(expected: torch.Tensor | np.ndarray, received: torch.Tensor | np.ndarray) -> torch.Tensor:
    """Cosine of each pair of rows, the vectors along the last axis.

    Args:
        expected: numbers ``[..., width]``; one number alone counts as a row of width 1.
        received: of the same shape.

    Returns:
        float64 ``[...]``. Rows of one number have no direction to speak of, and two rows of zeros agree: both are 1.
    """
    tensors = (torch.tensor(part) if isinstance(part, np.ndarray) else part for part in (expected, received))
    first, second = (tensor.to(torch.float64) for tensor in tensors)
    if first.ndim == 0 or first.shape[-1] == 1:
        return torch.ones(first.shape[:-1] or (1,), dtype=torch.float64)
    norms = first.norm(dim=-1), second.norm(dim=-1)
    both_zero = (norms[0] == 0) & (norms[1] == 0)
    cosines = (first * second).sum(dim=-1) / (norms[0] * norms[1]).clamp(min=torch.finfo(torch.float64).tiny)
    return torch.where(both_zero, torch.ones_like(cosines), cosines)


def check_outputs(model: nn.Module, signature: ModelSignature, inputs: dict[str, Inputs]) -> None:
    """Hold what the eager model returns against the signature, which the server and every client will believe.

    Raises:
        OutputMismatchError: ``forward`` returns something else than tensors, another number of them, or one of another
            rank, size or dtype; or it lost the batch axis.
    """
    for label, tensors in inputs.items():
        with torch.no_grad():
            result = model(*tensors)
        about = f"model {signature.name!r} on {label}"
        outputs = (result,) if isinstance(result, torch.Tensor) else result
        if not isinstance(outputs, tuple) or not all(isinstance(output, torch.Tensor) for output in outputs):
            raise OutputMismatchError(
                f"{about}: forward returns {_kind(result)}, expected a tensor or a tuple of tensors",
                hint="Triton's LibTorch backend takes nothing else: return (first, second) in the signature's order",
            )
        if len(outputs) != len(signature.outputs):
            names = ", ".join(spec.name for spec in signature.outputs)
            raise OutputMismatchError(f"{about}: forward returns {len(outputs)} tensors, the signature has {names}")
        rows = tensors[0].shape[0] if signature.max_batch_size else None
        for spec, output in zip(signature.outputs, outputs, strict=True):
            _check_output(about, spec, output, rows)


def _check_output(about: str, spec: TensorSpec, output: torch.Tensor, rows: int | None) -> None:
    dtype = _DTYPES.get(spec.dtype)
    if output.dtype != dtype:
        raise OutputMismatchError(
            f"{about}: output {spec.name!r} is {output.dtype}, the signature says {spec.dtype}",
            hint=f"return output.to({dtype})" if dtype else "give the signature a dtype that TorchScript has",
        )
    wanted = spec.dims if rows is None else (rows, *spec.dims)
    sizes = tuple(output.shape)
    if len(sizes) != len(wanted) or any(want not in (-1, size) for want, size in zip(wanted, sizes, strict=True)):
        raise OutputMismatchError(
            f"{about}: output {spec.name!r} has shape {list(sizes)}, the signature says {list(wanted)}",
            hint="change the signature's dims, or what forward returns; -1 is any size, the batch comes first",
        )


def _kind(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {', '.join(sorted({type(item).__name__ for item in value})) or 'nothing'}"
    return f"a {type(value).__name__}"


def check_parity(
    eager: nn.Module,
    exported: Run,
    inputs: dict[str, Inputs],
    tolerance: float,
    name: str,
    *,
    least_cosine: float = LEAST_COSINES["fp32"],
    progress: Progress = lambda done, wanted: None,
    whole: Whole | None = None,
) -> dict[str, Agreement]:
    """Compare eager and exported outputs on ``inputs``, which should differ in shape from the export's example.

    Returns:
        How near the outputs are, for each input's label; with ``whole`` to its outputs too.

    Raises:
        ParityError: outputs differ in shape, by more than ``tolerance``, or in a row's direction by a cosine below
            ``least_cosine``; or they are not finite.
    """
    agreements = {}
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
        found = Agreement.of(expected, received)
        if not found.difference <= tolerance:
            raise ParityError(
                f"model {name!r} on {label}: exported and eager differ by {found.difference:.3g}, allowed is "
                f"{tolerance:.3g}",
                hint="look for a branch on values or a size that the export has frozen",
            )
        if not found.cosine >= least_cosine:
            raise ParityError(
                f"model {name!r} on {label}: a row of the exported output has cosine {found.cosine:.6f} to the eager "
                f"one, expected at least {least_cosine}",
                hint="look for a branch on values or a size that the export has frozen",
            )
        if whole is not None:
            found = replace(found, rounding=Agreement.of(whole.outputs[label], whole.compared(tensors, received)))
        agreements[label] = found
        progress(len(agreements), len(inputs))
    return agreements


def check_rounding(found: Sequence[Agreement], whole: Whole, name: str, precision: str) -> float:
    """Judge how near a rounded model is to its weights in float32, on each parity input.

    Returns:
        The lowest cosine of a row to float32.

    Raises:
        PrecisionLossError: it is below what ``whole`` allows, or a number differs by more.
    """
    cosine = float(np.min([agreement.cosine for agreement in found]))
    difference = float(np.max([agreement.difference for agreement in found]))
    about, hint = f"model {name!r} at {precision} loses precision", "WORKSHOP_PRECISION=fp32"
    if not cosine >= whole.least_cosine:
        raise PrecisionLossError(
            f"{about}: lowest cosine to its float32 outputs {cosine:.6f}, expected at least {whole.least_cosine}",
            hint=hint,
        )
    if not difference <= whole.tolerance:
        raise PrecisionLossError(
            f"{about}: largest difference to its float32 outputs {difference:.3g}, allowed is {whole.tolerance:.3g}",
            hint=hint,
        )
    return cosine


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
    progress: Progress = lambda done, wanted: None,
    whole: Whole | None = None,
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
        progress: of the comparison.
        whole: what the same weights give in float32, where ``model`` is rounded.

    Raises:
        RepositoryError: the version exists and ``replace`` is false.
        TraceRefusedError: the model fails a gate; nothing was written.
    """
    folder = version_folder(repository, signature.name, version)
    file = folder / model_file(signature)
    if file.exists() and not replace:
        raise RepositoryError(
            f"model {signature.name!r} has a version {version} already",
            hint=f"pass replace=True to overwrite it, or version={version + 1} to add one",
        )
    if len(parity_inputs) < 2:
        raise ParityError(f"model {signature.name!r}: {len(parity_inputs)} parity inputs, expected at least 2")
    if whole is None and any(part.dtype in (torch.bfloat16, torch.float16) for part in model.parameters()):
        raise ParityError(
            f"model {signature.name!r} is rounded, and what its weights give in float32 is not known",
            hint="trace_and_save(..., whole=Whole.of(model_in_float32, parity_inputs))",
        )
    check_outputs(model, signature, parity_inputs)
    exported = export()
    parity = check_parity(
        model,
        exported.run,
        parity_inputs,
        tolerance,
        signature.name,
        least_cosine=LEAST_COSINES[provenance.precision],
        progress=progress,
        whole=whole,
    )
    if whole is None:
        fp32_cosine = min(agreement.cosine for agreement in parity.values())
    else:
        rounding = [agreement.rounding for agreement in parity.values()]
        fp32_cosine = check_rounding(rounding, whole, signature.name, provenance.precision)
    # all files are written aside before the first takes its place
    with ExitStack() as parts:
        aside = parts.enter_context(replacing(file))
        exported.save(aside)
        hashes = {}
        for name, origin in {**provenance.files, **exported.companions}.items():
            copy = parts.enter_context(replacing(folder / name))
            copy.write_bytes(origin.read_bytes())
            hashes[name] = sha256_of(copy)
        sidecar = Sidecar(
            model=signature.name,
            source=provenance.source,
            source_sha256=provenance.source_sha256,
            precision=provenance.precision,
            torch_version=torch.__version__,
            model_sha256=sha256_of(aside),
            signature=signature.config_text(),
            parity={label: agreement.difference for label, agreement in parity.items()},
            cosines={label: agreement.cosine for label, agreement in parity.items()},
            settings=provenance.settings,
            facts=dict(signature.parameters),
            files=hashes,
            fp32_cosine=fp32_cosine,
        )
    write_sidecar(folder, sidecar)
    write_config(signature, repository)
    return sidecar


def model_file(signature: ModelSignature) -> str:
    """Name of the model's file in its version folder."""
    return MODEL_FILES[signature.platform or signature.backend]


def is_current(
    signature: ModelSignature,
    repository: Path,
    *,
    source_sha256: str,
    precision: str,
    settings: dict[str, str] | None = None,
    version: int = 1,
) -> bool:
    """Whether that version was made from the same weights, signature, settings and PyTorch, and is undamaged.

    TorchScript files of rounded models were once compared with the rounded model alone: those are not current.
    """
    folder = version_folder(repository, signature.name, version)
    file = folder / model_file(signature)
    try:
        sidecar = read_sidecar(folder)
    except RepositoryError:
        return False  # of another format or damaged: to be written anew
    return (
        sidecar is not None
        and file.is_file()
        and sidecar.source_sha256 == source_sha256
        and sidecar.precision == precision
        and not (precision in ROUNDED and sidecar.fp32_cosine is None and signature.platform == "pytorch_libtorch")
        and sidecar.settings == (settings or {})
        and sidecar.signature == signature.config_text()
        and sidecar.torch_version == torch.__version__
        and sidecar.model_sha256 == sha256_of(file)
        and not changed_files(folder, sidecar)
    )


def reuse(
    signature: ModelSignature,
    repository: Path,
    *,
    source_sha256: str,
    precision: str,
    settings: dict[str, str] | None = None,
) -> Sidecar | None:
    """The sidecar of version 1 where that is current, as :func:`is_current` says; ``None``: it is to be exported.

    Its ``config.pbtxt`` may have become another model's since the export, by a checkout of the committed one for
    instance: then it is written anew.
    """
    if not is_current(signature, repository, source_sha256=source_sha256, precision=precision, settings=settings):
        return None
    write_config(signature, repository)
    return read_sidecar(version_folder(repository, signature.name, 1))


def _as_tuple(output: torch.Tensor | Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    return (output,) if isinstance(output, torch.Tensor) else tuple(output)


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
