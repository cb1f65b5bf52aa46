"""What a TensorRT plan is built from and held against: a graph that is FP16 already, the shapes, and expected answers.

TensorRT 11 takes every network at the types that its graph has, so the graph is exported from a float16 model. The plan
itself is built on the machine that serves it, by ``scripts/build_tensorrt.sh``; its answers come back as ``trtexec``
writes them, pass the gates here, and only then the plan is placed.

https://docs.nvidia.com/deeplearning/tensorrt/latest/reference/command-line-programs.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import onnx
import torch
from torch import nn

from workshop.errors import ModelError, ParityError
from workshop.export.gates import LEAST_COSINES, TOLERANCES, Exported, Inputs, Provenance, check_parity, place
from workshop.export.onnx import as_exported, check_graph, export_traced
from workshop.files import replacing, write_text
from workshop.triton.artefact import Sidecar
from workshop.triton.signature import ModelSignature

GRAPH, PLAN, ARGUMENTS, CASES = "model.onnx", "model.plan", "trtexec.arguments", "cases"
WORKSPACE_MB = 2048
PRECISION = "fp16"


def shape_arguments(signature: ModelSignature, rows: tuple[int, int, int], lengths: tuple[int, int, int]) -> list[str]:
    """``trtexec``'s options for the smallest, the commonest and the largest shapes that the plan serves.

    Args:
        signature: whose inputs they are; free dims take a length.
        rows: smallest, commonest and largest batch.
        lengths: likewise of the free axes.

    Raises:
        ModelError: the sizes do not grow, or exceed what the signature allows.
    """
    longest = max((spec.longest or lengths[2]) for spec in signature.inputs)
    for what, sizes, limit in (("rows", rows, signature.max_batch_size), ("lengths", lengths, longest)):
        if not 1 <= sizes[0] <= sizes[1] <= sizes[2] <= limit:
            raise ModelError(
                f"model {signature.name!r}: {what} {sizes}, expected smallest, commonest and largest, at most {limit}"
            )
    arguments = []
    for option, count, length in zip(("min", "opt", "max"), rows, lengths, strict=True):
        shapes = ",".join(
            f"{spec.name}:{'x'.join(str(length if size == -1 else size) for size in (count, *spec.dims))}"
            for spec in signature.inputs
        )
        arguments.append(f"--{option}Shapes={shapes}")
    return arguments


def write_work(
    half: nn.Module,
    eager: nn.Module,
    signature: ModelSignature,
    example: Inputs,
    parity_inputs: dict[str, Inputs],
    folder: Path,
    *,
    rows: tuple[int, int, int],
    lengths: tuple[int, int, int],
    tolerance: float = TOLERANCES[PRECISION],
) -> onnx.ModelProto:
    """Write what the build needs: the FP16 graph, ``trtexec``'s options, and inputs with the answers expected of them.

    The graph is run here by ONNX Runtime and compared with the float32 model before anything is written.

    Args:
        half: the model in float16.
        eager: the same weights in float32.
        signature: of the served plan.
        example: inputs to export with.
        parity_inputs: named inputs within the shapes asked for.
        folder: where to write.
        rows: smallest, commonest and largest batch.
        lengths: smallest, commonest and largest length.
        tolerance: largest absolute difference allowed.

    Returns:
        The graph.

    Raises:
        TraceRefusedError: the graph fails a gate; nothing was written.
        ModelError: the sizes do not fit the signature.
    """
    arguments = [
        f"--onnx=/work/{GRAPH}",
        f"--saveEngine=/work/{PLAN}",
        "--stronglyTyped",  # TensorRT 11 has nothing else, 10 wants to be asked
        f"--memPoolSize=workspace:{WORKSPACE_MB}",
        *shape_arguments(signature, rows, lengths),
    ]
    graph = export_traced(half, signature, example)
    check_graph(graph, signature)
    check_parity(
        eager,
        as_exported(graph, signature).run,
        parity_inputs,
        tolerance,
        signature.name,
        least_cosine=LEAST_COSINES[PRECISION],
    )
    with replacing(folder / GRAPH) as aside:
        aside.write_bytes(graph.SerializeToString())
    write_text(folder / ARGUMENTS, "\n".join(arguments) + "\n")
    cases = [_write_case(folder, number, signature, tensors) for number, tensors in enumerate(parity_inputs.values())]
    write_text(folder / CASES, "\n".join(cases) + "\n")
    return graph


def _write_case(folder: Path, number: int, signature: ModelSignature, tensors: Inputs) -> str:
    """Write a case's inputs as raw bytes; returns its line: number, ``--shapes`` and ``--loadInputs``."""
    shapes, loads = [], []
    for spec, tensor in zip(signature.inputs, tensors, strict=True):
        name = f"case{number}.{spec.name}.bin"
        with replacing(folder / name) as aside:
            aside.write_bytes(tensor.contiguous().numpy().tobytes())
        shapes.append(f"{spec.name}:{'x'.join(map(str, tensor.shape))}")
        loads.append(f"{spec.name}:/work/{name}")
    return f"{number} --shapes={','.join(shapes)} --loadInputs={','.join(loads)}"


def read_answers(file: Path, signature: ModelSignature) -> list[torch.Tensor]:
    """The outputs that ``trtexec --exportOutput`` wrote, in the signature's order.

    Raises:
        ParityError: the file is missing, or lacks an output, or an output has other sizes than numbers.
    """
    try:
        found = {entry["name"]: entry for entry in json.loads(file.read_text(encoding="utf-8"))}
        answers = []
        for spec in signature.outputs:
            sizes = [int(size) for size in found[spec.name]["dimensions"].split("x")]
            answers.append(torch.tensor(found[spec.name]["values"], dtype=torch.float32).reshape(sizes))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ParityError(
            f"{file} does not hold the outputs {[spec.name for spec in signature.outputs]}: {error!r}",
            hint="scripts/build_tensorrt.sh, and read what trtexec prints",
        ) from error
    return answers


def place_plan(
    eager: nn.Module,
    signature: ModelSignature,
    parity_inputs: dict[str, Inputs],
    folder: Path,
    repository: Path,
    *,
    source: str,
    source_sha256: str,
    target: Mapping[str, str],
    files: Mapping[str, Path] | None = None,
    replace: bool = False,
    tolerance: float = TOLERANCES[PRECISION],
) -> Sidecar:
    """Hold a built plan's answers against the float32 model, and place it in the model repository.

    Args:
        eager: the model in float32.
        signature: of the served plan.
        parity_inputs: the inputs that ``write_work`` was given.
        folder: where it wrote, and where the build left the plan and ``answerN.json``.
        repository: the model repository; ``config.pbtxt`` is written too.
        source: what the weights are, in words.
        source_sha256: hash of the weights.
        target: what the plan was built for: GPU and TensorRT, for the sidecar.
        files: name to source of files that belong into the version folder, such as the tokenizer.
        replace: overwrite the version; without it an existing one is left alone.
        tolerance: largest absolute difference allowed.

    Raises:
        ModelError: there is no plan.
        RepositoryError: the version exists and ``replace`` is false.
        TraceRefusedError: the plan's answers fail a gate; nothing was written.
    """
    plan = folder / PLAN
    if not plan.is_file():
        raise ModelError(f"{folder} holds no {PLAN}", hint="scripts/build_tensorrt.sh, on a machine with a GPU")
    numbers = {id(tensors[0]): number for number, tensors in enumerate(parity_inputs.values())}

    def built() -> Exported:
        def answered(*tensors: torch.Tensor) -> list[torch.Tensor]:
            return read_answers(folder / f"answer{numbers[id(tensors[0])]}.json", signature)

        return Exported(answered, lambda path: path.write_bytes(plan.read_bytes()))

    return place(
        eager,
        signature,
        built,
        parity_inputs,
        repository,
        Provenance(source, source_sha256, PRECISION, dict(target), files or {}),
        tolerance=tolerance,
        version=1,
        replace=replace,
    )
