"""Publish the model repository in an object store that speaks S3, from where every server of a fleet reads it.

Triton reads ``--model-repository=s3://bucket/folder`` itself, the wheel's server too; for another store than Amazon's
the address holds its scheme, host and port: ``s3://https://store.example:9000/bucket/folder``. Credentials come from
the environment on both sides, ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` and ``AWS_DEFAULT_REGION``, never from
the URL.
https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_repository.md#s3
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workshop.errors import RepositoryError, SettingsError
from workshop.files import sha256_of
from workshop.triton.artefact import model_folder, version_folders
from workshop.triton.repository import complete_models

if TYPE_CHECKING:
    from botocore.client import BaseClient

# the same as Triton's own expression: https://github.com/triton-inference-server/core, filesystem/implementations/s3.h
_URL = re.compile(
    r"s3://(?:(?P<scheme>https?)://(?P<place>[\w.-]+:\d+)/)?(?P<bucket>[a-z0-9.-]+)(?P<prefix>(?:/[\w.-]+)*)"
)
_HASH = "sha256"
_STORE_ERRORS_HINT = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION and the URL"


@dataclass(frozen=True)
class Location:
    """A folder of an object store.

    Attributes:
        endpoint: URL of the store; ``None``: Amazon's.
        bucket: its bucket.
        prefix: the folder within, without slashes at its ends; empty: the bucket itself.
    """

    endpoint: str | None
    bucket: str
    prefix: str

    @classmethod
    def parse(cls, url: str) -> Location:
        """Read a URL as Triton does.

        Raises:
            SettingsError: it is none.
        """
        if not (match := _URL.fullmatch(url.rstrip("/"))):
            raise SettingsError(
                f"{url!r} is no S3 location", hint="s3://bucket/folder, s3://https://host:port/bucket/folder"
            )
        endpoint = f"{match['scheme']}://{match['place']}" if match["place"] else None
        return cls(endpoint, match["bucket"], match["prefix"].strip("/"))

    def key(self, path: str) -> str:
        """The key of a file of the repository."""
        return f"{self.prefix}/{path}" if self.prefix else path

    def connect(self) -> BaseClient:
        """A client with the environment's credentials."""
        import boto3

        return boto3.client("s3", endpoint_url=self.endpoint)


@dataclass(frozen=True)
class Published:
    """What a call changed: keys that were written, and how many were there already with the same content."""

    written: tuple[str, ...]
    unchanged: int


def publish(
    repository: Path, url: str, models: Sequence[str] = (), *, report: Callable[[str], None] = lambda text: None
) -> Published:
    """Copy models into the store, each file only where the store has another content.

    A model's configuration is written after its files, so that a server that loads in between finds a whole model or
    none. Nothing is removed: versions are, by whoever retires them. The store checks each upload by its SHA-256, and
    keeps it with the object.

    Args:
        repository: the model repository on this machine.
        url: ``s3://...``, as Triton takes it.
        models: names; empty: every complete one.
        report: told of each file that is written.

    Raises:
        RepositoryError: a model is not complete here, or the store refuses.
        SettingsError: the URL is none.
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    location = Location.parse(url)
    complete = complete_models(repository)
    if lacking := sorted(set(models) - set(complete)):
        raise RepositoryError(f"models {lacking} are not complete in {repository}; these are: {complete}")
    files = [path for name in models or complete for path in _files(model_folder(repository, name))]
    written, unchanged = [], 0
    try:
        store = location.connect()
        for path in files:
            key = location.key(path.relative_to(repository).as_posix())
            sha256 = sha256_of(path)
            if _stored_hash(store, location.bucket, key) == sha256:
                unchanged += 1
                continue
            report(key)
            extra = {"Metadata": {_HASH: sha256}, "ChecksumAlgorithm": "SHA256"}
            store.upload_file(os.fspath(path), location.bucket, key, ExtraArgs=extra)
            written.append(key)
    except (Boto3Error, BotoCoreError, ClientError) as error:
        raise RepositoryError(f"{url}: {error}", hint=_STORE_ERRORS_HINT) from error
    return Published(tuple(written), unchanged)


def _files(folder: Path) -> list[Path]:
    """Files of a model, those that make a server see it last."""
    versions = [path for version in version_folders(folder) for path in sorted(version.rglob("*"))]
    others = [path for path in sorted(folder.rglob("*")) if path not in versions and path.name != "config.pbtxt"]
    found = [path for path in versions + others if path.is_file() and "__pycache__" not in path.parts]
    return [path for path in found if not path.name.startswith(".")] + [folder / "config.pbtxt"]


def _stored_hash(store: BaseClient, bucket: str, key: str) -> str | None:
    """The SHA-256 that was kept with an object; ``None`` when there is none."""
    try:
        return store.head_object(Bucket=bucket, Key=key)["Metadata"].get(_HASH)
    except store.exceptions.ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return None
        raise
