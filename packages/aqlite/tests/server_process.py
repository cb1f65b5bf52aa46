"""A real aqlite process for tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from arango import ArangoClient
from arango.database import StandardDatabase
from arango.http import DefaultHTTPClient

PASSWORD = "test-password"


class ServerProcess:
    """``python -m aqlite`` on a free port; ready when the constructor returns."""

    def __init__(self, data: Path, *, password: str | None = PASSWORD, options: tuple[str, ...] = ()) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "ARANGO_ROOT_PASSWORD"}
        if password is not None:
            environment["ARANGO_ROOT_PASSWORD"] = password
        data.parent.mkdir(parents=True, exist_ok=True)
        self._log = data.with_name("stderr.log")
        with self._log.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "aqlite", "--data", str(data), "--port", "0", *options],
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                text=True,
            )
        ready = self.process.stdout.readline()
        if " is ready on " not in ready:
            self.process.wait(10)
            raise RuntimeError(f"aqlite ended with {self.process.returncode}: {self.log()}")
        self.url = ready.rsplit(" ", 1)[1].strip()
        self.port = int(self.url.rsplit(":", 1)[1])

    def database(self, name: str = "_system", user: str = "root", password: str = PASSWORD) -> StandardDatabase:
        """A python-arango handle."""
        http = DefaultHTTPClient(request_timeout=60, retry_attempts=0)
        return ArangoClient(hosts=self.url, http_client=http).db(name, username=user, password=password)

    def log(self) -> str:
        """What the process wrote to its standard error."""
        return self._log.read_text()

    def kill(self) -> None:
        """End it without any chance to clean up."""
        self.process.send_signal(signal.SIGKILL)
        self._reap()

    def stop(self) -> int:
        """End it politely; returns its exit status."""
        self.process.terminate()
        return self._reap()

    def _reap(self) -> int:
        status = self.process.wait(20)
        self.process.stdout.close()
        return status
