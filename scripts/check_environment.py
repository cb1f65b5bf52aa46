#!/usr/bin/env python3
"""Say what this machine and its environment have and lack: one ``[OK]`` or ``[FAIL]`` a line, remedies included.

Works with any Python from 3.8 and before anything is installed; where the local stack cannot run, as on macOS and
Windows, it says how to run the workshop there. Exit status: the number of failures.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DISK_GB = 8  # the environment takes 3.6 GB, pip needs as much again while it installs; data and runs the rest
MEMORY_GB = 6  # the servers take up to 2.5 GB, a notebook's kernel up to 2 GB
GLIBC = (2, 35)  # of Ubuntu 22.04; the local tritonserver is linked against it
COMPOSE_VERSION = (2, 24)  # knows !reset, which docker-compose.cpu.yml uses
COMPOSE_DRIVER = 615  # of the CUDA 13.4 inside the compose file's Triton image


COMPOSE = "docker compose -f docker-compose.yml -f docker-compose.cpu.yml up --detach --build --wait"
CONTAINERS = (
    "cp .env.example .env, write a password (ARANGO_ROOT_PASSWORD) and a key (WORKSHOP_TRITON_CONTROL_KEY) into it, "
    "then: " + COMPOSE
)
REMEDIES = {
    "Darwin": "Docker Desktop, then: " + CONTAINERS,
    "Windows": "wsl --install -d Ubuntu-24.04, and in its window, in a clone on the Linux side: make run. "
    "Or Docker Desktop, then: " + CONTAINERS.replace("cp ", "copy ", 1),
    "Linux": CONTAINERS,
}
"""What to do where the local stack cannot run, by ``platform.system()``."""


class CheckError(Exception):
    """What is wrong, and in ``hint`` what to do about it."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(f"{message}\nTry: {hint}")


def check_python() -> str:
    """The interpreter and where it lives."""
    version = platform.python_version()
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        raise CheckError(f"Python {version}, the workshop needs 3.10 to 3.12", hint="make setup PYTHON=python3.12")
    return f"{version} in {sys.prefix}"


def check_platform() -> str:
    """Whether the local stack can run here at all: Linux on x86_64, with a C library that is new enough."""
    system, machine = platform.system(), platform.machine()
    if not runs_local_stack():
        names = {"Darwin": "macOS"}
        library = " with " + " ".join(filter(None, platform.libc_ver())) if system == "Linux" else ""
        raise CheckError(
            f"the local stack needs Linux on x86_64 with glibc {'.'.join(map(str, GLIBC))} or newer, "
            f"this is {names.get(system, system)} on {machine}{library}",
            hint=REMEDIES.get(system, CONTAINERS),
        )
    return f"{system} on {machine}"


def runs_local_stack() -> bool:
    """Whether this is the system, processor and C library that the local ``tritonserver`` is built for."""
    name, version = platform.libc_ver()
    built_for = (platform.system(), platform.machine(), name) == ("Linux", "x86_64", "glibc")
    return built_for and tuple(map(int, version.split(".")[:2])) >= GLIBC


def check_docker() -> str:
    """Docker with Compose, the way to run the workshop where the local stack cannot."""
    docker = shutil.which("docker")
    if docker is None:
        raise CheckError("no docker command", hint="install Docker Desktop, or Docker Engine with the Compose plugin")
    command = [docker, "compose", "version", "--short"]
    answer = subprocess.run(command, capture_output=True, timeout=30, check=False)
    version = answer.stdout.decode(errors="replace").strip().lstrip("v")
    found = re.match(r"(\d+)\.(\d+)", version)
    if answer.returncode != 0 or not found:
        raise CheckError("docker has no Compose plugin", hint="install Docker Desktop, or the Compose plugin")
    if tuple(map(int, found.groups())) < COMPOSE_VERSION:
        wanted = ".".join(map(str, COMPOSE_VERSION))
        raise CheckError(f"Docker Compose {version}, the workshop needs {wanted}", hint="update Docker")
    return f"Docker Compose {version}"


def check_machine() -> str:
    """C library, shared libpython, and the server itself."""
    from workshop.stack.machine import find_triton

    find_triton()
    return f"{' '.join(platform.libc_ver())}, tritonserver and a shared libpython are there"


def check_processor() -> str:
    """Cores, and whether bf16 is fast here."""
    flags = Path("/proc/cpuinfo").read_text()
    units = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if re.search(rf"\b{name}\b", flags)]
    if not re.search(r"\bavx\b", flags):
        raise CheckError("no AVX, which PyTorch and the ArangoDB image need", hint="use another machine")
    return f"{os.cpu_count()} cores, {', '.join(units)}"


def check_disk() -> str:
    """Free space where the project lies."""
    free = shutil.disk_usage(ROOT).free / 1e9
    installed = (ROOT / ".venv/.requirements-installed").exists()
    needed = 1 if installed else DISK_GB
    if free < needed:
        raise CheckError(f"{free:.1f} GB free at {ROOT}, {needed} GB needed", hint="free some space")
    return f"{free:.0f} GB free"


def check_memory() -> str:
    """Memory that programs can have."""
    available = int(re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text()).group(1)) / 1e6
    if available < MEMORY_GB:
        raise CheckError(f"{available:.1f} GB available, {MEMORY_GB} GB needed", hint="close some programs")
    return f"{available:.0f} GB available"


def check_packages() -> str:
    """What is installed against what requirements.txt pins."""
    pattern = r"^([\w.-]+)(?:\[[\w,]+\])?==([^\s;]+)(?:; python_version (<|>=) \"3\.(\d+)\")?"
    lines = re.findall(pattern, (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    here = sys.version_info[1]
    pins = [
        (name, wanted)
        for name, wanted, comparison, minor in lines
        if not comparison or (here < int(minor)) == (comparison == "<")
    ]
    wrong = []
    for name, wanted in pins:
        try:
            found = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            found = "missing"
        if found != wanted:
            wrong.append(f"{name} {found} (wanted {wanted})")
    if wrong:
        raise CheckError(f"{len(wrong)} of {len(pins)} differ: {', '.join(wrong[:6])}", hint="make setup")
    return f"{len(pins)} packages as pinned"


def check_kernel() -> str:
    """The Jupyter kernel of this environment."""
    from workshop.runner import execute

    execute.check_kernel()
    return f"kernel {execute.KERNEL} is this Python"


def check_ports() -> str:
    """Ports that the stack needs, unless it already holds them."""
    from workshop import stack
    from workshop.settings import load_settings

    settings = load_settings()
    fields = ("triton_http_port", "triton_grpc_port", "triton_metrics_port", "arango_port")
    wanted = {field: getattr(settings, field) for field in fields}
    wanted["sagemaker_port"] = settings.effective_sagemaker_port
    wanted = {field: port for field, port in wanted.items() if port}
    ours = {port for service in stack.status(settings) for port in service.ports.values()}
    for field, port in wanted.items():
        if port not in ours and _answers(port):
            hint = f"stop it, or set WORKSHOP_{field.upper()}"
            raise CheckError(f"port {port} is taken by another program", hint=hint)
    ports = ", ".join(map(str, wanted.values()))
    return f"{ports} belong to the stack, which is up" if ours else f"{ports} are free"


def check_data() -> str:
    """The data files, by their hashes."""
    from workshop.data.fetch import ARTEFACTS, locate
    from workshop.settings import load_settings

    for name in ARTEFACTS:
        locate(name, load_settings().data_dir)
    return f"{', '.join(ARTEFACTS)} are there and unaltered"


def check_gpu() -> str:
    """The graphics driver; none is fine."""
    if shutil.which("nvidia-smi") is None:
        return "none, models run on the processor"
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    if answer.returncode != 0:
        problem = answer.stdout.strip() or answer.stderr.strip()
        raise CheckError(f"nvidia-smi fails: {problem}", hint="reinstall the driver")
    name, driver = answer.stdout.splitlines()[0].rsplit(", ", 1)
    if int(driver.partition(".")[0]) < COMPOSE_DRIVER:
        return f"{name}, driver {driver}; docker compose wants {COMPOSE_DRIVER} or a data-centre GPU"
    return f"{name}, driver {driver}"


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


CHECKS: dict[str, Callable[[], str]] = {
    "platform": check_platform,
    "python": check_python,
    "machine": check_machine,
    "processor": check_processor,
    "disk": check_disk,
    "memory": check_memory,
    "packages": check_packages,
    "kernel": check_kernel,
    "ports": check_ports,
    "data": check_data,
    "gpu": check_gpu,
}
ELSEWHERE: dict[str, Callable[[], str]] = {"platform": check_platform, "docker": check_docker, "disk": check_disk}
"""The checks where the local stack cannot run."""


def report() -> Iterator[tuple[bool, str]]:
    """Every check that fits this machine as (passed, line)."""
    expected = _expected_errors()
    for name, check in (CHECKS if runs_local_stack() else ELSEWHERE).items():
        try:
            yield True, f"[OK]   {name:10} {check()}"
        except ModuleNotFoundError as error:
            missing = CheckError(f"cannot be checked, {error.name} is not installed", hint="make setup")
            yield False, _failure(name, missing)
        except expected as error:
            yield False, _failure(name, error)


def _expected_errors() -> tuple[type[Exception], ...]:
    try:
        from workshop.errors import WorkshopError
    except ModuleNotFoundError:  # nothing is installed yet, and the checks of the library say so
        return (CheckError,)
    return CheckError, WorkshopError


def _failure(name: str, error: Exception) -> str:
    return f"[FAIL] {name:10} " + str(error).replace("\n", "\n" + " " * 18)


def main() -> int:
    """Print the report."""
    results = list(_printed(report()))
    failures = results.count(False)
    print("Everything is in place." if not failures else f"{failures} of {len(results)} checks failed.")
    return failures


def _printed(lines: Iterator[tuple[bool, str]]) -> Iterator[bool]:
    for passed, line in lines:
        print(line, flush=True)
        yield passed


if __name__ == "__main__":
    sys.exit(main())
