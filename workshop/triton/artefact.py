"""The sidecar beside a served model: where the model file comes from and how it was checked."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from workshop.errors import ModelSourceError, RepositoryError
from workshop.files import sha256_of, write_text

# the file that Triton looks for in a version folder, by platform or, where the configuration has none, by backend
MODEL_FILES = {
    "pytorch_libtorch": "model.pt",
    "onnxruntime_onnx": "model.onnx",
    "torch_aoti": "model.pt2",
    "tensorrt_plan": "model.plan",
    "pytorch": "model.pt",
    "onnxruntime": "model.onnx",
    "openvino": "model.xml",
}
SIDECAR_FILE = "model.json"
LOCAL_CONFIG = "local"
"""Name of the configurations that are meant for the local stack alone, ``configs/local.pbtxt``."""
PRECISIONS = ("fp32", "bf16", "fp16")
ROUNDED = ("bf16", "fp16")
LEAST_FP32_COSINE = 0.999
"""Of an output row of a rounded model to that of its float32 weights."""
REFUSED = "refused precision"
"""Key of the settings of a float32 model that stands in for a rounded one which lost too much."""
SIDECAR_FORMAT = 2
RENEW = 'make run NOTEBOOKS="01 02 04", which traces the models again'


_NAME = re.compile(r"\w[\w.-]*", re.ASCII)


@dataclass(frozen=True)
class Sidecar:
    """What ``model.json`` says about the model file beside it.

    Attributes:
        model: the served model's name.
        source: what the weights are, in words.
        source_sha256: hash of the weights the model was made from.
        precision: ``fp32``, ``bf16``, ``fp16`` or ``int8``.
        torch_version: the PyTorch that exported it; the server's LibTorch should not be older.
        model_sha256: hash of the model file.
        signature: the model's ``config.pbtxt`` at the time of the export.
        parity: largest absolute difference to the eager model for each parity input.
        cosines: lowest cosine of an output row to the eager model's for each parity input.
        settings: further choices the graph has frozen, such as a scale.
        facts: what a client must know, as the parameters of the served configuration say it: of a text model the
            tokenizer's hash, pooling, normalisation, width, longest input and prompt.
        files: hash of every further file in the version folder, the tokenizer's for instance.
        format: of this file.
        fp32_cosine: lowest cosine of an output row to that of the model in float32; ``None`` in sidecars that were
            made before it was measured.
    """

    model: str
    source: str
    source_sha256: str
    precision: str
    torch_version: str
    model_sha256: str
    signature: str
    parity: dict[str, float]
    cosines: dict[str, float]
    settings: dict[str, str]
    facts: dict[str, str]
    files: dict[str, str]
    format: int = SIDECAR_FORMAT
    fp32_cosine: float | None = None

    @property
    def version_name(self) -> str:
        """The model, its weights and their precision, in the words that are stored beside what the model computed."""
        return self._name(self.precision)

    @property
    def equivalent_version_names(self) -> tuple[str, ...]:
        """The same weights at other precisions: each has a cosine of ``LEAST_FP32_COSINE`` or more to float32.

        The gates place no rounded model whose vectors have less, so what carries its name is as good. A rounded model
        whose sidecar does not say so was made before that was measured and has no equivalents until it is traced again;
        a float32 model in its place knows which precision was refused. Weights in int8 are no equivalent: what they
        compute may have other neighbours.
        """
        measured = self.precision == "fp32" or (self.fp32_cosine or 0.0) >= LEAST_FP32_COSINE
        if self.precision not in PRECISIONS or not measured:
            return ()
        apart = (self.precision, self.settings.get(REFUSED))
        return tuple(self._name(precision) for precision in PRECISIONS if precision not in apart)

    def _name(self, precision: str) -> str:
        return f"{self.model} {self.source_sha256[:12]} {precision}"


def model_folder(repository: Path, model: str) -> Path:
    """Folder of a model in the repository, there or not.

    Raises:
        RepositoryError: the name is none of a folder, so that it could lead out of the repository.
    """
    if not _NAME.fullmatch(model):
        raise RepositoryError(
            f"{model!r} cannot be the name of a model: expected letters, digits, '_', '-' and '.', none of '-.' first"
        )
    return repository / model


def version_folder(repository: Path, model: str, version: int) -> Path:
    """Folder of one version of a model in the repository.

    Raises:
        RepositoryError: the name is none, see :func:`model_folder`.
    """
    return model_folder(repository, model) / str(version)


def version_folders(folder: Path) -> list[Path]:
    """Version folders of a model, lowest number first."""
    return sorted((p for p in folder.iterdir() if p.is_dir() and p.name.isdecimal()), key=lambda p: int(p.name))


def write_sidecar(folder: Path, sidecar: Sidecar) -> None:
    """Write the sidecar of a version folder, atomically."""
    write_text(folder / SIDECAR_FILE, json.dumps(asdict(sidecar), indent=2) + "\n")


def read_sidecar(folder: Path) -> Sidecar | None:
    """The sidecar of a version folder; ``None`` when there is none.

    Raises:
        RepositoryError: the file is not a sidecar, or it is one of another format.
    """
    path = folder / SIDECAR_FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and "model_sha256" in content and content.get("format", 1) != SIDECAR_FORMAT:
            raise RepositoryError(
                f"{path} was written by another version of the workshop: its format is {content.get('format', 1)}, "
                f"expected {SIDECAR_FORMAT}",
                hint=RENEW,
            )
        return Sidecar(**content)
    except (ValueError, TypeError, RecursionError) as error:
        raise RepositoryError(f"{path} is not a sidecar: {error}", hint=RENEW) from error


def changed_files(folder: Path, sidecar: Sidecar) -> list[str]:
    """Names of the sidecar's further files that are missing from the version folder or have another hash."""
    return [
        name
        for name, sha256 in sidecar.files.items()
        if not (folder / name).is_file() or sha256_of(folder / name) != sha256
    ]


def served_sidecar(repository: Path, model: str) -> Sidecar:
    """The sidecar of the version that Triton serves, the highest one.

    Raises:
        ModelSourceError: the repository holds no such model, or it was not made yet.
        RepositoryError: the sidecar is not readable.
    """
    folder = model_folder(repository, model)
    versions = version_folders(folder) if folder.is_dir() else []
    sidecar = read_sidecar(versions[-1]) if versions else None
    if sidecar is None:
        raise ModelSourceError(f"{folder} holds no traced model", hint="run the notebook that traces it")
    return sidecar
