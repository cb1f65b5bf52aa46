"""The wheel runs alone: built, installed into a fresh environment, asked over HTTP."""

from __future__ import annotations

import subprocess

import pytest
from fresh_install import build_wheel, first_answer, install_wheel

NO_NETWORK = ("Failed to establish a new connection", "Temporary failure in name resolution", "NameResolutionError")


@pytest.mark.slow
def test_a_fresh_environment_answers(tmp_path):
    wheel = build_wheel(tmp_path)
    try:
        python = install_wheel(wheel, tmp_path / "environment")
    except RuntimeError as error:
        if any(sign in str(error) for sign in NO_NETWORK):
            pytest.skip("pip reaches no package index, and the wheel's dependencies come from one")
        raise
    assert first_answer(python, tmp_path) == [1, 4, 9]
    listed = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
    assert "aqlite" in listed
    assert "torch" not in listed
    assert "graph-triton-workshop" not in listed
