"""aqlite, the embedded ArangoDB-compatible store, as a service of the local stack."""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from functools import partial
from pathlib import Path

from workshop.settings import Settings
from workshop.stack.local_http import ask
from workshop.stack.process import Service

NAME = "aqlite"
START_TIMEOUT = 30.0


def store_service(settings: Settings, *, start_timeout: float = START_TIMEOUT) -> Service:
    """Describe aqlite: data below the stack's directory, the root password of the settings or of the stack."""
    directory = settings.stack_dir.resolve()
    data, port = directory / "aqlite", settings.arango_port
    password = settings.arango_password or stack_password(settings.stack_password_file)
    options = ("-m", "aqlite", "--data", str(data), "--port", str(port))
    digest = hashlib.sha256("\0".join([*options, password]).encode()).hexdigest()[:16]
    return Service(
        name=NAME,
        directory=directory,
        argv=(sys.executable, *options),
        env={**os.environ, "ARANGO_ROOT_PASSWORD": password},
        ports={"http": port},
        is_ready=partial(is_ready, port),
        start_timeout=start_timeout,
        fingerprint=digest,
    )


def stack_password(path: Path) -> str:
    """The root password the stack keeps in a file that only its owner may read; made at the first call."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii").strip()
    with open(descriptor, "w", encoding="ascii") as stream:
        password = secrets.token_urlsafe(24)
        stream.write(password + "\n")
    return password


def is_ready(port: int) -> bool:
    """Whether the store answers HTTP; 401 is an answer too.

    Raises:
        OSError: nothing accepts connections yet.
    """
    return ask(port, "GET", "/_api/version")[0] in (200, 401)
