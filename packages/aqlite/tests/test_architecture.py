"""How the modules depend on each other: layers that point down, no circles, and SQL in one place."""

from __future__ import annotations

import re
from pathlib import Path

import grimp
import networkx as nx
import pytest

import aqlite

ROOT = Path(aqlite.__file__).parent
LAYERS = ["storage", "aql", "services", "http"]
"""Lowest first."""


@pytest.fixture(scope="module")
def imports() -> nx.DiGraph:
    """Modules and what they import, type-only imports included."""
    graph = grimp.build_graph("aqlite", exclude_type_checking_imports=False, cache_dir=None)
    arrows = [(module, other) for module in graph.modules for other in graph.find_modules_directly_imported_by(module)]
    return nx.DiGraph(arrows)


def test_there_is_no_import_circle(imports):
    assert len(imports) > 50
    assert [sorted(circle) for circle in nx.strongly_connected_components(imports) if len(circle) > 1] == []


def test_lower_layers_do_not_know_the_upper_ones(imports):
    for module, other in imports.edges:
        layer, other_layer = (f"{name}.".split(".")[1] for name in (module, other))
        if layer in LAYERS and other_layer in LAYERS:
            assert LAYERS.index(other_layer) <= LAYERS.index(layer), f"{module} imports {other}"


def test_only_the_storage_runs_sql():
    for layer in LAYERS[1:]:
        modules = list((ROOT / layer).rglob("*.py"))
        assert modules
        for path in modules:
            assert not re.search(r"\bsqlite3\b|\.execute(many|script)?\(", path.read_text()), path
