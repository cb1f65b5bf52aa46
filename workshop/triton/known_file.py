"""Whether a model file is the one that somebody vouches for: its sidecar's, or one whose hash was written beside it.

A TorchScript file is a program. One that was swapped, or came from anywhere, must not run in the server because it
lies in the right folder.

The local stack copies this file beside its backends' ``model.py``: it needs the standard library alone.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from pathlib import Path

SIDECAR = "model.json"


def check_known(file: Path) -> None:
    """See that a file is the one that was written, or that its owner vouches for.

    Its SHA-256 must be the ``model_sha256`` of the sidecar beside it, or the one in ``<file>.sha256``, in the format of
    ``sha256sum``.

    Raises:
        ValueError: nobody vouches for it, or somebody does for another one; the message says what to do.
    """
    found = _sha256(file)
    vouched = {name: sha256 for name, sha256 in _vouched(file).items() if sha256}
    if found in vouched.values():
        return
    own = f"if it is yours and you trust it: (cd {file.parent} && sha256sum {file.name} > {file.name}.sha256)"
    if vouched:
        said = ", ".join(f"{name} says {sha256}" for name, sha256 in vouched.items())
        raise ValueError(
            f"{file} is not the file that was written: its SHA-256 is {found}, {said}. Run the notebook that traces "
            f"the model; {own}"
        )
    raise ValueError(f"{file} is of unknown source: neither {SIDECAR} nor {file.name}.sha256 has its hash; {own}")


def _vouched(file: Path) -> dict[str, str]:
    """Hashes by the name of the file that says them; empty where it says none."""
    sidecar, checksum = file.with_name(SIDECAR), file.with_name(f"{file.name}.sha256")
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
        written = content.get("model_sha256", "") if isinstance(content, dict) else ""
    except (OSError, ValueError):
        written = ""
    first = checksum.read_text(encoding="utf-8", errors="replace").split()[:1] if checksum.is_file() else []
    return {sidecar.name: str(written), checksum.name: first[0].lower() if first else ""}


def _sha256(file: Path) -> str:
    if not file.stat().st_size:
        return hashlib.sha256().hexdigest()
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return hashlib.sha256(content).hexdigest()
