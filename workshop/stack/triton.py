"""The tritonserver of the nvidia-pytriton wheel as a service of the local stack.

Server options: https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/model_management.html
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from workshop.errors import RepositoryError, SettingsError
from workshop.settings import Settings
from workshop.stack.machine import TritonWheel, find_triton
from workshop.stack.models import is_ready
from workshop.stack.process import Service
from workshop.stack.sagemaker import is_known, write_loopback_binary
from workshop.triton import compiled_target, known_file
from workshop.triton.artefact import LOCAL_CONFIG
from workshop.triton.endpoint import CONTROL_HEADER

LOGGER = logging.getLogger(__name__)
NAME = "triton"
ADDRESS = "127.0.0.1"
START_TIMEOUT = 120.0
OWN_BACKENDS = ("pytorch", "onnxruntime", "openvino", "torch_aoti")
# Defaults for the model processes; the caller's own values win. oneDNN keeps about 0.5 MB for each distinct matrix
# shape it has seen, of which it would allow 1,024 in each process. OpenMP's threads spin while they wait for one
# another, which on a busy machine keeps off the processor the very thread they wait for: a short spin was 5 to 8 times
# as fast there. glibc gives blocks above its mmap threshold back to the system at once: every activation of a few MB
# would be made of fresh pages, which costs a fifth of a BERT's time, so the threshold is at its upper limit, 32 MB.
MODEL_PROCESS_ENVIRONMENT = {
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "256",
    "GOMP_SPINCOUNT": "1000",
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(128 * 2**20),
}
_TRACE_DELAY_MS = 1000
_SHARED_MEMORY = Path("/dev/shm")
_SAGEMAKER = "workshop/stack/sagemaker.py"
_BACKEND_SOURCES = Path(__file__).parent / "backends"
_SHARED_SOURCES = (
    _BACKEND_SOURCES / "batching.py",
    _BACKEND_SOURCES / "arrays.py",
    Path(compiled_target.__file__),
    Path(known_file.__file__),
)
# Variables of the caller's environment that would change which Python or which front ends the server runs.
_DROPPED_VARIABLES = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "AIP_MODE", "AIP_HTTP_PORT")


def triton_service(settings: Settings, models: Sequence[str], *, start_timeout: float = START_TIMEOUT) -> Service:
    """Describe the server: explicit model control, every front end on 127.0.0.1, own shared-memory prefix.

    Args:
        settings: ports, repository, response cache, SageMaker's port and model; a metrics or SageMaker port of 0
            switches it off.
        models: names of the models loaded at start; a model that fails to load leaves the others serving.
        start_timeout: seconds from start to all models loaded or failed.

    Raises:
        UnsupportedPlatformError: this machine cannot run the server.
        RepositoryError: the model repository does not exist.
        SettingsError: two front ends share a port.
    """
    wheel = find_triton()
    repository = settings.model_repository.resolve()
    if not settings.model_repository_url and not repository.is_dir():
        raise RepositoryError(
            f"the model repository {repository} does not exist", hint="set WORKSHOP_MODEL_REPOSITORY to its folder"
        )
    directory = settings.stack_dir.resolve()
    ports = _ports(settings)
    local = "sagemaker" not in ports or is_known(wheel.binary)
    if not local and settings.sagemaker_port is None:
        LOGGER.warning("triton: no SageMaker front end: this server cannot keep it on this machine, see %s", _SAGEMAKER)
        del ports["sagemaker"]
    elif not local:
        LOGGER.warning("triton: port %d of SageMaker is open to other machines, see %s", ports["sagemaker"], _SAGEMAKER)
    prefix = shared_memory_prefix(directory)
    options = _options(settings, wheel, ports, prefix, directory / "backends")
    loads = [f"--load-model={name}" for name in models]
    binary = directory / "bin" / "tritonserver" if "sagemaker" in ports and local else wheel.binary
    front_end = _front_end(settings) if "sagemaker" in ports else {}

    def prepare() -> None:
        assemble_backends(wheel, directory / "backends")
        if binary != wheel.binary:
            write_loopback_binary(wheel.binary, binary)

    return Service(
        name=NAME,
        directory=directory,
        argv=(str(binary), *options, *loads),
        env={**_environment(wheel, settings.data_dir.resolve()), **front_end},
        ports=ports,
        open_ports=frozenset() if local else frozenset({ports.get("sagemaker", 0)}),
        is_ready=partial(is_ready, settings.triton_http_port),
        start_timeout=start_timeout,
        fingerprint=hashlib.sha256(json.dumps([options, front_end]).encode()).hexdigest()[:16],
        prepare=prepare,
        clean_up=partial(remove_shared_memory, prefix),
    )


def _ports(settings: Settings) -> dict[str, int]:
    ports = {
        "http": settings.triton_http_port,
        "grpc": settings.triton_grpc_port,
        "metrics": settings.triton_metrics_port,
        "sagemaker": settings.effective_sagemaker_port,
    }
    ports = {purpose: port for purpose, port in ports.items() if port or purpose in ("http", "grpc")}
    if len(set(ports.values())) < len(ports) or not all(0 < port < 65536 for port in ports.values()):
        raise SettingsError(
            f"Triton's ports must differ and lie between 1 and 65535, got {ports}",
            hint="set WORKSHOP_TRITON_HTTP_PORT, _GRPC_PORT, _METRICS_PORT and WORKSHOP_SAGEMAKER_PORT",
        )
    return ports


def _front_end(settings: Settings) -> dict[str, str]:
    """What the SageMaker front end reads from its environment: it serves one model and takes others while it runs."""
    return {"SAGEMAKER_TRITON_DEFAULT_MODEL_NAME": settings.sagemaker_model, "SAGEMAKER_MULTI_MODEL": "true"}


def _options(
    settings: Settings, wheel: TritonWheel, ports: dict[str, int], prefix: str, backends: Path
) -> tuple[str, ...]:
    options = [
        f"--model-repository={settings.model_repository_url or settings.model_repository.resolve()}",
        f"--backend-directory={backends}",
        "--model-control-mode=explicit",
        "--exit-on-error=false",  # one broken model must not take the others down,
        "--strict-readiness=false",  # nor make the server count as not ready
        f"--model-config-name={LOCAL_CONFIG}",  # where a model has none of that name, its config.pbtxt counts
        "--disable-auto-complete-config",  # our configurations are complete; saves a Python start per model
        f"--http-address={ADDRESS}",
        f"--http-port={ports['http']}",
        f"--grpc-address={ADDRESS}",
        f"--grpc-port={ports['grpc']}",
        "--allow-vertex-ai=false",
        f"--backend-config=python,shm-region-prefix-name={prefix}",
        "--exit-timeout-secs=5",
    ]
    if "metrics" in ports:
        options += [f"--metrics-address={ADDRESS}", f"--metrics-port={ports['metrics']}"]
    else:
        options.append("--allow-metrics=false")
    if settings.trace_url:
        options += _trace_options(settings)
    if settings.triton_control_key:
        restricted = f"model-repository:{CONTROL_HEADER}={settings.triton_control_key}"
        options += [f"--http-restricted-api={restricted}", f"--grpc-restricted-protocol={restricted}"]
    if "sagemaker" in ports:
        options += ["--allow-sagemaker=true", f"--sagemaker-port={ports['sagemaker']}"]
    if settings.response_cache_mb:
        size = settings.response_cache_mb * 1024 * 1024
        options += [f"--cache-directory={wheel.caches}", f"--cache-config=local,size={size}"]
    return tuple(options)


def _trace_options(settings: Settings) -> list[str]:
    """Options of Triton's OpenTelemetry mode.

    https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/trace.html
    """
    wanted = (
        "mode=opentelemetry",
        "level=TIMESTAMPS",
        f"rate={settings.trace_rate}",
        f"opentelemetry,url={settings.trace_url}",
        "opentelemetry,resource=service.name=triton",
        f"opentelemetry,bsp_schedule_delay={_TRACE_DELAY_MS}",
    )
    return [f"--trace-config={setting}" for setting in wanted]


def _environment(wheel: TritonWheel, data_dir: Path) -> dict[str, str]:
    """The caller's environment, with the paths by which the server finds its libraries, this Python and the data.

    The Hub's models are used from its cache only: a server that starts waits for no download.
    """
    env = {name: value for name, value in os.environ.items() if name not in _DROPPED_VARIABLES}
    libraries = [str(wheel.libraries), str(wheel.python_library_dir), env.get("LD_LIBRARY_PATH", "")]
    env["LD_LIBRARY_PATH"] = ":".join(filter(None, libraries))
    env["WORKSHOP_DATA_DIR"] = str(data_dir)
    env["HF_HUB_OFFLINE"] = "1"
    for name, value in MODEL_PROCESS_ENVIRONMENT.items():
        env.setdefault(name, value)
    env["PATH"] = f"{Path(sys.prefix) / 'bin'}:{env.get('PATH', os.defpath)}"
    return env


def assemble_backends(wheel: TritonWheel, target: Path) -> None:
    """Write the backend directory: the wheel's Python backend for this Python version, and our own backends.

    Triton runs ``<backend-directory>/<name>/model.py`` for the models of a backend written in Python:
    https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/backend/docs/python_based_backends.html
    """
    shutil.rmtree(target, ignore_errors=True)
    python = target / "python"
    python.mkdir(parents=True)
    for part in (*wheel.python_backend.glob("*.so"), *wheel.python_backend.glob("*.py"), wheel.stub):
        shutil.copy2(part, python)  # the server refuses libraries that lead out of the folder by a link
    for name in OWN_BACKENDS:
        (target / name).mkdir()
        for source in (*(_BACKEND_SOURCES / name).glob("*.py"), *_SHARED_SOURCES):
            shutil.copy2(source, target / name)


def shared_memory_prefix(directory: Path) -> str:
    """Name prefix of the shared-memory regions of the stack in this directory, unlike any other stack's."""
    return f"workshop_{hashlib.sha256(str(directory).encode()).hexdigest()[:12]}"


def remove_shared_memory(prefix: str) -> None:
    """Remove the regions a killed server left; regions of running servers and of others have other prefixes."""
    for region in _SHARED_MEMORY.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)
