"""Settings of a stack of its own over a given model repository."""

from __future__ import annotations

from pathlib import Path

from workshop.settings import Settings
from workshop.stack import private
from workshop.stack.private import free_ports

__all__ = ["free_ports", "private_settings"]


def private_settings(directory: Path, repository: Path, **changes: object) -> Settings:
    """Settings of a stack of its own: own state folder, own ports, local servers only."""
    return private.private_settings(directory, model_repository=repository, **changes)
