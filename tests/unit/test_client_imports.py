"""The clients import in an environment that has neither torch nor PyG."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import workshop.triton

BLOCK = """
import importlib, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torch_geometric"}:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Blocked())
importlib.import_module(sys.argv[1])
"""
MODULES = [
    *(f"workshop.triton.{module.name}" for module in pkgutil.iter_modules(workshop.triton.__path__)),
    "workshop.text.embedder",
    "workshop.text.classifier",
    "workshop.recommend.live_products",
    "workshop.recommend.movies",
    "workshop.api.app",
    "workshop.demo.app",
]


def import_blocked(module: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCK, module], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("module", MODULES)
def test_a_client_imports_without_torch(module):
    result = import_blocked(module)
    assert result.returncode == 0, result.stderr


def test_the_block_blocks():
    result = import_blocked("workshop.text.sentence_bert")
    assert result.returncode == 1
    assert "torch is blocked" in result.stderr
