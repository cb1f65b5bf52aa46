"""A server of the tests is started again after Triton's known fault, and after no other end."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from serving import FAULT, Kept, ready, running
from waiting import wait_for

from workshop import stack
from workshop.errors import ServerUnreachableError
from workshop.stack.private import private_settings
from workshop.triton.client import TritonClient


@pytest.mark.parametrize("known", [True, False])
def test_a_server_of_the_tests_is_started_again_after_the_known_fault_only(
    known, model_repository, tiny_model_names, tmp_path
):
    for name in ("divide", "mean"):
        shutil.copytree(model_repository / name, tmp_path / "models" / name)
    settings = private_settings(tmp_path / "stack", model_repository=tmp_path / "models")
    kept: list[Kept] = []
    with running(settings, ["divide"], kept), TritonClient.from_settings(settings, retries=0) as client:
        (server,) = kept
        client.load_model("mean")
        server.keep()
        (status,) = stack.status(settings, ["triton"])
        os.kill(status.pid, signal.SIGKILL)
        wait_for(lambda: not stack.status(settings, ["triton"])[0].pid, "the server is gone")
        if known:
            with Path(status.log).open("a") as log:
                log.write(f"terminate called after throwing an instance of {FAULT!r}\n")
            with pytest.warns(UserWarning, match="started again"):
                server.keep()
            assert sorted(ready(client)) == ["divide", "mean"]
        else:
            server.keep()
            with pytest.raises(ServerUnreachableError):
                ready(client)
    assert not kept
    assert stack.status(settings, ["triton"])[0].state == "stopped"
