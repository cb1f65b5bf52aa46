"""Triton's model repository on disk: what is complete, what is out of order.

Layout: https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/model_repository.html
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from workshop.errors import RepositoryError, hint_for_here
from workshop.files import sha256_of
from workshop.triton.artefact import MODEL_FILES, RENEW, Sidecar, changed_files, read_sidecar, version_folders
from workshop.triton.signature import ModelSignature, is_on_request, parse_config

LOGGER = logging.getLogger(__name__)
# a parameter called *_file names a file that the model needs in its version folder
FILE_PARAMETER = "_file"


@dataclass(frozen=True)
class Problem:
    """Something in the repository that is not in order.

    Attributes:
        path: where, relative to the repository.
        what: what is wrong.
        fix: what to do about it.
    """

    path: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}. {self.fix}"


def needed_files(config: pb.ModelConfig) -> list[str]:
    """Files that a version folder must hold before Triton can load the model."""
    if config.platform == "ensemble":
        return []
    main = config.default_model_filename or MODEL_FILES.get(config.platform or config.backend, "model.py")
    return [main, *(p.string_value for name, p in config.parameters.items() if name.endswith(FILE_PARAMETER))]


def read_config(folder: Path) -> pb.ModelConfig:
    """The model configuration in a model's folder.

    Raises:
        RepositoryError: there is none, it is broken, or it names another model.
    """
    path = folder / "config.pbtxt"
    if not path.is_file():
        raise RepositoryError(f"{path}: missing", hint="python scripts/model_repository.py generate")
    try:
        config = parse_config(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise RepositoryError(f"{path} is not text: {error}") from error
    if config.name and config.name != folder.name:
        raise RepositoryError(f"{path}: names model {config.name!r}, its folder is {folder.name!r}")
    return config


def complete_models(repository: Path) -> list[str]:
    """Names of the models that Triton can load: a readable configuration, a version, and its files, sorted.

    An ensemble is complete when all its steps are.
    """
    return _complete(repository, _readable_configs(repository))


def _complete(repository: Path, configs: Mapping[str, pb.ModelConfig]) -> list[str]:
    whole = set()
    for name, config in configs.items():
        versions = version_folders(repository / name)
        if versions and all((versions[-1] / file).is_file() for file in needed_files(config)):
            whole.add(name)
    return sorted(
        name for name in whole if all(step.model_name in whole for step in configs[name].ensemble_scheduling.step)
    )


def _readable_configs(repository: Path) -> dict[str, pb.ModelConfig]:
    configs = {}
    for folder in _folders(repository):
        try:
            configs[folder.name] = read_config(folder)
        except RepositoryError:
            continue  # check_repository names it; a server must start without it
    return configs


def models_to_start(repository: Path) -> list[str]:
    """Names of the complete models that a server loads when it starts.

    All but those that are loaded on request, and the ensembles of :func:`limited_side_by_side`, which are logged.
    """
    configs = _readable_configs(repository)
    names = []
    for name in _complete(repository, configs):
        if limited := limited_side_by_side(configs[name], configs):
            LOGGER.warning("%s is left out: %s", name, _overflow(limited))
        elif not is_on_request(configs[name]):
            names.append(name)
    return names


def limited_side_by_side(ensemble: pb.ModelConfig, configs: Mapping[str, pb.ModelConfig]) -> list[str]:
    """Models whose queue is limited, and which an ensemble runs beside another step.

    When such a queue overflows, Triton may leave every request of the ensemble without an answer or end altogether:
    server 2.51 does either. https://github.com/triton-inference-server/core/pull/466 and
    https://github.com/triton-inference-server/core/pull/483 mend it. Steps that follow one another are safe.
    """
    steps = ensemble.ensemble_scheduling.step
    makers = {tensor: number for number, step in enumerate(steps) for tensor in step.output_map.values()}
    earlier: list[set[int]] = [set() for _ in steps]
    for _ in steps:  # the longest chain has as many links
        for number, step in enumerate(steps):
            for before in {makers[tensor] for tensor in step.input_map.values() if tensor in makers}:
                earlier[number] |= {before, *earlier[before]}
    return sorted(
        {
            step.model_name
            for number, step in enumerate(steps)
            if _limits_its_queue(configs.get(step.model_name))
            and any(
                other != number and other not in earlier[number] and number not in earlier[other]
                for other in range(len(steps))
            )
        }
    )


def _limits_its_queue(config: pb.ModelConfig | None) -> bool:
    if config is None:
        return False
    batching = config.dynamic_batching
    policies = (batching.default_queue_policy, *batching.priority_queue_policy.values())
    return any(policy.max_queue_size for policy in policies)


def _overflow(limited: list[str]) -> str:
    return f"it runs {', '.join(limited)} beside another step, and a queue that overflows there may end the server"


def check_repository(repository: Path, signatures: Iterable[ModelSignature]) -> list[Problem]:
    """Everything in the repository that would keep a model from serving as its signature says.

    Names stray folders and files, missing or broken configurations, missing versions and weights, configurations
    that differ from their signature, and weights that differ from their sidecar or were traced with another signature.
    """
    if not repository.is_dir():
        return [Problem(str(repository), "is not a folder", "Set WORKSHOP_MODEL_REPOSITORY")]
    known = {signature.name: signature for signature in signatures}
    problems = [
        Problem(path.name, "a stray file in the repository", "Remove it")
        for path in sorted(repository.iterdir())
        if path.is_file() and not path.name.startswith(".")
    ]
    for folder in _folders(repository, hidden=True):
        problems += _check_model(folder, known.get(folder.name))
    configs = _readable_configs(repository)
    for name, config in configs.items():
        if limited := limited_side_by_side(config, configs):
            fix = f"Take max_queue_size from {', '.join(limited)}, or let the steps follow one another"
            problems.append(Problem(f"{name}/config.pbtxt", _overflow(limited), fix))
    for name in sorted(set(known) - {folder.name for folder in _folders(repository)}):
        problems.append(Problem(name, "no folder for this model", "Run: python scripts/model_repository.py generate"))
    return problems


def _folders(repository: Path, *, hidden: bool = False) -> list[Path]:
    return sorted(p for p in repository.iterdir() if p.is_dir() and (hidden or not p.name.startswith(".")))


def _check_model(folder: Path, signature: ModelSignature | None) -> list[Problem]:
    if not (folder / "config.pbtxt").is_file() and not version_folders(folder):
        return [Problem(folder.name, "a stray folder: neither config.pbtxt nor a version", "Remove it")]
    try:
        config = read_config(folder)
    except RepositoryError as error:
        return [Problem(f"{folder.name}/config.pbtxt", str(error).splitlines()[0], "Generate it again")]
    problems = []
    if signature is not None and config != signature.to_config():
        differing = ", ".join(_differing_fields(config, signature.to_config()))
        problems.append(
            Problem(
                f"{folder.name}/config.pbtxt",
                f"differs from the model's signature in {differing}",
                "Run: python scripts/model_repository.py generate",
            )
        )
    versions = version_folders(folder)
    if not versions and not is_on_request(config):
        problems.append(Problem(folder.name, "no version folder", "Run the notebook that traces the model"))
    for version in versions:
        problems += _check_version(version, config, signature)
    return problems


def _check_version(version: Path, config: pb.ModelConfig, signature: ModelSignature | None) -> list[Problem]:
    where = f"{version.parent.name}/{version.name}"
    missing = [name for name in needed_files(config) if not (version / name).is_file()]
    if missing:
        return [Problem(where, f"{', '.join(missing)} missing", "Run the notebook that traces the model")]
    try:
        sidecar = read_sidecar(version)
    except RepositoryError as error:
        return [Problem(where, str(error).splitlines()[0], f"Run: {hint_for_here(RENEW)}")]
    if sidecar is None:
        return []
    differing = changed_files(version, sidecar)
    if differing:
        return [
            Problem(where, f"{', '.join(differing)} is not what the sidecar describes", f"Run: {hint_for_here(RENEW)}")
        ]
    return _check_weights(where, version / needed_files(config)[0], sidecar, signature)


def _check_weights(where: str, weights: Path, sidecar: Sidecar, signature: ModelSignature | None) -> list[Problem]:
    if weights.is_file() and sha256_of(weights) != sidecar.model_sha256:
        return [Problem(f"{where}/{weights.name}", "is not the file its sidecar describes", "Trace the model again")]
    if signature is not None and parse_config(sidecar.signature) != signature.to_config():
        return [Problem(where, "was traced with another signature", "Trace the model again")]
    return []


def _differing_fields(found: pb.ModelConfig, expected: pb.ModelConfig) -> list[str]:
    def shown(config: pb.ModelConfig, field: str) -> str:
        only = pb.ModelConfig()
        only.CopyFrom(config)
        for other in [f.name for f in only.DESCRIPTOR.fields if f.name != field]:
            only.ClearField(other)
        return text_format.MessageToString(only, as_one_line=True)

    names = [field.name for field in expected.DESCRIPTOR.fields]
    return [name for name in names if shown(found, name) != shown(expected, name)]
