"""The endpoint's core as a TensorRT plan: what it is built from, and the check of what was built.

Both ends of ``scripts/build_tensorrt.sh core``, which builds on the endpoint's kind of GPU, in a container whose
TensorRT is the endpoint's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from workshop.errors import ModelSourceError
from workshop.export import tensorrt
from workshop.export.gates import is_current
from workshop.settings import Settings
from workshop.text.endpoint.signatures import endpoint_models
from workshop.text.prepare import EXAMPLE_TEXTS, sentence_inputs, sentence_parity_inputs, sentence_source
from workshop.text.sentiment.prepare import sentence_encoder
from workshop.text.sources import TextModelSource
from workshop.triton.artefact import Sidecar, read_sidecar, version_folder
from workshop.triton.signature import ModelSignature

ROWS, LENGTHS = (1, 4), (1, 64)
"""Smallest and commonest batch and length of a plan; the largest are those of the model."""
TOLERANCE = 5e-2
"""Largest absolute difference of a number in a token's vector, which reaches 5 before the pooling; float16 keeps three
decimal places of it."""


def prepare_core_plan(settings: Settings, folder: Path) -> str:
    """Write the FP16 graph, the options and the parity inputs of the core into the build's work folder.

    Returns:
        What was done, in words.

    Raises:
        ModelSourceError: the weights are not to be had.
        TraceRefusedError: the FP16 graph fails a gate; nothing was written.
    """
    source = sentence_source(settings)
    core = _core(source)
    longest = source.encoding.max_tokens
    tokenizer = source.tokenizer()
    cases = sentence_parity_inputs(tokenizer)
    tensorrt.write_work(
        sentence_encoder(source, tensorrt.PRECISION),
        sentence_encoder(source, "fp32"),
        core,
        sentence_inputs(tokenizer, EXAMPLE_TEXTS),
        cases,
        folder,
        rows=(*ROWS, core.max_batch_size),
        lengths=(LENGTHS[0], min(LENGTHS[1], longest), longest),
        tolerance=TOLERANCE,
    )
    return f"{folder}: FP16 graph of the endpoint's core, options and {len(cases)} cases"


def place_core_plan(settings: Settings, folder: Path, repository: Path, target: Mapping[str, str]) -> Sidecar:
    """Hold the built plan's answers against the float32 model, and place it in the archive's repository.

    Args:
        settings: which sentence model.
        folder: the build's work folder.
        repository: of the archive with the plan.
        target: what the plan was built for: GPU and TensorRT.

    Raises:
        ModelError: there is no plan.
        TraceRefusedError: the plan's answers fail a gate; nothing was written.
    """
    source = sentence_source(settings)
    return tensorrt.place_plan(
        sentence_encoder(source, "fp32"),
        _core(source),
        sentence_parity_inputs(source.tokenizer()),
        folder,
        repository,
        source=source.name,
        source_sha256=source.sha256,
        target=target,
        replace=True,
        tolerance=TOLERANCE,
    )


def check_core_plan(source: TextModelSource, core: ModelSignature, repository: Path) -> None:
    """Refuse a repository whose core is no plan of these weights that passed the gates.

    Raises:
        ModelSourceError: it is not.
    """
    sidecar = read_sidecar(version_folder(repository, core.name, 1))
    if sidecar is None or not is_current(
        core, repository, source_sha256=source.sha256, precision=tensorrt.PRECISION, settings=sidecar.settings
    ):
        raise ModelSourceError(
            f"{repository} holds no TensorRT plan of {source.name} that was checked and left as it was",
            hint="scripts/build_tensorrt.sh core, on the endpoint's kind of GPU; or pack the core as ONNX",
        )


def _core(source: TextModelSource) -> ModelSignature:
    return endpoint_models(source.encoding, "tensorrt").core
