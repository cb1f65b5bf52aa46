"""The ``model.tar.gz`` of an endpoint: pack a model repository, check it, unpack it.

An archive holds model folders at its root and no ``config.pbtxt`` there: the start script of AWS's container refuses
one. The tree is the same for both kinds of endpoint. For a single model ``SAGEMAKER_TRITON_DEFAULT_MODEL_NAME`` names
the one that is asked; where there are several archives, the one ensemble in each is taken, else the one model:
https://docs.aws.amazon.com/sagemaker/latest/dg/deploy-models-frameworks-triton.html
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tritonclient.grpc import model_config_pb2 as pb

from workshop.errors import ArchiveError, RepositoryError
from workshop.files import replacing, sha256_of
from workshop.triton.artefact import model_folder, version_folders
from workshop.triton.repository import needed_files, read_config

DEFAULT_MODEL_VARIABLE = "SAGEMAKER_TRITON_DEFAULT_MODEL_NAME"
SINGLE_MODEL_FILE = "model.tar.gz"
LARGEST_CONTENT = 8 * 2**30
_LEFT_OUT = ("__pycache__", ".ipynb_checkpoints")
_COMPRESSION = 1  # trained numbers hardly shrink: the highest level gains one part in a hundred
_DO_NOT_USE = "do not use this archive"


@dataclass(frozen=True)
class Archive:
    """A packed model repository.

    Attributes:
        path: the file.
        model: the model that requests go to: the ensemble, or the only model.
        models: every model in it, sorted.
        sha256: of the file.
        megabytes: its size, of 10**6 bytes.
    """

    path: Path
    model: str
    models: tuple[str, ...]
    sha256: str
    megabytes: float


def pack(repository: Path, target: Path, models: Iterable[str] | None = None) -> Archive:
    """Pack models of a repository; the same files always give the same bytes.

    Args:
        repository: the model repository.
        target: the archive's path, replaced when it is there.
        models: names of the models; all folders of the repository when not given.

    Raises:
        ArchiveError: the models are not one model, or one ensemble and its steps; or one is incomplete.
    """
    names = sorted(models) if models is not None else sorted(_model_folders(repository))
    entry = entry_model(repository, names)
    with (
        replacing(target) as aside,
        aside.open("wb") as file,
        gzip.GzipFile("", "wb", _COMPRESSION, file, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in (path for name in names for path in _walk(repository / name)):
            _add(tar, path, path.relative_to(repository))
    return Archive(target, entry, tuple(names), sha256_of(target), target.stat().st_size / 1e6)


def read_archive(path: Path) -> Archive:
    """What an archive holds, without unpacking its models' weights to a place that lasts.

    Raises:
        ArchiveError: it is no such archive, or has another layout.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.looked-at")
    try:
        unpack(path, aside)
        names = sorted(_model_folders(aside))
        return Archive(path, entry_model(aside, names), tuple(names), sha256_of(path), path.stat().st_size / 1e6)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def unpack(path: Path, folder: Path) -> Path:
    """Unpack an archive as a container does; ``folder`` is replaced once all of it is there.

    Raises:
        ArchiveError: the file is no archive, or holds a link, a device or a path outside its folder; nothing is left.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        with tarfile.open(path, "r:gz") as tar:
            for member in _safe_members(tar, path):
                _write(tar, member, aside / member.name)
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    except FileNotFoundError as error:
        raise ArchiveError(f"{path} is not there", hint="python scripts/sagemaker.py pack") from error
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, FileExistsError, NotADirectoryError) as error:
        raise ArchiveError(f"{path} is no whole .tar.gz archive: {error}", hint="pack it again") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def entry_model(repository: Path, names: Iterable[str]) -> str:
    """The model that an endpoint serves: the one ensemble among ``names``, whose steps the others are, or the only one.

    Raises:
        ArchiveError: there is no such model, or one lacks its configuration, version or files.
    """
    names = list(names)
    if (repository / "config.pbtxt").exists():
        raise ArchiveError(
            f"{repository} has a config.pbtxt at its root, expected model folders there",
            hint="name the repository, not the folder of a model",
        )
    configs = {name: _complete_config(repository, name) for name in names}
    ensembles = [name for name, config in configs.items() if config.platform == "ensemble"]
    entries = ensembles or names
    if len(entries) != 1:
        raise ArchiveError(
            "an endpoint's archive holds one model, or one ensemble and its steps; "
            f"this one has {', '.join(names) or 'none'}",
            hint="name the models to pack",
        )
    if ensembles:
        steps = {step.model_name for step in configs[entries[0]].ensemble_scheduling.step}
        if steps != set(names) - {entries[0]}:
            raise ArchiveError(
                f"ensemble {entries[0]!r} has the steps {', '.join(sorted(steps))}, the archive would hold "
                f"{', '.join(sorted(set(names) - {entries[0]})) or 'none'}",
                hint="pack the ensemble together with its steps, and nothing else",
            )
    return entries[0]


def _complete_config(repository: Path, name: str) -> pb.ModelConfig:
    try:
        folder = model_folder(repository, name)
        config = read_config(folder)
    except RepositoryError as error:
        raise ArchiveError(str(error)) from error
    versions = version_folders(folder)
    missing = [name for name in needed_files(config) if versions and not (versions[-1] / name).is_file()]
    if not versions or missing:
        raise ArchiveError(
            f"model {folder.name!r} cannot be packed: {', '.join(missing) + ' missing' if missing else 'no version'}",
            hint="run the notebook that makes the model",
        )
    return config


def _model_folders(repository: Path) -> list[str]:
    return [path.name for path in repository.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _walk(folder: Path) -> Iterator[Path]:
    """A folder and all below it in one fixed order; what a model does not need is left out."""
    yield folder
    for path in sorted(folder.iterdir()):
        if path.name in _LEFT_OUT or path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _walk(path)
        else:
            yield path


def _add(tar: tarfile.TarFile, path: Path, name: Path) -> None:
    """Add a file or folder with nothing of this machine in its entry: no time, owner or mode."""
    info = tarfile.TarInfo(name.as_posix())
    if path.is_dir():
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(info)
        return
    info.size, info.mode = path.stat().st_size, 0o644
    with path.open("rb") as file:
        tar.addfile(info, file)


def _safe_members(tar: tarfile.TarFile, path: Path) -> Iterator[tarfile.TarInfo]:
    """The members, after a look at each: files and folders below the archive's own folder only."""
    content = 0
    for member in tar:
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts:
            raise ArchiveError(
                f"{path} would write outside its folder: {member.name!r}", hint="do not use this archive"
            )
        if not (member.isfile() or member.isdir()):
            raise ArchiveError(
                f"{path}: {member.name!r} is a link or a device, expected files and folders only",
                hint="pack the files themselves",
            )
        content += member.size
        if content > LARGEST_CONTENT:
            raise ArchiveError(
                f"{path} holds more than {LARGEST_CONTENT / 2**30:.0f} GB", hint="do not use this archive"
            )
        yield member


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Write a file or folder with the rights that new files have here, whatever the archive says of them."""
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tar.extractfile(member) as content, target.open("xb") as file:
        shutil.copyfileobj(content, file)
