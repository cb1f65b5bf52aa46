"""From an eager model to a package of ahead-of-time Inductor, which Triton's PyTorch backend serves as ``torch_aoti``.

The package is machine code for this processor, so it needs a C++ compiler here, and a machine with the same
instructions where it is served: the sidecar names them, and whoever loads the package compares.

https://docs.pytorch.org/docs/stable/torch.compiler_aot_inductor.html
"""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import nn
from torch._inductor.exc import InductorError
from torch._inductor.utils import fresh_cache

from workshop.errors import CompiledTargetError, CompilerMissingError, ModelError
from workshop.export.gates import TOLERANCES, Exported, Inputs, Provenance, place
from workshop.export.quiet import errors_only
from workshop.triton.artefact import Sidecar
from workshop.triton.compiled_target import check, processor
from workshop.triton.signature import ModelSignature

# TorchScript and Inductor fuse the same sums differently
TOLERANCE = 1e-4


class Positional(nn.Module):
    """A model whose results come as a tuple, also where it is one tensor: Triton then knows it as ``RESULT[0]``."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The model's tensors in, its results as a tuple out."""
        results = self.model(*tensors)
        return (results,) if isinstance(results, torch.Tensor) else tuple(results)


def here() -> dict[str, str]:
    """What a package made by this process is made for: processor and PyTorch, as the sidecar's settings."""
    return {**processor(), "torch": torch.__version__}


def compiler() -> str:
    """The C++ compiler that Inductor calls.

    Raises:
        CompilerMissingError: this machine has none.
    """
    name = os.environ.get("CXX", "g++")
    path = shutil.which(name)
    if path is None:
        raise CompilerMissingError(
            f"compiling a model ahead of time needs a C++ compiler, and {name} is not on the PATH",
            hint="install g++ (Debian: apt-get install g++, as root; JupyterLab's image has none), or name another "
            "one with the variable CXX; the other formats need none",
        )
    return path


def export(model: nn.Module, signature: ModelSignature, example: Inputs) -> torch.export.ExportedProgram:
    """Export ``model`` with batch and sizes as free as the signature leaves them.

    Args:
        model: in evaluation mode; takes the signature's inputs and returns its outputs, in that order.
        signature: batch limit and dims of the inputs.
        example: tensors of at least two rows; the exporter takes a size of 1 for a constant.

    Raises:
        ModelError: the model's code fixes a size that the signature leaves free, or does not export.
    """
    first = 1 if signature.max_batch_size else 0
    free = torch.export.Dim.DYNAMIC
    shapes = tuple(
        {
            **({0: free} if first else {}),
            **{first + axis: free for axis, size in enumerate(spec.dims) if size == -1},
        }
        for spec in signature.inputs
    )
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the exporter warns of its own internals
            return torch.export.export(Positional(model).eval(), example, dynamic_shapes=(shapes,))
    except (torch._dynamo.exc.UserError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"model {signature.name!r} does not export: {reason}") from error


def compile_program(program: torch.export.ExportedProgram, target: Path, name: str) -> None:
    """Compile an exported program into a package at ``target``, whose name ends in ``.pt2``; takes half a minute.

    Nothing is left in the compiler's cache, also when it fails.

    Raises:
        CompilerMissingError: there is no C++ compiler.
        ModelError: the compiler refuses the program.
    """
    compiler()
    # a package that is served by several instances shares the cores with them: threads are counted when it runs
    options = {"cpp.dynamic_threads": True}
    try:
        with fresh_cache(), errors_only("torch._inductor"), warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch._inductor.aoti_compile_and_package(program, package_path=str(target), inductor_configs=options)
    except (InductorError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"model {name!r} does not compile: {reason}") from error


def load_package(file: Path) -> Callable[..., tuple[torch.Tensor, ...]]:
    """Load a placed package, after a look at what it was made for.

    Raises:
        CompiledTargetError: it is missing, altered, or made for another machine or PyTorch.
        ModelError: it is not a package.
    """
    try:
        check(file, here())
    except ValueError as error:
        raise CompiledTargetError(str(error)) from error
    return _load(file)


def compile_and_save(
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
    version: int = 1,
    replace: bool = False,
    files: Mapping[str, Path] | None = None,
) -> Sidecar:
    """Compile a model, pass it through the gates, and place it in the model repository.

    Arguments and errors are those of :func:`workshop.export.torchscript.trace_and_save`, and besides:

    Raises:
        CompilerMissingError: there is no C++ compiler; nothing was written.
        ModelError: the model does not export or compile; nothing was written.
    """
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "model.pt2"

        def compiled() -> Exported:
            compile_program(export(model, signature, example), package, signature.name)
            return Exported(_load(package), lambda path: path.write_bytes(package.read_bytes()))

        return place(
            model,
            signature,
            compiled,
            parity_inputs,
            repository,
            Provenance(source, source_sha256, precision, {**(settings or {}), **here()}, files or {}),
            tolerance=max(TOLERANCE, TOLERANCES[precision]),
            version=version,
            replace=replace,
        )


def _load(file: Path) -> Callable[..., tuple[torch.Tensor, ...]]:
    try:
        package = torch._inductor.aoti_load_package(str(file))
    except RuntimeError as error:
        raise ModelError(f"{file} is not a readable package: {error}", hint="compile it again") from error

    def run(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.inference_mode():
            return tuple(package(*tensors))

    return run
