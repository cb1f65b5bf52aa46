"""``python -m aqlite --data DIR --port N``: run the server until it is told to stop."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from aqlite import ARANGODB_VERSION, __version__
from aqlite.http.app import create_app
from aqlite.http.protocol import bounded_head_protocol
from aqlite.logs import FORMATS, configure_logs
from aqlite.services.server import Limits, Server
from aqlite.storage.files import DataFolderError

PASSWORD_VARIABLE = "ARANGO_ROOT_PASSWORD"
_SWITCH_SECONDS = 0.001
_FULL_COLLECTIONS_EVERY = 10_000
_SECRET_CHARACTERS = 32


def main(arguments: list[str] | None = None) -> int:
    """Run the server; returns the process's exit status."""
    options = _parser().parse_args(arguments)
    configure_logs(options.log_format, requests=options.log_requests)
    if options.host != "127.0.0.1" and not options.allow_remote:
        sys.stderr.write(f"aqlite: --host {options.host} needs --allow-remote: aqlite has no TLS\n")
        return 2
    os.umask(0o077)
    try:
        server = Server(
            options.data,
            root_password=os.environ.get(PASSWORD_VARIABLE),
            limits=Limits(request_seconds=options.request_seconds),
            set_root_password=options.set_root_password,
            jwt_secret=_secret(options.jwt_secret_file),
            max_bytes=options.max_size_mb * 2**20 if options.max_size_mb else None,
        )
    except DataFolderError as error:
        sys.stderr.write(f"aqlite: {error}\n")
        return 1
    except ValueError:
        sys.stderr.write(
            f"aqlite: set {PASSWORD_VARIABLE} to the root password, for the first start and for --set-root-password\n"
        )
        return 2
    # A full collection looks at every object there is, which stops all threads for long beside a query with a million
    # rows; hardly anything of those is cyclic, so the young generations are collected as ever and the old one rarely.
    gc.freeze()
    gc.set_threshold(*gc.get_threshold()[:2], _FULL_COLLECTIONS_EVERY)
    # Queries hold the interpreter for long; switching often keeps short requests short beside them.
    sys.setswitchinterval(_SWITCH_SECONDS)
    config = uvicorn.Config(
        create_app(server),
        host=options.host,
        port=options.port,
        log_level="warning",
        access_log=False,
        http=bounded_head_protocol(options.request_seconds, server.requests),
        loop="uvloop",
        ws="none",
        timeout_keep_alive=60,
        timeout_graceful_shutdown=5,
        server_header=False,
    )
    try:
        _AnnouncingServer(config, f"aqlite {__version__} (ArangoDB {ARANGODB_VERSION} API)").run()
    finally:
        server.close()
    return 0


class _AnnouncingServer(uvicorn.Server):
    """Says in one line when it accepts connections, and returns after SIGINT or SIGTERM instead of raising it again."""

    def __init__(self, config: uvicorn.Config, name: str) -> None:
        super().__init__(config)
        self._name = name

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        yield

    async def startup(self, sockets: list | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            sys.stdout.write(f"{self._name} is ready on http://{self.config.host}:{port}\n")
            sys.stdout.flush()


def _secret(file: Path | None) -> str | None:
    """Text of the file. Raises DataFolderError when it cannot be read or is too short to be a secret."""
    if file is None:
        return None
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataFolderError(f"secret file {file} cannot be read: {error}") from error
    if len(secret) < _SECRET_CHARACTERS:
        raise DataFolderError(f"secret file {file} has {len(secret)} characters, expected {_SECRET_CHARACTERS} or more")
    return secret


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="aqlite", description="Embedded ArangoDB-compatible server.")
    parser.add_argument("--data", type=Path, required=True, help="data folder, made when missing")
    parser.add_argument("--port", type=int, default=8529, help="port, 0 for any free one (default: 8529)")
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default: 127.0.0.1)")
    parser.add_argument("--allow-remote", action="store_true", help="allow another --host than 127.0.0.1")
    parser.add_argument(
        "--jwt-secret-file",
        type=Path,
        help="file whose text signs and checks tokens (default: a secret of the folder's)",
    )
    parser.add_argument("--max-size-mb", type=int, default=0, help="bound of the data file (default: 0, none)")
    parser.add_argument(
        "--set-root-password",
        action="store_true",
        help=f"give root the password in {PASSWORD_VARIABLE}, also when the data folder has another one",
    )
    parser.add_argument(
        "--request-seconds", type=float, default=60.0, help="time a client has to send a request (default: 60)"
    )
    parser.add_argument("--log-format", choices=FORMATS, default="text", help="lines for people, or JSON objects")
    parser.add_argument("--log-requests", action="store_true", help="a line of the log for every request")
    return parser


if __name__ == "__main__":
    sys.exit(main())
