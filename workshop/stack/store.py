"""aqlite, the embedded ArangoDB-compatible store, as a service of the local stack."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import sys
from functools import partial
from pathlib import Path

from workshop.errors import StackError
from workshop.settings import Settings
from workshop.stack.local_http import ask
from workshop.stack.process import Service

NAME = "aqlite"
START_TIMEOUT = 30.0


def store_service(settings: Settings, *, start_timeout: float = START_TIMEOUT, set_password: bool = False) -> Service:
    """Describe aqlite: data below the stack's directory, the root password of the settings or of the stack.

    Args:
        settings: folder, port and password.
        start_timeout: seconds it may take to become ready.
        set_password: root gets that password, also when the data were made with another one.
    """
    directory = settings.stack_dir.resolve()
    data, port = directory / "aqlite", settings.arango_port
    options = ("-m", "aqlite", "--data", str(data), "--port", str(port), "--log-format", settings.log_format)
    if settings.log_requests:
        options = (*options, "--log-requests")
    digest = hashlib.sha256("\0".join(options).encode()).hexdigest()[:16]
    return Service(
        name=NAME,
        directory=directory,
        argv=(sys.executable, *options, *(["--set-root-password"] if set_password else [])),
        env={**os.environ, "ARANGO_ROOT_PASSWORD": root_password(settings)},
        ports={"http": port},
        is_ready=partial(is_ready, port),
        start_timeout=start_timeout,
        fingerprint=digest,
    )


def root_password(settings: Settings) -> str:
    """The password of the settings, else the stack's own."""
    return settings.arango_password or stack_password(settings.stack_password_file)


def check_password(settings: Settings) -> None:
    """Make sure that the running store accepts the password.

    Raises:
        StackError: it was made with another one.
        OSError: nothing answers.
    """
    credentials = base64.b64encode(f"root:{root_password(settings)}".encode()).decode()
    status, _ = ask(
        settings.arango_port, "GET", "/_api/version", headers={"Authorization": f"Basic {credentials}"}, timeout=30.0
    )
    if status == 401:
        origin = (
            "ARANGO_ROOT_PASSWORD, in the environment or in .env,"
            if settings.arango_password
            else f"the file {settings.stack_password_file}"
        )
        raise StackError(
            f"the data of the local store in {settings.stack_dir / NAME} were made with another password than {origin} "
            "says",
            hint="make password, which gives the store the present one and keeps all data",
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
