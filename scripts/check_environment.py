#!/usr/bin/env python3
"""Say what this machine and its environment have and lack: one ``[OK]`` or ``[FAIL]`` a line, remedies included.

Works with any Python and before anything is installed. Exit status: the number of failures.
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

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from workshop.errors import WorkshopError

ROOT = Path(__file__).resolve().parent.parent
DISK_GB = 6  # the environment takes 2.5 GB, pip needs as much again while it installs; data and runs the rest
MEMORY_GB = 6  # the servers take up to 2.5 GB, a notebook's kernel up to 2 GB
COMPOSE_DRIVER = 615  # of the CUDA 13.4 inside the compose file's Triton image


class CheckError(WorkshopError):
    """What is wrong, and in ``hint`` what to do about it."""


def check_python() -> str:
    """The interpreter and where it lives."""
    version = platform.python_version()
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        raise CheckError(f"Python {version}, the workshop needs 3.10 to 3.12", hint="make setup PYTHON=python3.12")
    return f"{version} in {sys.prefix}"


def check_machine() -> str:
    """Processor, C library, shared libpython, and the server itself."""
    from workshop.stack.machine import find_triton

    find_triton()
    return f"{platform.machine()}, {' '.join(platform.libc_ver())}, tritonserver and a shared libpython are there"


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
    pattern = r"^([\w.-]+)(?:\[[\w,]+\])?==([^\s;]+)(?:; python_version < \"3\.(\d+)\")?"
    pins = re.findall(pattern, (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    pins = [(name, wanted) for name, wanted, below in pins if not below or sys.version_info[1] < int(below)]
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
    ours = {port for service in stack.status(settings) for port in service.ports.values()}
    for field in fields:
        port = getattr(settings, field)
        if port not in ours and _answers(port):
            hint = f"stop it, or set WORKSHOP_{field.upper()}"
            raise CheckError(f"port {port} is taken by another program", hint=hint)
    ports = ", ".join(str(getattr(settings, field)) for field in fields)
    return f"{ports} belong to the stack, which is up" if ours else f"{ports} are free"


def check_data() -> str:
    """The data files, by their hashes."""
    from workshop.data.fetch import ARTEFACTS, locate
    from workshop.settings import load_settings

    names = [name for name, artefact in ARTEFACTS.items() if not artefact.optional]
    for name in names:
        locate(name, load_settings().data_dir)
    return f"{', '.join(names)} are there and unaltered"


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


def report() -> Iterator[tuple[bool, str]]:
    """Every check as (passed, line)."""
    for name, check in CHECKS.items():
        try:
            yield True, f"[OK]   {name:10} {check()}"
        except ModuleNotFoundError as error:
            missing = CheckError(f"cannot be checked, {error.name} is not installed", hint="make setup")
            yield False, _failure(name, missing)
        except WorkshopError as error:
            yield False, _failure(name, error)


def _failure(name: str, error: WorkshopError) -> str:
    return f"[FAIL] {name:10} " + str(error).replace("\n", "\n" + " " * 18)


def main() -> int:
    """Print the report."""
    failures = 0
    for passed, line in report():
        print(line)
        failures += not passed
    print("Everything is in place." if not failures else f"{failures} of {len(CHECKS)} checks failed.")
    return failures


if __name__ == "__main__":
    sys.exit(main())
