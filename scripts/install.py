#!/usr/bin/env python3
"""Install requirements.txt, held to constraints.txt, into the environment of the Python that runs this; then the few
packages of requirements-no-deps.txt as they are.

Shows what pip is doing in a few lines; pip's own words are in ``pip.log`` in the environment's folder. Nothing is done
when the files that say what to install are those of the last time. Needs the standard library only.
"""

from __future__ import annotations

import hashlib
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INPUTS = (
    "requirements.txt",
    "requirements-no-deps.txt",
    "constraints.txt",
    "pyproject.toml",
    "packages/aqlite/pyproject.toml",
)
STEPS = (
    ("--requirement", "requirements.txt", "--constraint", "constraints.txt"),
    ("--no-deps", "--requirement", "requirements-no-deps.txt"),
)
STAMP = ".requirements-installed"
SECONDS_BETWEEN_LINES = 15
UNITS = {"kB": 1e-3, "MB": 1.0, "GB": 1e3}


def fingerprint(root: Path) -> str:
    """SHA-256 of all that decides what is installed: the files, and which Python it is for."""
    digest = hashlib.sha256(sys.version.encode())
    for name in INPUTS:
        digest.update(b"\0" + (root / name).read_bytes())
    return digest.hexdigest()


class Progress:
    """What pip has done so far, read from its output."""

    def __init__(self) -> None:
        self.found = 0
        self.megabytes = 0.0
        self.installing = 0

    def read(self, line: str) -> None:
        """Take in one line of pip's output."""
        if re.match(r"Collecting |Obtaining |Requirement already satisfied: ", line):
            self.found += 1
        elif found := re.match(r"\s+Downloading \S+\.(?:whl|tar\.gz) \(([\d.]+) (kB|MB|GB)\)", line):
            self.megabytes += float(found.group(1)) * UNITS[found.group(2)]
        elif found := re.match(r"Installing collected packages: (.*)", line):
            self.installing = len(found.group(1).split(","))

    def __str__(self) -> str:
        if self.installing:
            return f"writing {self.installing} packages"
        downloaded = f", {self.megabytes:.0f} MB downloaded" if self.megabytes >= 1 else ""
        return f"{self.found} requirements found{downloaded}"


def install(root: Path, log: Path) -> int:
    """Run pip, step by step, until one fails; returns its exit status."""
    log.write_text("", encoding="utf-8")
    started = time.monotonic()
    for step in STEPS:
        if status := run_pip(step, root, log):
            return status
    print(f"Installed in {time.monotonic() - started:.0f} s", flush=True)
    return 0


def run_pip(arguments: Sequence[str], root: Path, log: Path) -> int:
    """Run ``pip install`` and show its progress; returns its exit status."""
    command = [sys.executable, "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    command += ["--progress-bar", "off", *arguments]
    started = shown = time.monotonic()
    progress, lines = Progress(), queue.Queue()
    pip = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with log.open("a", encoding="utf-8") as output, pip:

        def pump() -> None:
            for line in pip.stdout:
                output.write(line)
                lines.put(line)
            lines.put(None)

        threading.Thread(target=pump, daemon=True).start()
        done = False
        while not done:
            try:
                line = lines.get(timeout=1)
            except queue.Empty:
                line = ""
            done = line is None
            progress.read(line or "")
            now = time.monotonic()
            if not done and now - shown >= SECONDS_BETWEEN_LINES:
                shown = now
                print(f"  {now - started:4.0f} s  {progress}", flush=True)
    return pip.returncode


def main() -> int:
    """Install what is not installed yet; returns pip's exit status."""
    stamp = Path(sys.prefix) / STAMP
    wanted = fingerprint(ROOT)
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        stamp.touch()
        return 0
    if sys.prefix == sys.base_prefix:
        print(f"{sys.executable} is not in a virtual environment. Try: make setup", file=sys.stderr)
        return 1
    log = Path(sys.prefix) / "pip.log"
    print("Installing requirements.txt, the first time this takes a few minutes", flush=True)
    status = install(ROOT, log)
    if status == 0:
        stamp.write_text(wanted, encoding="utf-8")
    else:
        tail = [line for line in log.read_text(encoding="utf-8").splitlines() if line.strip()][-12:]
        print(*tail, f"pip failed, all that it said is in {log}", sep="\n", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
