"""Whether this machine can run the tritonserver of the nvidia-pytriton wheel, and where its parts lie."""

from __future__ import annotations

import ctypes
import importlib.util
import platform
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from workshop.errors import UnsupportedPlatformError

PYTHON_VERSIONS = ((3, 10), (3, 12))  # NumPy below 2 has wheels up to 3.12; the libraries we pin start at 3.10
MINIMUM_GLIBC = (2, 35)
_CONTAINER_HINT = "use the containers instead: docker compose up"


@dataclass(frozen=True)
class TritonWheel:
    """Where the nvidia-pytriton wheel keeps the parts of the server, for the running Python version."""

    binary: Path
    python_backend: Path
    stub: Path
    caches: Path
    libraries: Path
    python_library_dir: Path


def find_triton() -> TritonWheel:
    """Check the machine and find the parts of the wheel.

    Raises:
        UnsupportedPlatformError: operating system, processor, C library or Python version do not fit, the wheel is not
            installed, or this Python has no shared libpython for the server's stub processes.
    """
    _check_machine()
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise UnsupportedPlatformError(
            f"the package nvidia-pytriton, which holds tritonserver, is not installed in {sys.prefix}",
            hint="make setup",
        )
    package = Path(spec.origin).parent
    root = package / "tritonserver"
    wheel = TritonWheel(
        binary=root / "bin" / "tritonserver",
        python_backend=root / "backends" / "python",
        stub=root / "python_backend_stubs" / "{}.{}".format(*sys.version_info) / "triton_python_backend_stub",
        caches=root / "caches",
        libraries=package.parent / "nvidia_pytriton.libs",
        python_library_dir=find_libpython().parent,
    )
    for part in (wheel.binary, wheel.python_backend, wheel.stub, wheel.caches, wheel.libraries):
        if not part.exists():
            raise UnsupportedPlatformError(
                f"the nvidia-pytriton wheel is incomplete: no {part}",
                hint="pip install --force-reinstall --no-deps -r requirements.txt",
            )
    return wheel


def _check_machine() -> None:
    system, machine, python = platform.system(), platform.machine(), sys.version_info[:2]
    if (system, machine) != ("Linux", "x86_64"):
        raise UnsupportedPlatformError(
            f"the local tritonserver needs Linux on x86_64, this is {system} on {machine}", hint=_CONTAINER_HINT
        )
    name, version = platform.libc_ver()
    if name != "glibc" or tuple(map(int, version.split(".")[:2])) < MINIMUM_GLIBC:
        raise UnsupportedPlatformError(
            f"the local tritonserver needs glibc {'.'.join(map(str, MINIMUM_GLIBC))} or later "
            f"(Ubuntu 22.04, Debian 12), this is {name or 'another C library'} {version}".rstrip(),
            hint=_CONTAINER_HINT,
        )
    lowest, highest = PYTHON_VERSIONS
    if not lowest <= python <= highest:
        raise UnsupportedPlatformError(
            f"the local stack runs on Python {lowest[0]}.{lowest[1]} to {highest[0]}.{highest[1]}, "
            f"this is {python[0]}.{python[1]} ({sys.executable})",
            hint="PYTHON=python3.11 make setup",
        )


def find_libpython() -> Path:
    """The shared libpython of the running Python, which the stub processes link against.

    Raises:
        UnsupportedPlatformError: this Python was built without one.
    """
    name = sysconfig.get_config_var("INSTSONAME") or ""
    if ".so" in name:
        places = [sysconfig.get_config_var("LIBDIR"), f"{sys.base_prefix}/lib"]
        for place in filter(None, places):
            if Path(place, name).exists():
                return Path(place, name)
    soname = "libpython{}.{}.so.1.0".format(*sys.version_info)
    try:
        ctypes.CDLL(soname)  # known to the dynamic linker although this Python was linked statically
    except OSError:
        raise UnsupportedPlatformError(
            f"{sys.executable} has no shared library {soname}, which tritonserver's Python processes need",
            hint="apt-get install libpython3-dev, or a Python built with --enable-shared "
            "(pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install 3.11)",
        ) from None
    return _loaded_library(soname)


def _loaded_library(soname: str) -> Path:
    """Path of a library this process has loaded, from its memory map."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        return next(Path(line.split(maxsplit=5)[5].strip()) for line in maps if line.rstrip().endswith(soname))
