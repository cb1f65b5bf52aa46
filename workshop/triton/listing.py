"""Which models a server has, also for those who may not list its repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workshop.errors import ServingAuthError
from workshop.triton.metrics import fetch_counts
from workshop.triton.transport import ModelState

if TYPE_CHECKING:
    from workshop.settings import Settings
    from workshop.triton.client import TritonClient


def list_models(client: TritonClient, settings: Settings) -> list[ModelState]:
    """The models of a server's repository and their states; where listing wants a key, those that are ready.

    A server that restricts its repository names its models in its metrics all the same.

    Args:
        client: of the server.
        settings: where its metrics are.

    Raises:
        ServingError: the server, or its metrics, do not answer.
    """
    try:
        return client.models()
    except ServingAuthError:  # as in Compose and on Kubernetes, where few have the key
        names = fetch_counts(settings)
        return [ModelState(name, "", "READY", "") for name in names if client.is_ready(name)]
