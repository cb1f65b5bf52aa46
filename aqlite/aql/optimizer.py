"""Rewrites a plan into a faster one with the same result."""

from __future__ import annotations

from aqlite.aql import plan as p
from aqlite.storage.api import StoreView


def optimize(view: StoreView, plan: p.QueryPlan) -> None:
    """Apply the rules to every block of the plan, in place."""
