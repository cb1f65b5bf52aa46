"""Roll a new version of a model out over several Triton servers: load on each, verify, then switch; or all back.

Triton gives requests without a version to the highest version that is loaded. So the new version is first loaded under
a second name, from the files of the repository as this machine sees them, while the old one goes on serving. Only when
every server has computed a known input rightly with it is the model itself loaded again, at the new version, server by
server; Triton keeps the old one in service until the new one has loaded. When a server then fails, all are loaded at
the old version again.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md
"""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tritonclient.grpc import model_config_pb2 as pb

from workshop.errors import (
    DataInvalidError,
    RepositoryError,
    RolloutError,
    ServingError,
    ServingTimeoutError,
    WorkshopError,
)
from workshop.files import replacing
from workshop.triton.artefact import model_folder, version_folder
from workshop.triton.calls import POLL_SECONDS, Deadline
from workshop.triton.client import TritonClient
from workshop.triton.repository import needed_files, read_config
from workshop.triton.signature import ModelSignature

CANDIDATE = "_candidate"
"""What the second name of a model adds to its own."""
LARGEST_PROBE = 2**30
"""Bytes of a probe's arrays, unpacked: what a server takes in one request is less."""
_INPUT, _EXPECTED, _TOLERANCE = "input:", "expected:", "tolerance"


@dataclass(frozen=True)
class Probe:
    """A known input and what the new version must make of it, on every server.

    Attributes:
        inputs: input name to array, with the batch axis where the model has one; texts as bytes.
        expected: output name to array; outputs that are not named are not looked at.
        tolerance: largest absolute difference that counts as equal, for outputs that are numbers.
    """

    inputs: Mapping[str, np.ndarray]
    expected: Mapping[str, np.ndarray]
    tolerance: float = 1e-3

    def save(self, path: Path) -> None:
        """Write the probe as ``.npz``, atomically."""
        arrays = {f"{_INPUT}{name}": _plain(array) for name, array in self.inputs.items()}
        arrays |= {f"{_EXPECTED}{name}": _plain(array) for name, array in self.expected.items()}
        with replacing(path) as aside, aside.open("wb") as file:
            np.savez_compressed(file, **arrays, **{_TOLERANCE: np.float64(self.tolerance)})

    @classmethod
    def load(cls, path: Path) -> Probe:
        """Read what :meth:`save` wrote.

        Raises:
            DataInvalidError: the file is no probe, or unpacks to more than :data:`LARGEST_PROBE`.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                unpacked = sum(member.file_size for member in archive.infolist())
            if unpacked > LARGEST_PROBE:
                raise ValueError(f"it unpacks to {unpacked:,} bytes, at most {LARGEST_PROBE:,} are read")
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            inputs, expected = (
                {name.removeprefix(part): _texts(a) for name, a in arrays.items() if name.startswith(part)}
                for part in (_INPUT, _EXPECTED)
            )
            tolerance = float(arrays[_TOLERANCE])
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise DataInvalidError(
                f"{path} is no probe: {error}", hint="write it with Probe(...).save(path)"
            ) from error
        if not inputs or not expected:
            raise DataInvalidError(f"{path} is no probe: it needs inputs and expected outputs, has {sorted(arrays)}")
        return cls(inputs, expected, tolerance)

    def difference(self, answer: Mapping[str, np.ndarray]) -> str:
        """What of an answer is not as expected, in words; empty when all is."""
        for name, expected in self.expected.items():
            found = answer.get(name)
            if found is None:
                return f"no output {name!r}, it gives {sorted(answer)}"
            if found.shape != expected.shape:
                return f"output {name!r} has shape {list(found.shape)}, expected {list(expected.shape)}"
            if expected.dtype == np.object_ or found.dtype == np.object_:
                if not np.array_equal(found.astype(bytes), expected.astype(bytes)):
                    return f"output {name!r} holds other texts than expected"
                continue
            largest = np.max(np.abs(found.astype(np.float64) - expected), initial=0.0)
            if not largest <= self.tolerance:  # NaN too
                return f"output {name!r} differs by {largest:.3g} from the expected, {self.tolerance:.3g} is allowed"
        return ""


@dataclass(frozen=True)
class Replica:
    """One server in a rollout.

    Attributes:
        client: of that server, with its control key where it wants one.
        before: the versions it served before, none when the model was not loaded.
    """

    client: TritonClient
    before: tuple[int, ...]


def roll_out(
    clients: Sequence[TritonClient],
    repository: Path,
    model: str,
    version: int,
    probe: Probe,
    *,
    report: Callable[[str], None] = lambda text: None,
) -> list[Replica]:
    """Serve a version of a model on every server, or leave every server as it was.

    Args:
        clients: one for each server.
        repository: the model repository that the servers share, as this machine sees it.
        model: name of the served model.
        version: number of its new version, whose folder is in the repository.
        probe: what the version must compute.
        report: told of each step, for people.

    Returns:
        Each server with what it served before.

    Raises:
        RepositoryError: the repository has no such version; nothing was changed.
        ServingError: a server could not be asked what it serves; nothing was changed.
        RolloutError: a server could not load the version, has another signature, or computes something else. The
            message names the server, the reason, and each server that could not be brought back.
    """
    config = _config_of(repository, model, version)
    files = _files_of(repository, model, version)
    replicas = [Replica(client, _served_versions(client, model)) for client in clients]
    for replica in replicas:
        report(f"{replica.client.url}: verifying {model} version {version}, which does not serve yet")
        try:
            _verify_aside(replica, config, files, version, probe)
        except WorkshopError as error:
            raise _failed(config, version, replica, error, "it was not switched, and neither was another") from error
    for number, replica in enumerate(replicas, start=1):
        report(f"{replica.client.url}: switching {model} from {_listed(replica.before)} to version {version}")
        try:
            replica.client.load_model(model, _pinned(config, [version]))
            _check(replica.client, model, version, probe)
        except WorkshopError as error:
            outcome = _back(replicas[:number], config, report)
            raise _failed(config, version, replica, error, outcome) from error
    return replicas


def _config_of(repository: Path, model: str, version: int) -> pb.ModelConfig:
    """The model's configuration, which every version shares.

    Raises:
        RepositoryError: no such version, or it lacks a file.
    """
    config = read_config(model_folder(repository, model))
    if config.platform == "ensemble":
        raise RepositoryError(f"{model!r} is an ensemble, which has no files of its own: roll out its models instead")
    config.name = model
    folder = version_folder(repository, model, version)
    missing = [name for name in needed_files(config) if not (folder / name).is_file()]
    if missing:
        raise RepositoryError(
            f"{folder} is no complete version of {model!r}: it lacks {', '.join(missing)}",
            hint="python scripts/model_repository.py check",
        )
    return config


def _pinned(config: pb.ModelConfig, versions: Sequence[int]) -> pb.ModelConfig:
    """The configuration with these versions served, whatever else is in the repository."""
    pinned = pb.ModelConfig()
    pinned.CopyFrom(config)
    pinned.version_policy.specific.versions[:] = versions
    return pinned


def _files_of(repository: Path, model: str, version: int) -> dict[str, bytes]:
    folder = version_folder(repository, model, version)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {f"{version}/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in files}


def _served_versions(client: TritonClient, model: str) -> tuple[int, ...]:
    states = [state for state in client.models() if state.name == model and state.state == "READY"]
    return tuple(sorted(int(state.version) for state in states))


def _verify_aside(
    replica: Replica, config: pb.ModelConfig, files: Mapping[str, bytes], version: int, probe: Probe
) -> None:
    """Load the version under a second name, compare signature and answer, and unload it again."""
    client, candidate = replica.client, _pinned(config, [version])
    candidate.name = f"{config.name}{CANDIDATE}"
    client.load_model(candidate.name, candidate, files)
    try:
        if replica.before:
            served = client.signature(config.name, fresh=True)
            new = replace(client.signature(candidate.name, fresh=True), name=served.name)
            if (new.inputs, new.outputs, new.max_batch_size) != (served.inputs, served.outputs, served.max_batch_size):
                raise ServingError(f"its signature is {_shown(new)}, clients use {_shown(served)}")
        _check(client, candidate.name, version, probe)
    finally:
        _unload(client, candidate.name)


def _unload(client: TritonClient, name: str) -> None:
    """Take a model out and wait until it is: Triton does so beside its answer, and a load meanwhile would be lost."""
    client.unload_model(name)
    deadline = Deadline(client.timeout)
    while any(state.name == name and state.state not in ("", "UNAVAILABLE") for state in client.models()):
        if deadline.is_over:
            raise ServingTimeoutError(f"model {name!r} at {client.url} was not unloaded within {client.timeout:g} s")
        time.sleep(POLL_SECONDS)


def _check(client: TritonClient, name: str, version: int, probe: Probe) -> None:
    """Ask the version by its number, and without one as clients do."""
    for asked in (str(version), ""):
        answer = client.infer(name, probe.inputs, version=asked)
        if difference := probe.difference(answer):
            raise ServingError(f"model {name!r} at {client.url}, version {asked or 'by default'}: {difference}")


def _back(switched: Sequence[Replica], config: pb.ModelConfig, report: Callable[[str], None]) -> str:
    """Bring servers back to what they served, the last one first; says how that went."""
    lost = []
    for replica in reversed(switched):
        report(f"{replica.client.url}: back to {_listed(replica.before)}")
        try:
            if replica.before:
                replica.client.load_model(config.name, _pinned(config, replica.before))
            else:
                _unload(replica.client, config.name)
        except ServingError as error:
            lost.append(f"{replica.client.url} could not be brought back: {str(error).splitlines()[0]}")
    return "; ".join(lost) if lost else f"all {len(switched)} that were switched serve what they served before"


def _failed(config: pb.ModelConfig, version: int, replica: Replica, error: Exception, outcome: str) -> RolloutError:
    reason = str(error).splitlines()[0]
    return RolloutError(
        f"{config.name} version {version} failed on {replica.client.url}: {reason}; {outcome}",
        hint=f"take folder {version} out of the repository: a server that starts anew serves the highest version",
    )


def _shown(signature: ModelSignature) -> str:
    inputs, outputs = (
        ", ".join(f"{spec.name} {spec.dtype} {list(spec.dims)}" for spec in specs)
        for specs in (signature.inputs, signature.outputs)
    )
    return f"({inputs}) -> ({outputs}) with at most {signature.max_batch_size} rows"


def _listed(versions: Sequence[int]) -> str:
    return f"version {', '.join(map(str, versions))}" if versions else "no version"


def _plain(array: np.ndarray) -> np.ndarray:
    """Texts as fixed-width bytes, which need no pickle."""
    array = np.asarray(array)
    if array.dtype.kind == "U" or array.dtype == np.object_:
        return np.array([t.encode() if isinstance(t, str) else t for t in array.reshape(-1)], "S").reshape(array.shape)
    return array


def _texts(array: np.ndarray) -> np.ndarray:
    return array.astype(np.object_) if array.dtype.kind == "S" else array
