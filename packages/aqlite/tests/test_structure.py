"""Rules of the source tree that no other test would notice broken."""

from __future__ import annotations

import ast
from pathlib import Path

import networkx as nx
import pytest

import aqlite

SOURCE = Path(aqlite.__file__).parent
MODULES = {
    ".".join(("aqlite", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in SOURCE.rglob("*.py")
}


def imported_modules(path: Path) -> set[str]:
    """The package's modules that a file imports, for types too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            submodules = names & MODULES.keys()
            found |= submodules
            if names - submodules:
                found.add(node.module)
    return found & MODULES.keys()


@pytest.fixture(scope="module")
def imports() -> nx.DiGraph:
    """An arc from every module to those it imports."""
    return nx.DiGraph((name, other) for name, path in MODULES.items() for other in imported_modules(path))


@pytest.mark.parametrize("layer", ["http", "services"])
def test_no_modules_import_each_other(imports, layer):
    circles = [circle for circle in nx.strongly_connected_components(imports) if len(circle) > 1]
    assert [sorted(circle) for circle in circles if any(f"aqlite.{layer}." in name for name in circle)] == []


def test_layers_import_downwards(imports):
    order = ["aqlite.storage", "aqlite.services", "aqlite.http"]
    upwards = [
        (name, other)
        for name, other in imports.edges
        for level, layer in enumerate(order)
        if name.startswith(layer) and other.startswith(tuple(order[level + 1 :]))
    ]
    assert upwards == []


def test_the_http_layer_runs_no_sql():
    users = [
        path.name
        for path in (SOURCE / "http").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("connection", "execute", "executemany")
    ]
    assert users == []
