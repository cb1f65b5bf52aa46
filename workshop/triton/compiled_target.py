"""What a compiled model file was made for, and whether this machine is one of those.

A model that is compiled ahead of time holds machine code: elsewhere it would end the server with an illegal
instruction, or give other numbers. The facts stand in the sidecar's ``settings``.

The local stack copies this file beside its backends' ``model.py``: it needs the standard library alone.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Mapping
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
SIDECAR = "model.json"
# what a compiler that is told to use all of this processor may emit
_EMITTED = re.compile(
    r"avx|amx|fma|f16c|bmi|sse|ssse|gfni|vaes|vpclmulqdq|adx|movbe|abm|popcnt|sha|xsave|rdseed|clwb|movdir|serialize"
)
WAY_OUT = "compile it on the machine that serves it: FormMaker(settings).make(name) of workshop.text.prepare_forms"


def processor(cpuinfo: Path = CPUINFO) -> dict[str, str]:
    """This machine's processor as the facts of a target: ``device``, ``machine`` and ``instructions``, a list in words.

    Args:
        cpuinfo: Linux's description of the processor.
    """
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    instructions = sorted(flag for flag in set(flags) if _EMITTED.match(flag))
    return {"device": "cpu", "machine": platform.machine(), "instructions": " ".join(instructions)}


def misfits(made_for: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """Why a file made for one target does not run on another, in words; empty where it does.

    ``instructions`` must all be there, every other fact must be equal.
    """
    found = []
    for name, wanted in made_for.items():
        given = here.get(name, "")
        if name == "instructions":
            if missing := sorted(set(wanted.split()) - set(given.split())):
                found.append(f"this processor lacks the instructions {', '.join(missing)}")
        elif wanted != given:
            found.append(f"{name} is {given or 'unknown'} here, and the file was made for {wanted}")
    return found


def check(file: Path, here: Mapping[str, str]) -> None:
    """See that a compiled file is the one that its sidecar describes, made for a machine like this one.

    Args:
        file: the compiled file, in its version folder.
        here: facts of this machine, those of ``processor`` and, say, the version of the library that loads the file.

    Raises:
        ValueError: it is missing, altered, without a sidecar, or made for another machine; the message says what to do.
    """
    if not file.is_file():
        raise ValueError(f"no file {file}: {WAY_OUT}")
    sidecar = file.with_name(SIDECAR)
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
        made_for = {name: content["settings"][name] for name in here}
        wanted = content["model_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{sidecar} does not say what {file.name} was made for ({error!r}): {WAY_OUT}") from error
    if (found := _sha256(file)) != wanted:
        raise ValueError(f"{file} was altered: its SHA-256 is {found}, its sidecar says {wanted}: {WAY_OUT}")
    if reasons := misfits(made_for, here):
        raise ValueError(f"{file} does not run here: {'; '.join(reasons)}: {WAY_OUT}")


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
