"""The house holds together: imports point down (the contract in pyproject.toml), and never in a circle."""

import subprocess
import sys

import grimp
import networkx as nx
import pytest

from workshop.settings import PROJECT_ROOT


def test_imports_point_down():
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    result = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("package", ["workshop"])
def test_there_is_no_import_circle(package):
    graph = grimp.build_graph(package, exclude_type_checking_imports=False, cache_dir=None)
    arrows = [(module, other) for module in graph.modules for other in graph.find_modules_directly_imported_by(module)]
    circles = nx.strongly_connected_components(nx.DiGraph(arrows))
    assert [sorted(circle) for circle in circles if len(circle) > 1] == []


def test_aqlite_is_reached_over_http_only():
    for package, other in (("workshop", "aqlite"), ("aqlite", "workshop")):
        graph = grimp.build_graph(package, include_external_packages=True, cache_dir=None)
        assert other not in graph.modules, f"{package} imports {other}"
