"""What the machine must offer, and where the parts of the server lie."""

import importlib.util
import platform
import subprocess
import sys
import sysconfig

import pytest

from workshop.errors import UnsupportedPlatformError
from workshop.stack import machine
from workshop.stack.machine import find_libpython, find_triton
from workshop.stack.sagemaker import CALL_OFFSET, RETURN_LOOPBACK, write_loopback_binary


def test_the_parts_of_the_installed_wheel_are_found():
    wheel = find_triton()
    assert wheel.binary.name == "tritonserver"
    assert wheel.stub.parent.name == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert list(wheel.libraries.glob("libtritonserver*.so"))
    assert (wheel.python_library_dir / f"libpython{wheel.stub.parent.name}.so.1.0").exists()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("system", "Darwin", "needs Linux on x86_64, this is Darwin on x86_64"),
        ("machine", "aarch64", "needs Linux on x86_64, this is Linux on aarch64"),
        ("libc_ver", ("glibc", "2.31"), r"needs glibc 2\.35 or later .*, this is glibc 2\.31"),
        ("libc_ver", ("", ""), r"needs glibc 2\.35 or later .*, this is another C library"),
        ("libc_ver", ("musl", "1.2.4"), r"this is musl 1\.2\.4"),
    ],
)
def test_another_machine_is_refused_with_what_it_is_and_a_way_out(monkeypatch, name, value, message):
    monkeypatch.setattr(platform, name, lambda: value)
    with pytest.raises(UnsupportedPlatformError, match=message) as refusal:
        find_triton()
    assert "docker compose up" in refusal.value.hint


@pytest.mark.parametrize("version", [(3, 9, 18), (3, 13, 1), (3, 14, 0)])
def test_another_python_is_refused_with_its_version(monkeypatch, version):
    monkeypatch.setattr(sys, "version_info", version)
    with pytest.raises(UnsupportedPlatformError, match=rf"Python 3\.10 to 3\.12, this is 3\.{version[1]}"):
        find_triton()


def test_a_missing_wheel_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnsupportedPlatformError, match=r"nvidia-pytriton.* is not installed in") as refusal:
        find_triton()
    assert refusal.value.hint == "make setup"


def test_a_python_without_a_shared_library_is_refused(monkeypatch):
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: None)

    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(machine.ctypes, "CDLL", missing)
    with pytest.raises(UnsupportedPlatformError, match=r"no shared library libpython3\.\d+\.so\.1\.0") as refusal:
        find_libpython()
    assert "libpython3-dev" in refusal.value.hint


def test_a_library_the_linker_knows_serves_a_static_python(monkeypatch):
    expected = find_libpython().resolve()
    loaded = machine.ctypes.CDLL(str(expected))
    assert loaded
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: None)
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda name: loaded)
    assert find_libpython().resolve() == expected


def test_the_sagemaker_copy_differs_in_one_call_only_and_still_runs(tmp_path):
    original, copy = find_triton().binary, tmp_path / "tritonserver"
    write_loopback_binary(original, copy)
    before, after = original.read_bytes(), copy.read_bytes()
    end = CALL_OFFSET + len(RETURN_LOOPBACK)
    assert before[CALL_OFFSET] == 0xE8, "a call instruction was there"
    assert after == before[:CALL_OFFSET] + RETURN_LOOPBACK + before[end:]
    environment = {"LD_LIBRARY_PATH": str(find_triton().libraries)}
    usage = subprocess.run([copy, "--help"], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert "--sagemaker-port" in usage.stdout + usage.stderr


def test_another_binary_is_refused_for_sagemaker(tmp_path):
    other = tmp_path / "other"
    other.write_bytes(b"\x7fELF of another release")
    with pytest.raises(UnsupportedPlatformError, match=r"can be kept on 127\.0\.0\.1 for one tritonserver only"):
        write_loopback_binary(other, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
