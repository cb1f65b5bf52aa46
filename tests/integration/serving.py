"""Models that a module of tests wants of the shared server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from workshop.triton.client import TritonClient


@contextmanager
def loaded(client: TritonClient, *names: str) -> Iterator[None]:
    """Serve models for the length of the block, steps named before their ensembles.

    Those that were not served before are unloaded: each takes 150 MB and more, and what all modules of the suite have
    loaded together fills a small machine.
    """
    before = {model.name for model in client.models() if model.state == "READY"}
    new = [name for name in names if name not in before]
    for name in names:
        client.load_model(name)
    try:
        yield
    finally:
        for name in reversed(new):
            client.unload_model(name)
