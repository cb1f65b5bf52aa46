"""A disk of a few megabytes: a tmpfs that one process and its children see, in a mount namespace of their own."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

_UNSHARE = ("/usr/bin/unshare", "--user", "--mount", "--map-root-user", "/bin/sh", "-c")


def on_small_disk(argv: tuple[str, ...], folder: Path, megabytes: int, ballast_megabytes: int = 0) -> tuple[str, ...]:
    """A command line that runs ``argv`` with such a disk at ``folder``; ``folder/ballast`` takes some of it.

    Skips the test where this user may not make namespaces.
    """
    folder.mkdir(parents=True, exist_ok=True)
    where = shlex.quote(str(folder))
    mount = f"mount -t tmpfs -o size={megabytes}m,mode=700 tmpfs {where}"
    try:
        probe = subprocess.run([*_UNSHARE, mount], capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        pytest.skip("a small disk needs unshare, of util-linux")
    if probe.returncode:
        pytest.skip(f"a small disk needs user namespaces: {probe.stderr.strip()}")
    ballast = f"head -c {ballast_megabytes}M /dev/zero > {where}/ballast"
    return (*_UNSHARE, f"{mount} && {ballast} && exec {shlex.join(argv)}")
