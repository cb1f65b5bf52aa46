"""How the modules depend on each other: no circles, type-only imports included."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import aqlite

ROOT = Path(aqlite.__file__).parent
MODULES = {
    ".".join(("aqlite", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}


def imported(path: Path) -> set[str]:
    """Modules of aqlite that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("aqlite"):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return found & MODULES.keys()


@pytest.mark.parametrize("package", ["storage", "services", "http"])
def test_no_import_circles(package):
    prefix = f"aqlite.{package}."
    graph = {
        name: {other for other in imported(path) if other.startswith(prefix)}
        for name, path in MODULES.items()
        if name.startswith(prefix)
    }
    assert len(graph) > 3
    TopologicalSorter(graph).prepare()


def test_lower_layers_do_not_know_the_upper_ones():
    layers = ["storage", "aql", "services", "http"]
    for name, path in MODULES.items():
        layer = name.split(".")[1] if "." in name else ""
        if layer in layers:
            above = tuple(f"aqlite.{upper}" for upper in layers[layers.index(layer) + 1 :])
            assert not [other for other in imported(path) if other.startswith(above)], name


def test_only_the_storage_runs_sql():
    for package in ("http", "services", "aql"):
        for path in (ROOT / package).rglob("*.py"):
            assert ".execute(" not in path.read_text(), path
