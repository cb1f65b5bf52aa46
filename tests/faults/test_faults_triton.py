"""Faults of the model server: killed, frozen, overloaded, given other or broken models."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import served_models
from callers import Callers, at_once
from waiting import wait_for

from workshop import stack
from workshop.errors import (
    ModelNotFoundError,
    ModelNotReadyError,
    PortInUseError,
    ServerBusyError,
    ServerUnreachableError,
    ServingError,
    ServingTimeoutError,
    TensorShapeError,
)
from workshop.stack import process
from workshop.stack.private import private_settings
from workshop.stack.triton import shared_memory_prefix
from workshop.triton.aio import AsyncTritonClient
from workshop.triton.client import TritonClient
from workshop.triton.repository import check_repository, models_to_start
from workshop.triton.signature import write_config

VALUES = np.array([[1.0, 2.0, 3.0]], np.float32)


def scaled(client: TritonClient) -> float:
    """The factor of the version that answers."""
    return float(client.infer("scale", {"values__0": VALUES})["scaled__0"][0, 0])


def sleep(client: TritonClient, milliseconds: int, model: str = "slow") -> None:
    client.infer(model, {"MILLISECONDS": np.array([[milliseconds]], np.int32)})


def raised(action: Callable[[], object]) -> ServingError | None:
    """The error that an action ends by, if it does."""
    try:
        action()
    except ServingError as error:
        return error
    return None


def server_process(settings) -> psutil.Process:
    return process.read_identity(settings.stack_dir.resolve(), "triton").process()


def model_process(settings, model: str) -> psutil.Process:
    for child in server_process(settings).children():
        with suppress(psutil.ZombieProcess):
            if f"/{model}/" in " ".join(child.cmdline()):
                return child
    raise LookupError(f"no process of model {model}")


@pytest.mark.fault(
    broken="kill -9 of tritonserver while four clients ask",
    expected="every call ends within 10 s, with the answer or ServerUnreachableError; the restarted server answers",
)
def test_triton_is_killed_under_load(triton, client):
    with Callers(lambda _: scaled(client), threads=4) as callers:
        wait_for(lambda: callers.answered() > 50, "calls before the kill")
        os.kill(server_process(triton).pid, signal.SIGKILL)
        wait_for(callers.errors, "a call that failed")
        stack.up(triton, ["triton"], models=served_models.NAMES)
        restarted = time.monotonic()
        wait_for(lambda: callers.answered(restarted) > 20, "calls answered after the restart")
    assert {type(error) for error in callers.errors()} == {ServerUnreachableError}
    assert max(call.seconds for call in callers.calls) < 10
    assert {call.answer for call in callers.calls if not call.error} == {1.0}
    # a later `up` finds the same server: nothing of the killed one is left
    assert stack.status(triton, ["triton"])[0].healthy


@pytest.mark.fault(
    broken="kill -9 of one model's process while clients ask it and another model",
    expected="its calls end within 10 s by errors that say so; the other model loses none, unless the process died "
    "holding a lock of the server's, which ends the server too; `up` brings back what is gone",
)
def test_a_model_process_is_killed_under_load(triton, client):
    server = server_process(triton).pid

    def noticed() -> bool:
        status = stack.status(triton, ["triton"])[0]
        return status.state == "stopped" or status.models.get("slow", "").startswith("DIED")

    with Callers(lambda _: sleep(client, 1), threads=2) as slow, Callers(lambda _: scaled(client), threads=2) as other:
        wait_for(lambda: slow.answered() > 20 and other.answered() > 20, "calls before the kill")
        model_process(triton, "slow").kill()
        wait_for(slow.errors, "a call that failed")
        wait_for(noticed, "the end of the process, or of the server, in its status")
        stack.up(triton, ["triton"], models=served_models.NAMES)
        replaced = time.monotonic()
        wait_for(lambda: slow.answered(replaced) > 20, "calls answered after the model was loaded again")
        wait_for(lambda: other.answered(replaced) > 20, "calls of the other model answered")
    allowed = {ModelNotReadyError, ModelNotFoundError}
    if server_process(triton).pid == server:
        assert not other.errors()
    else:  # about one kill in forty, and by nothing else
        ended = stack.log_path(triton, "triton").with_suffix(".log.1").read_text(encoding="utf-8")
        assert "boost::interprocess::lock_exception" in ended
        allowed |= {ServerUnreachableError}
        assert {type(error) for error in other.errors()} <= {ServerUnreachableError}
    assert {type(error) for error in slow.errors()} <= allowed
    assert max(call.seconds for call in [*slow.calls, *other.calls]) < 10


@pytest.mark.fault(
    broken="tritonserver is stopped (SIGSTOP) and goes on later (SIGCONT)",
    expected="calls end by ServingTimeoutError within their limit; afterwards the same server answers",
)
@pytest.mark.long
def test_triton_freezes_and_thaws(triton, client):
    assert scaled(client) == 1.0
    server = server_process(triton)
    with TritonClient.from_settings(triton, timeout=1.0) as impatient:
        impatient.signature("scale")
        server.suspend()
        try:
            began = time.monotonic()
            with pytest.raises(ServingTimeoutError, match="no answer within the time allowed"):
                scaled(impatient)
            assert not impatient.is_live(timeout=0.5)
            assert time.monotonic() - began < 5
        finally:
            server.resume()
        impatient.wait_ready("scale", timeout=20)
        assert scaled(impatient) == 1.0


@pytest.mark.fault(
    broken="a model's process hangs (SIGSTOP)",
    expected="its calls end within 10 s by an error that says so; other models answer; killed, it is replaced by `up`",
)
@pytest.mark.long
def test_a_model_process_freezes(triton, client):
    frozen = model_process(triton, "slow")
    sleep(client, 1)
    frozen.suspend()
    try:
        began = time.monotonic()
        with pytest.raises(ModelNotReadyError, match="Stub process 'slow_0_0' is not healthy"):
            sleep(client, 1)
        assert time.monotonic() - began < 10
        assert scaled(client) == 1.0
    finally:
        frozen.kill()
    wait_for(lambda: stack.status(triton, ["triton"])[0].models["slow"].startswith("DIED"), "the process's end")
    stack.up(triton, ["triton"], models=served_models.NAMES)
    sleep(client, 1)


@pytest.mark.fault(
    broken="a new version of a model is a damaged file",
    expected="loading it is refused by name; the old version serves on, no call fails; without it all is as before",
)
def test_a_damaged_version_is_refused_and_rolled_back(triton, client):
    broken = served_models.write_version(triton.model_repository, 2, b"PK\x03\x04 half a file")
    try:
        with Callers(lambda _: scaled(client), threads=2) as callers:
            wait_for(lambda: callers.answered() > 20, "calls before the load")
            with pytest.raises(ModelNotReadyError, match=r"scale/2/model\.pt is not a TorchScript file"):
                client.load_model("scale")
            refused = time.monotonic()
            wait_for(lambda: callers.answered(refused) > 20, "calls after the refused load")
        assert not callers.errors()
        assert {call.answer for call in callers.calls} == {1.0}
    finally:
        shutil.rmtree(broken)
    client.load_model("scale")
    assert scaled(client) == 1.0
    assert client.is_ready("scale", version="1")


@pytest.mark.fault(
    broken="the server starts anew while a model's newest version is a damaged file",
    expected="the model is named as not loaded, though an older version is whole; others serve; without it, it loads",
)
@pytest.mark.long
def test_a_damaged_version_is_there_at_a_restart(triton):
    broken = served_models.write_version(triton.model_repository, 2, b"PK\x03\x04 half a file")
    try:
        stack.down(triton, ["triton"])
        (status,) = stack.up(triton, ["triton"], models=served_models.NAMES)
        assert re.search(r"^UNAVAILABLE: .*scale/2/model\.pt is not a TorchScript file", status.models["scale"])
        assert {state for name, state in status.models.items() if name != "scale"} == {"READY"}
        with TritonClient.from_settings(triton) as client:
            with pytest.raises(ModelNotReadyError, match=r"scale/2/model\.pt is not a TorchScript file"):
                scaled(client)
            sleep(client, 1)
            shutil.rmtree(broken)
            client.load_model("scale")
            assert scaled(client) == 1.0
    finally:
        shutil.rmtree(broken, ignore_errors=True)


@pytest.mark.fault(
    broken="a new version is loaded while four clients ask, and taken back",
    expected="no call fails; each is answered by the old version or the new one, and by the new one from the load on",
)
def test_a_model_is_swapped_under_load(triton, client):
    doubled = served_models.write_version(triton.model_repository, 2, served_models.Scale(2.0))
    try:
        with Callers(lambda _: scaled(client), threads=4) as callers:
            wait_for(lambda: callers.answered() > 20, "calls of the old version")
            client.load_model("scale")
            loaded = time.monotonic()
            wait_for(lambda: callers.answered(loaded) > 50, "calls of the new version")
            shutil.rmtree(doubled)
            client.load_model("scale")
            back = time.monotonic()
            wait_for(lambda: callers.answered(back) > 50, "calls of the version taken back")
    finally:
        shutil.rmtree(doubled, ignore_errors=True)
    assert not callers.errors()
    assert {call.answer for call in callers.calls} == {1.0, 2.0}
    ended_within = [call for call in callers.calls if loaded < call.began and call.began + call.seconds < back - 1]
    assert {call.answer for call in ended_within} <= {2.0}
    assert {call.answer for call in callers.calls if call.began > back} == {1.0}


@pytest.mark.fault(
    broken="sixteen calls at once of a model that runs one at a time and lets four wait",
    expected="what does not fit is refused by ServerBusyError within 5 s, the rest is answered",
)
def test_an_overloaded_model_refuses(triton):
    with TritonClient.from_settings(triton, timeout=30, retries=0) as client:
        sleep(client, 1)
        calls = at_once(lambda _: sleep(client, 300), 16)
    refused = [call for call in calls if call.error]
    assert {type(call.error) for call in refused} == {ServerBusyError}
    assert 0 < len(refused) < 16
    assert max(call.seconds for call in refused) < 5
    assert max(call.seconds for call in calls) < 16 * 0.3 + 10


@pytest.mark.fault(
    broken="sixteen calls at once of ensembles whose first or last step lets four wait",
    expected="what does not fit is refused by ServerBusyError within 5 s, the rest is answered; the ensembles serve on",
)
@pytest.mark.parametrize("ensemble", ["first_step_slow", "last_step_slow"])
def test_an_overloaded_ensemble_refuses(triton, ensemble):
    with TritonClient.from_settings(triton, timeout=30, retries=0) as client:
        sleep(client, 1, ensemble)
        calls = at_once(lambda _: sleep(client, 200, ensemble), 16)
        refused = [call for call in calls if call.error]
        assert {type(call.error) for call in refused} == {ServerBusyError}
        assert 0 < len(refused) < 16
        assert max(call.seconds for call in refused) < 5
        assert max(call.seconds for call in calls) < 16 * 0.2 + 10
        sleep(client, 1, ensemble)


@pytest.mark.fault(
    broken="the repository holds an ensemble that runs a model of limited queue beside another step",
    expected="the check names it and the start leaves it out, since an overflow there may end the server",
)
def test_an_ensemble_that_may_end_the_server_is_left_out(tmp_path):
    repository = tmp_path / "models"
    served_models.write_models(repository)
    write_config(served_models.SIDE_BY_SIDE, repository)
    (repository / "side_by_side" / "1").mkdir()
    (problem,) = check_repository(repository, ())
    assert problem.path == "side_by_side/config.pbtxt"
    assert "beside another step" in problem.what
    assert sorted(models_to_start(repository)) == sorted(served_models.NAMES)


@pytest.mark.fault(
    broken="a client cancels a request whose model would work for a minute",
    expected="the model hears of it within 5 s and is free for the next request",
)
def test_a_request_is_cancelled(triton, client):
    folder = served_models.marks_folder(triton.model_repository)
    begun, heard = folder / "begun", folder / "cancelled"
    for mark in (begun, heard):
        mark.unlink(missing_ok=True)

    async def asked_and_cancelled() -> None:
        async with AsyncTritonClient.from_settings(triton) as own:
            minute = asyncio.ensure_future(own.infer("slow", {"MILLISECONDS": np.array([[60_000]], np.int32)}))
            await asyncio.to_thread(wait_for, begun.exists, "the model has begun", 20)
            minute.cancel()
            with pytest.raises(asyncio.CancelledError):
                await minute

    asyncio.run(asked_and_cancelled())
    wait_for(heard.exists, "the model heard of it", 5)
    began = time.monotonic()
    sleep(client, 1)
    assert time.monotonic() - began < 5


@pytest.mark.fault(
    broken="a request of 65 rows and one of 32 MB; the model takes 64 rows",
    expected="the client cuts the first to fit; sent raw, it is refused by name; the second is answered",
)
@pytest.mark.long
def test_a_request_is_oversized(triton, client):
    texts = np.array([[f"text {number}"] for number in range(65)], dtype=object)
    assert client.infer("embed", {"TEXT": texts})["EMBEDDING"].shape == (65, served_models.WIDTH)
    with pytest.raises(TensorShapeError, match="64"):
        list(client.infer_many("embed", [{"TEXT": texts}]))
    assert client.infer("embed", {"TEXT": np.array([["x" * 2**25]], dtype=object)})["EMBEDDING"].shape == (1, 8)
    with pytest.raises(TensorShapeError):
        client.infer("scale", {"values__0": VALUES[0]})


@pytest.mark.fault(
    broken="another program listens on Triton's gRPC port",
    expected="the start is refused by PortInUseError, which names port and holder; nothing is left running",
)
def test_a_port_is_taken(triton, tmp_path):
    settings = private_settings(tmp_path / "stack", model_repository=triton.model_repository)
    holder = rf"{settings.triton_grpc_port} .*process {os.getpid()} listens"
    with (
        socket.create_server(("127.0.0.1", settings.triton_grpc_port)),
        pytest.raises(PortInUseError, match=holder),
    ):
        stack.up(settings, ["triton"], models=["embed"])
    assert not process.members(settings.stack_dir.resolve(), "triton")


@pytest.mark.fault(
    broken="a crash left a pid file whose number now is another process's, a lock file and shared memory",
    expected="the next start takes no notice of them, removes the memory, and harms no other process",
)
@pytest.mark.long
def test_files_of_a_crash_are_left(triton, tmp_path):
    settings = private_settings(tmp_path / "stack", model_repository=triton.model_repository)
    directory = settings.stack_dir.resolve()
    directory.mkdir(parents=True)
    own = psutil.Process()
    for name in stack.SERVICES:
        process.write_identity(directory, name, process.Identity(own.pid, own.create_time() - 3600, "old", {"http": 1}))
    (directory / "lock").write_text("4242")
    left = Path("/dev/shm") / f"{shared_memory_prefix(directory)}_left_behind"
    left.touch()
    with stack.running(settings, models=["embed"]) as statuses:
        assert [status.state for status in statuses] == ["ready", "ready"]
        assert all(status.pid != own.pid for status in statuses)
        assert not left.exists()
    assert not stack.status(settings)[0].pid


@pytest.mark.fault(
    broken="kill -9 of tritonserver while it loads a model",
    expected="the load ends by a ServingError within 10 s; the restarted server loads the same model",
)
@pytest.mark.long
def test_triton_is_killed_while_it_loads(triton, client):
    doubled = served_models.write_version(triton.model_repository, 2, served_models.Scale(2.0))
    server, outcome = server_process(triton), []

    def load() -> None:
        outcome.append(raised(lambda: client.load_model("scale")))

    thread, began = threading.Thread(target=load), time.monotonic()
    before = {child.pid for child in server.children()}
    thread.start()
    try:
        wait_for(lambda: {child.pid for child in server.children()} - before, "a new model process")
        server.kill()
        thread.join()
        assert isinstance(outcome[0], ServerUnreachableError)
        assert time.monotonic() - began < 10
        stack.up(triton, ["triton"], models=served_models.NAMES)
        assert scaled(client) == 2.0
    finally:
        thread.join()
        shutil.rmtree(doubled)
        client.load_model("scale")
