"""aqlite's wheel, built and installed alone into an environment of its own."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import urllib.request
import venv
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
PASSWORD = "fresh-password"


def build_wheel(folder: Path) -> Path:
    """Build the wheel into ``folder``."""
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=PROJECT)
    (wheel,) = folder.glob("aqlite-*.whl")
    return wheel


def install_wheel(wheel: Path, folder: Path) -> Path:
    """Make an environment in ``folder`` that holds the wheel and what it needs; returns its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    run(str(python), "-m", "pip", "install", "--quiet", "--no-input", str(wheel), cwd=folder)
    return python


def first_answer(python: Path, folder: Path) -> object:
    """Start the server of an environment, ask it one AQL query over HTTP, stop it; returns the query's result."""
    command = [str(python), "-I", "-m", "aqlite", "--data", str(folder / "data"), "--port", "0"]
    environment = {"PATH": os.environ["PATH"], "ARANGO_ROOT_PASSWORD": PASSWORD}
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = server.stdout.readline().rsplit(" ", 1)[-1].strip()
            request = urllib.request.Request(
                f"{url}/_api/cursor",
                data=json.dumps({"query": "FOR i IN 1..3 RETURN i * i"}).encode(),
                headers={"Authorization": "Basic " + base64.b64encode(f"root:{PASSWORD}".encode()).decode()},
            )
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)["result"]
        finally:
            server.terminate()


def run(*command: str, cwd: Path) -> None:
    """Run a command to its end.

    Raises:
        RuntimeError: it failed; the message carries what it printed.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=250, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
