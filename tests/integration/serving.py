"""A second start for servers of the tests that Triton's own fault has ended."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from waiting import wait_for

from workshop import stack
from workshop.errors import ServerUnreachableError
from workshop.settings import Settings
from workshop.triton.client import TritonClient

FAULT = "boost::interprocess::lock_exception"
"""What the log of tritonserver 2.51 ends with when it has killed the process of a model that it unloads, and the
process held a lock of shared memory. It kills what it has not heard of for a second (``StubLauncher::UpdateHealth``),
which on a busy machine may be a process that is well.
"""


def ready(client: TritonClient) -> list[str]:
    """Names of the models that are served."""
    return [model.name for model in client.models() if model.state == "READY"]


class Kept:
    """A Triton of the tests that is started again when its known fault has ended it, with what it served.

    Args:
        settings: of the running server.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = TritonClient.from_settings(settings)
        self._models: Sequence[str] = ready(self._client)

    def keep(self) -> None:
        """Note what is served; a server that is gone by any other way than the known fault stays gone."""
        try:
            self._models = ready(self._client)
        except ServerUnreachableError:
            if FAULT in (self._settings.stack_dir / "logs" / "triton.log").read_text(errors="replace"):
                warnings.warn(f"tritonserver ended with {FAULT} and is started again", stacklevel=1)
                stack.up(self._settings, ["triton"], models=self._models)
                wait_for(self._answers, "connections are made again")  # gRPC pauses before it tries an address again

    def _answers(self) -> bool:
        try:
            ready(self._client)
        except ServerUnreachableError:
            return False
        return True

    def close(self) -> None:
        """Stop the server if it was started again, which no other block does."""
        self._client.close()
        stack.down(self._settings, ["triton"])


@contextmanager
def running(settings: Settings, models: Sequence[str], kept: list[Kept]) -> Iterator[Settings]:
    """A Triton for the length of the block, which ``kept`` holds meanwhile; gives its settings."""
    with stack.running(settings, ["triton"], models=models):
        kept.append(server := Kept(settings))
        try:
            yield settings
        finally:
            kept.remove(server)
            server.close()
