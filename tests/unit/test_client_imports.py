"""Clients need neither torch nor PyG: an application server can use them with a small environment."""

import subprocess
import sys

import pytest

BLOCKED = """
import importlib.abc, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in ("torch", "torch_geometric", "transformers", "ogb", "sklearn"):
            raise ModuleNotFoundError(f"{name} is blocked")

sys.meta_path.insert(0, Refuse())
"""


@pytest.mark.parametrize(
    "modules",
    [
        "workshop.triton.signature, workshop.triton.artefact, workshop.triton.repository, workshop.triton.client",
        "workshop.text.embedder, workshop.text.classifier, workshop.catalogue",
    ],
)
def test_clients_import_without_torch(modules):
    result = subprocess.run(
        [sys.executable, "-c", f"{BLOCKED}\nimport {modules}"], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
