"""JupyterLab as the workshop starts it: on the loopback, and with a token."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import time

import pytest
import requests

from workshop.settings import PROJECT_ROOT
from workshop.stack.private import free_ports

SECONDS = 90
STARTS = ("scripts/lab.py", "docker/start_jupyter.sh")


@pytest.mark.parametrize("start", STARTS)
def test_no_start_takes_the_token_away(start):
    text = (PROJECT_ROOT / start).read_text()
    assert "jupyterlab" in text
    assert not re.search(
        r"\b(token|password|IdentityProvider|allow_unauthenticated_access|disable_check_xsrf)\b *=", text
    )


def test_make_lab_listens_on_the_loopback():
    texts = {
        node.value
        for node in ast.walk(ast.parse((PROJECT_ROOT / "scripts/lab.py").read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert "--ip=127.0.0.1" in texts


def test_without_the_token_jupyterlab_tells_nothing(tmp_path):
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "jupyterlab", "--ip=127.0.0.1", f"--port={port}", "--no-browser", "--allow-root"]
    log = tmp_path / "log"
    with log.open("w") as output:
        lab = subprocess.Popen(
            [*command, f"--ServerApp.root_dir={tmp_path}"], stdout=output, stderr=output, cwd=tmp_path
        )
    try:
        end = time.monotonic() + SECONDS
        while not (found := re.search(rf"127\.0\.0\.1:{port}/lab\?token=(\w+)", log.read_text())):
            assert lab.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        assert requests.get(f"{url}/api/contents", timeout=10).status_code == 403
        assert requests.get(f"{url}/api/contents", params={"token": found[1]}, timeout=10).status_code == 200
    finally:
        lab.terminate()
        lab.wait(20)
