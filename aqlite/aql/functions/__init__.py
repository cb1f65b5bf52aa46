"""The AQL function library: ``FUNCTIONS`` maps upper-case names to their implementations."""

from __future__ import annotations

from aqlite.aql.functions.registry import Function, Registry

FUNCTIONS: Registry = Registry()

__all__ = ["FUNCTIONS", "Function", "Registry"]
