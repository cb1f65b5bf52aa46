"""Make the image classifier ready to serve: trace it unless the repository already holds the same one."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from workshop.export.gates import Inputs, reuse
from workshop.export.torchscript import trace_and_save
from workshop.files import write_text
from workshop.settings import Settings
from workshop.triton.artefact import Sidecar, version_folder
from workshop.triton.signature import ModelSignature, write_config
from workshop.vision import preprocessing, signatures
from workshop.vision.preprocessing import Preprocessing
from workshop.vision.sources import ImageModel, image_model

# convolutions choose their algorithm by batch size, and other algorithms add in another order
TOLERANCE = 1e-4
EXAMPLE_BATCH = 2
PARITY_BATCHES = {"one picture": 1, "five pictures": 5}


class Probabilities(nn.Module):
    """A classifier whose outputs are probabilities: float32 ``[batch, 3, height, width]`` to ``[batch, classes]``."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Softmax over the classes."""
        return torch.softmax(self.classifier(image), dim=1)


def prepare_image_classifier(settings: Settings, *, force: bool = False) -> Sidecar:
    """Trace ``image_classifier`` and place it, its labels, its decoder and the ensemble in the model repository.

    Args:
        settings: which model, and the repository.
        force: trace again although the repository holds the same model.

    Raises:
        ModelSourceError: the weights are not to be had.
        TraceRefusedError: the trace fails a gate; the repository keeps what it had.
    """
    model = image_model(settings.image_model)
    repository = settings.model_repository
    signature = signatures.image_classifier(model.preprocessing, len(model.labels))
    sidecar = None if force else reuse(signature, repository, source_sha256=model.sha256, precision="fp32")
    if sidecar is None:
        sidecar = trace_and_save(
            Probabilities(model.module).eval(),
            signature,
            _noise(model.preprocessing, EXAMPLE_BATCH),
            {label: _noise(model.preprocessing, rows) for label, rows in PARITY_BATCHES.items()},
            repository,
            source=model.name,
            source_sha256=model.sha256,
            tolerance=TOLERANCE,
            replace=True,
        )
    place_labels(signature, model, repository)
    place_decoder(model, repository)
    return sidecar


def place_labels(signature: ModelSignature, model: ImageModel, repository: Path) -> None:
    """Write the file of labels that Triton reads beside the model's configuration, one label a line."""
    path = repository / signature.name / signatures.LABELS_FILE
    write_text(path, "".join(f"{label}\n" for label in model.labels))


def place_decoder(model: ImageModel, repository: Path, version: int = 1) -> None:
    """Put the decoder's code beside its ``model.py``, and the configurations of it and of the ensemble in place."""
    decoder = signatures.image_decoder(model.preprocessing)
    ensemble = signatures.image_classification(model.preprocessing, len(model.labels))
    code = version_folder(repository, decoder.name, version) / signatures.PREPROCESSING_CODE_FILE
    write_text(code, Path(preprocessing.__file__).read_text(encoding="utf-8"))
    write_config(decoder, repository)
    write_config(ensemble, repository)
    version_folder(repository, ensemble.name, version).mkdir(parents=True, exist_ok=True)


def _noise(wanted: Preprocessing, rows: int) -> Inputs:
    """Pictures of noise, other ones for other numbers of rows: float32 ``[rows, 3, height, width]`` near -1 to 1."""
    generator = torch.Generator().manual_seed(rows)
    return (torch.rand(rows, 3, wanted.height, wanted.width, generator=generator) * 2 - 1,)
