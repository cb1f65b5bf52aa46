"""Make both ways of the vision transformer ready to serve, from one checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch

from workshop.export.gates import Inputs, reuse
from workshop.export.onnx import export_and_save
from workshop.files import replacing
from workshop.settings import Settings
from workshop.triton.artefact import Sidecar, version_folder
from workshop.triton.signature import write_config
from workshop.vision import vit_signatures
from workshop.vision.vit import VitCheckpoint, VitFeatures, load_vit, shape_of, vit_checkpoint
from workshop.vision.vit_signatures import CHECKPOINT_FILES, PROCESSOR_FILE, VitShape

PARITY_BATCHES = {"one picture": 1, "seven pictures": 7}


def prepare_vit(settings: Settings, *, force: bool = False) -> Sidecar:
    """Export ``vit`` and place it, ``vit_preprocessing``, ``ensemble_vit`` and ``python_vit`` in the model repository.

    Args:
        settings: which checkpoint, and the repository.
        force: export again although the repository holds the same model.

    Raises:
        ModelSourceError: the checkpoint is not to be had.
        TraceRefusedError: the export fails a gate; the repository keeps what it had.
    """
    checkpoint = vit_checkpoint(settings.vit_model, settings.checkpoint_dir)
    model = load_vit(checkpoint)
    shape, repository = shape_of(model), settings.model_repository
    signature = vit_signatures.vit(shape)
    sidecar = None if force else reuse(signature, repository, source_sha256=checkpoint.sha256, precision="fp32")
    if sidecar is None:
        sidecar = export_and_save(
            VitFeatures(model).eval(),
            signature,
            _noise(shape, 2),
            {label: _noise(shape, rows) for label, rows in PARITY_BATCHES.items()},
            repository,
            source=checkpoint.name,
            source_sha256=checkpoint.sha256,
            replace=True,
        )
    place_pipeline(checkpoint, shape, repository)
    return sidecar


def place_pipeline(checkpoint: VitCheckpoint, shape: VitShape, repository: Path, version: int = 1) -> None:
    """Put the checkpoint's files beside the Python models, and the configurations of all but ``vit`` in place."""
    files = {"python_vit": CHECKPOINT_FILES, "vit_preprocessing": (PROCESSOR_FILE,)}
    for name, needed in files.items():
        for file in needed:
            with replacing(version_folder(repository, name, version) / file) as aside:
                aside.write_bytes((checkpoint.folder / file).read_bytes())
    for make in (vit_signatures.python_vit, vit_signatures.vit_preprocessing, vit_signatures.ensemble_vit):
        write_config(make(shape), repository)
    version_folder(repository, "ensemble_vit", version).mkdir(parents=True, exist_ok=True)


def _noise(shape: VitShape, rows: int) -> Inputs:
    """float32 ``[rows, 3, size, size]`` between -1 and 1, other numbers for other rows."""
    generator = torch.Generator().manual_seed(rows)
    return (torch.rand(rows, 3, shape.size, shape.size, generator=generator) * 2 - 1,)
