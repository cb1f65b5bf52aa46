"""Write the archive's model repository: the core exported, the steps around it with all that they import."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Iterable
from pathlib import Path

from workshop.errors import RepositoryError
from workshop.export.gates import reuse
from workshop.export.onnx import export_and_save, export_traced
from workshop.files import replacing, sha256_of, write_text
from workshop.settings import Settings
from workshop.text import tokenization
from workshop.text.encoding import TOKENIZER_FILE
from workshop.text.endpoint.plan import check_core_plan
from workshop.text.endpoint.signatures import PLATFORMS, EndpointModels, endpoint_models
from workshop.text.ensembles import CODE_FILE
from workshop.text.prepare import EXAMPLE_TEXTS, sentence_inputs, sentence_parity_inputs, sentence_source
from workshop.text.sentiment.prepare import sentence_encoder
from workshop.text.sources import TextModelSource
from workshop.triton.artefact import MODEL_FILES, version_folder
from workshop.triton.signature import ModelSignature, write_config

SERVED = Path(__file__).parent / "served"
CARRIED_PACKAGES = ("tokenizers",)
"""Packages that the steps import and that Triton's image does not have. They must be pure Python, or built for the
stable ABI as this one is, since the endpoint runs another Python."""
TOKEN_TOLERANCE = 5e-4
"""Largest absolute difference of a number in a token's vector: before the pooling they reach 5, and float32 sums of
another order differ by 1e-4 there."""
NOT_CARRIED = ("__pycache__", "*.pyi")
ENDPOINT_MACHINE = 0x3E  # x86_64, in the header of a Linux binary


def endpoint_repository(settings: Settings, form: str = "onnx") -> Path:
    """Where the models of the archive lie, those with the core in another form elsewhere."""
    return settings.data_dir / "sagemaker" / form


def prepare_endpoint(settings: Settings, repository: Path, form: str = "onnx") -> EndpointModels:
    """Write the models of the archive into ``repository``, a folder of their own; a core that is current stays.

    Args:
        settings: which sentence model, and where it comes from.
        repository: receives ``preprocess``, ``core``, ``postprocess`` and ``ensemble``.
        form: of the core: ``onnx``, exported here; or ``tensorrt``, the plan that ``scripts/build_tensorrt.sh core``
            built, checked and placed in ``repository``.

    Returns:
        The signatures of what was written.

    Raises:
        ModelSourceError: the weights are not to be had, or the repository holds no checked plan of them.
        TraceRefusedError: the export fails a gate.
        RepositoryError: the repository holds a core of another form; a package that is carried along is not installed
            here, or its build would not run there.
    """
    source = sentence_source(settings)
    models = endpoint_models(source.encoding, form)
    _refuse_other_form(repository, models.core)
    if form == "tensorrt":
        check_core_plan(source, models.core, repository)
    else:
        _place_onnx(source, models.core, repository)
    _place_steps(source, models, repository)
    return models


def _place_steps(source: TextModelSource, models: EndpointModels, repository: Path) -> None:
    """Write what surrounds the core: both Python steps, with all that they import, and the ensemble."""
    preprocess = _place_code(models.preprocess, repository)
    _copy(source.tokenizer_file, preprocess / TOKENIZER_FILE)
    write_text(preprocess / CODE_FILE, Path(tokenization.__file__).read_text(encoding="utf-8"))
    _carry_packages(preprocess / "packages")
    _place_code(models.postprocess, repository)
    write_config(models.ensemble, repository)
    version_folder(repository, models.ensemble.name, 1).mkdir(parents=True, exist_ok=True)


def _place_onnx(source: TextModelSource, core: ModelSignature, repository: Path) -> None:
    if reuse(core, repository, source_sha256=source.sha256, precision="fp32"):
        return
    tokenizer = source.tokenizer()
    export_and_save(
        sentence_encoder(source, "fp32"),
        core,
        sentence_inputs(tokenizer, EXAMPLE_TEXTS),
        sentence_parity_inputs(tokenizer),
        repository,
        source=source.name,
        source_sha256=source.sha256,
        replace=True,
        exporter=export_traced,
        tolerance=TOKEN_TOLERANCE,
    )


def _refuse_other_form(repository: Path, core: ModelSignature) -> None:
    """The archive must not carry the core twice."""
    folder = version_folder(repository, core.name, 1)
    names = {MODEL_FILES[platform] for platform in PLATFORMS.values() if platform != core.platform}
    if others := sorted(name for name in names if (folder / name).is_file()):
        raise RepositoryError(
            f"{folder} holds {', '.join(others)}, the core in another form",
            hint="a repository of its own for each form: endpoint_repository(settings, form)",
        )


def _place_code(signature: ModelSignature, repository: Path) -> Path:
    """Write a step's configuration and ``model.py``; returns its version folder."""
    folder = version_folder(repository, signature.name, 1)
    write_config(signature, repository)
    write_text(folder / "model.py", (SERVED / f"{signature.name}.py").read_text(encoding="utf-8"))
    return folder


def _copy(source: Path, target: Path) -> None:
    if target.is_file() and sha256_of(target) == sha256_of(source):
        return
    with replacing(target) as aside:
        shutil.copyfile(source, aside)


def _machine(path: Path) -> int:
    """The machine that a binary is for, as the header of the Linux format says; -1 for another format."""
    with path.open("rb") as file:
        header = file.read(20)
    return int.from_bytes(header[18:20], "little") if header[:4] == b"\x7fELF" else -1


def _carry_packages(target: Path, packages: Iterable[str] = CARRIED_PACKAGES) -> None:
    """Copy installed packages, so that they can be imported from ``target``.

    Raises:
        RepositoryError: one is not installed, or its binaries are for another machine, or for this Python alone.
    """
    for name in packages:
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError as error:
            raise RepositoryError(
                f"package {name} is not installed, the archive carries it", hint="make setup"
            ) from error
        folder = Path(str(distribution.locate_file(name)))
        binaries = list(folder.rglob("*.so"))
        foreign = [path.name for path in binaries if _machine(path) != ENDPOINT_MACHINE]
        if foreign:
            raise RepositoryError(
                f"package {name} holds {', '.join(sorted(foreign))}, which is not for Linux on x86_64, the endpoint's",
                hint="pack on such a machine",
            )
        bound = [path.name for path in binaries if ".abi3." not in path.name]
        if bound:
            raise RepositoryError(
                f"package {name} holds {', '.join(sorted(bound))}, built for this Python alone; "
                "the endpoint runs another",
                hint=f"install a build of {name} for the stable ABI (abi3)",
            )
        shutil.rmtree(target / name, ignore_errors=True)
        shutil.copytree(folder, target / name, ignore=shutil.ignore_patterns(*NOT_CARRIED))
