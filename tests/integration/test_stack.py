"""The local stack with the real tritonserver: start, reuse, crash, stop."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest
import tiny_models
from arango import ArangoClient
from arango.exceptions import ServerConnectionError

from workshop import stack
from workshop.errors import (
    PortInUseError,
    ServerDiedError,
    ServingAuthError,
    SettingsError,
    StackError,
    StartTimeoutError,
    StoreAuthError,
)
from workshop.settings import PROJECT_ROOT
from workshop.stack import process, triton
from workshop.stack.private import free_ports, private_settings
from workshop.store.connection import change_password, connect, server_version
from workshop.triton.client import TritonClient

ROW = ("FP32", [-1])


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A sound model, and a stray folder as editors leave it."""
    repository = tmp_path_factory.mktemp("repository")
    tiny_models.save_torch(
        repository, "divide", tiny_models.Divide(), [("dividend", *ROW), ("divisor", *ROW)], [("quotient", *ROW)]
    )
    (repository / ".ipynb_checkpoints").mkdir()
    return repository


@pytest.fixture
def settings(tmp_path, repository):
    settings = private_settings(tmp_path / "stack", model_repository=repository)
    yield settings
    stack.down(settings)


def up(settings, *models, **options):
    return stack.up(settings, ["triton"], models=models, **options)[0]


def get(port, path, method="GET"):
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path)
    response = connection.getresponse()
    return response.status, response.read().decode()


def own_regions(settings):
    prefix = triton.shared_memory_prefix(settings.stack_dir.resolve())
    return list(Path("/dev/shm").glob(f"{prefix}*"))


def stub_of(status):
    return next(child for child in psutil.Process(status.pid).children() if "divide" in " ".join(child.cmdline()))


def cli(settings, *arguments):
    environment = {
        **os.environ,
        "WORKSHOP_STACK_DIR": str(settings.stack_dir),
        "WORKSHOP_MODEL_REPOSITORY": str(settings.model_repository),
        "WORKSHOP_TRITON_HTTP_PORT": str(settings.triton_http_port),
        "WORKSHOP_TRITON_GRPC_PORT": str(settings.triton_grpc_port),
        "WORKSHOP_TRITON_METRICS_PORT": str(settings.triton_metrics_port),
        "WORKSHOP_SAGEMAKER_PORT": str(settings.sagemaker_port),
        "WORKSHOP_ARANGO_PORT": str(settings.arango_port),
        "ARANGO_URL": "",
    }
    command = [sys.executable, str(PROJECT_ROOT / "scripts" / "stack.py"), *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_every_front_end_listens_on_this_machine_only_and_answers(settings):
    settings = settings.model_copy(update={"sagemaker_port": free_ports(1)[0], "response_cache_mb": 8})
    status = up(settings, "divide")
    assert status.healthy
    assert set(status.ports) == {"http", "grpc", "metrics", "sagemaker"}
    listening = {
        connection.laddr
        for member in process.members(settings.stack_dir, "triton")
        for connection in member.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {address.port for address in listening} == set(status.ports.values())
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
    assert get(status.ports["sagemaker"], "/ping")[0] == 200
    assert "nv_inference_request_success" in get(status.ports["metrics"], "/metrics")[1]
    log = stack.log_path(settings, "triton").read_text()
    assert "| cache_enabled                    | 1 " in log


def test_metrics_can_be_switched_off(settings):
    settings = settings.model_copy(update={"triton_metrics_port": 0})
    assert set(up(settings).ports) == {"http", "grpc"}


def test_a_second_up_uses_the_running_server_and_loads_what_it_lacks(settings):
    first = up(settings)
    assert first.started_now
    assert first.models == {}
    with stack.running(settings, ["triton"], models=["divide"]) as (second,):
        assert not second.started_now
        assert second.pid == first.pid
        assert second.models == {"divide": "READY"}
    assert stack.status(settings)[0].state == "ready", "the block stops only what it started"
    assert 20 < stack.status(settings)[0].memory_mb < 2000
    other = settings.model_copy(update={"response_cache_mb": 8})
    with pytest.raises(StackError, match=rf"triton already runs \(process {first.pid}\) with other settings"):
        up(other)
    assert stack.down(settings) == ["triton"]
    assert stack.down(settings) == []
    assert stack.status(settings)[0].state == "stopped"
    assert own_regions(settings) == []


def test_a_corrupt_model_is_named_and_the_others_serve(settings, repository, tmp_path):
    both = shutil.copytree(repository, tmp_path / "both")
    tiny_models.save_torch(both, "corrupt", "no archive", [("a__0", *ROW)], [("b__0", *ROW)])
    settings = settings.model_copy(update={"model_repository": both})
    status = up(settings, "divide", "corrupt")
    assert status.state == "ready"
    assert not status.healthy
    assert status.models["divide"] == "READY"
    assert "corrupt/1/model.pt is not a TorchScript file" in status.models["corrupt"]
    assert get(status.ports["http"], "/v2/models/divide/ready")[0] == 200


def test_a_killed_server_leaves_nothing_that_stops_the_next_start(settings):
    first = up(settings, "divide")
    assert own_regions(settings)
    foreign = Path(f"/dev/shm/workshop_test_of_another_stack_{os.getpid()}")
    foreign.touch()
    try:
        os.kill(first.pid, signal.SIGKILL)
        os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)  # all its threads have ended; it is not reaped
        assert stack.status(settings)[0].state == "stopped"
        left = set(own_regions(settings))
        second = up(settings, "divide")
        assert second.pid != first.pid
        assert second.healthy
        assert not left & set(own_regions(settings))
        assert foreign.exists()
    finally:
        foreign.unlink()


def test_a_killed_model_process_is_replaced(settings):
    first = up(settings, "divide")
    stub = stub_of(first)
    stub.kill()
    assert stack.status(settings)[0].models == {"divide": "DIED: 0 of 1 processes of the model run"}
    second = up(settings, "divide")
    assert second.pid == first.pid
    assert second.healthy
    assert stub_of(second).pid != stub.pid


def test_a_start_whose_launcher_was_killed_is_taken_over(settings, tmp_path):
    (tmp_path / "no models").mkdir()
    settings = settings.model_copy(update={"model_repository": tmp_path / "no models"})
    launcher = cli(settings, "up", "triton")
    with launcher:
        pid_file = process.pid_file(settings.stack_dir, "triton")
        while not pid_file.exists():
            assert launcher.poll() is None, "it ended before it started a server"
        launcher.kill()
    taken = process.read_identity(settings.stack_dir, "triton")
    status = up(settings)
    assert status.state == "ready"
    assert status.pid == taken.pid
    assert not status.started_now


def test_a_server_that_cannot_start_its_model_processes_is_stopped_after_a_bounded_wait(
    settings, tmp_path, monkeypatch
):
    stub = tmp_path / "triton_python_backend_stub"
    stub.write_text("#!/bin/sh\nexec sleep 600\n")
    stub.chmod(0o755)
    broken = replace(triton.find_triton(), stub=stub)
    monkeypatch.setattr(triton, "find_triton", lambda: broken)
    with pytest.raises(StartTimeoutError, match=r"triton was not ready after 3 s\. Last lines of .*triton\.log:\n"):
        up(settings, "divide", start_timeout=3.0)
    assert process.members(settings.stack_dir, "triton") == []
    assert own_regions(settings) == []
    monkeypatch.undo()
    assert up(settings, "divide").healthy


def test_a_server_that_an_earlier_command_left_hanging_is_started_anew(settings):
    first = up(settings)
    server = psutil.Process(first.pid)
    server.suspend()
    second = up(settings, start_timeout=4.0)
    assert second.state == "ready"
    assert second.started_now
    assert second.pid != first.pid
    assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE


def test_a_server_that_dies_while_starting_shows_its_last_words(settings):
    greedy = settings.model_copy(update={"response_cache_mb": 10**9})
    with pytest.raises(
        ServerDiedError, match=r"triton could not initialise\. Last lines(?s:.*)failed to allocate buffer"
    ):
        up(greedy)
    assert stack.status(settings)[0].state == "stopped"


def test_a_taken_port_is_named_with_its_holder_before_anything_starts(settings):
    with socket.create_server(("127.0.0.1", settings.triton_grpc_port)):
        expected = (
            rf"port {settings.triton_grpc_port} \(triton grpc\).*process {os.getpid()}(?s:.*)WORKSHOP_TRITON_GRPC_PORT"
        )
        with pytest.raises(PortInUseError, match=expected):
            up(settings)


def test_two_commands_at_once_start_one_server_and_the_command_line_shows_it(settings):
    commands = [cli(settings, "up", "triton", "--timeout", "60") for _ in range(2)]
    for command in commands:
        _, errors = command.communicate(timeout=120)
        assert command.returncode == 0, errors
    servers = [member for member in process.members(settings.stack_dir, "triton") if "stub" not in member.name()]
    assert len(servers) == 1

    shown = cli(settings, "status", "--json")
    report, _ = shown.communicate(timeout=60)
    by_name = {entry["name"]: entry for entry in json.loads(report)}
    assert by_name["triton"]["pid"] == servers[0].pid
    assert by_name["triton"]["models"] == {"divide": "READY"}
    assert by_name["aqlite"]["state"] == "stopped"
    assert shown.returncode == 3

    logs, _ = cli(settings, "logs", "triton", "--lines", "5").communicate(timeout=60)
    assert f"==> {stack.log_path(settings, 'triton')} <==" in logs
    assert len(logs.splitlines()) == 6

    stopping = cli(settings, "down")
    message, _ = stopping.communicate(timeout=60)
    assert message == "stopped triton\n"
    assert not psutil.pid_exists(servers[0].pid) or servers[0].status() == psutil.STATUS_ZOMBIE


def test_errors_reach_the_command_line_as_one_message(settings):
    command = cli(settings, "up", "nginx")
    _, errors = command.communicate(timeout=60)
    assert command.returncode == 1
    assert "SettingsError: no service nginx in the local stack, it has triton, aqlite" in errors
    assert "Traceback" not in errors


def test_a_server_that_the_settings_place_elsewhere_is_not_started_here(settings):
    remote = settings.model_copy(update={"triton_host": "gpu-1.example"})
    with pytest.raises(SettingsError, match=r"triton is not started here, because WORKSHOP_TRITON_HOST=gpu-1\.example"):
        up(remote)


def test_the_store_runs_beside_triton_and_keeps_its_data_over_a_restart_and_a_kill(settings):
    def database(status):
        password = settings.stack_password_file.read_text().strip()
        return ArangoClient(f"http://127.0.0.1:{status.ports['http']}").db("_system", "root", password)

    (first,) = stack.up(settings, ["aqlite"])
    assert first.healthy
    database(first).create_collection("films").insert({"_key": "alien"})
    os.kill(first.pid, signal.SIGKILL)
    (second,) = stack.up(settings, ["aqlite"])
    assert second.pid != first.pid
    assert database(second).collection("films").has("alien")
    with pytest.raises(ServerConnectionError, match="401"):
        ArangoClient(f"http://127.0.0.1:{settings.arango_port}").db("_system", "root", "wrong", verify=True)


def test_the_last_of_two_blocks_stops_what_the_first_has_started_unless_up_was_called_since(settings):
    def state():
        return stack.status(settings, ["aqlite"])[0].state

    first, second = ExitStack(), ExitStack()
    first.enter_context(stack.running(settings, ["aqlite"]))
    second.enter_context(stack.running(settings, ["aqlite"]))
    first.close()
    assert state() == "ready"
    second.close()
    assert state() == "stopped"
    with stack.running(settings, ["aqlite"]):
        stack.up(settings, ["aqlite"])
    assert state() == "ready"


def test_a_changed_password_is_explained_and_mended_without_loss(tmp_path, monkeypatch):
    """As a user does it: `make up`, then a password for compose in .env, then `make up` again."""
    settings = private_settings(tmp_path / "stack", arango_password="")
    try:
        stack.up(settings, ["aqlite"])
        connect(settings).create_collection("films").insert({"_key": "alien"})
        changed = settings.model_copy(update={"arango_password": "of the .env file"})
        explained = r"made with another password than ARANGO_ROOT_PASSWORD, .* says\nTry: make password"
        with pytest.raises(StackError, match=explained):
            stack.up(changed, ["aqlite"])
        stack.down(settings, ["aqlite"])
        with pytest.raises(StackError, match=explained):
            stack.up(changed, ["aqlite"])
        assert stack.status(settings, ["aqlite"])[0].state == "stopped", "what the failed command started"
        monkeypatch.setenv("WORKSHOP_ARANGO_PASSWORD", "of the .env file")
        assert cli(settings, "password").wait(60) == 0
        stack.up(changed, ["aqlite"])
        assert connect(changed).collection("films").has("alien")
        with pytest.raises(StackError, match=r"another password than the file .*arango_password says"):
            stack.up(settings, ["aqlite"])
        stack.set_password(settings)
        assert stack.status(settings, ["aqlite"])[0].state == "ready", "it ran before"
        assert connect(settings).collection("films").has("alien")
        with pytest.raises(StoreAuthError, match="make password"):
            connect(changed)
    finally:
        stack.down(settings, ["aqlite"])


def test_the_password_of_a_server_elsewhere_is_changed_with_the_old_one(local_store):
    """A second local store stands in for the server of a container, whose volume keeps its first password."""
    old = local_store.stack_password_file.read_text().strip()
    elsewhere = local_store.model_copy(update={"arango_url": local_store.aqlite_url, "arango_password": "new"})
    with pytest.raises(SettingsError, match="no new password is set"):
        change_password(elsewhere.model_copy(update={"arango_password": ""}), old)
    with pytest.raises(StoreAuthError):
        change_password(elsewhere, "wrong")
    change_password(elsewhere, old)
    try:
        assert server_version(connect(elsewhere))
    finally:
        change_password(elsewhere.model_copy(update={"arango_password": old}), "new")
    assert server_version(connect(local_store))


def test_notebooks_run_against_servers_that_something_else_started(model_repository, tmp_path):
    """README's command. A second local stack, whose Triton asks for a key, stands in for compose's servers or remote
    ones: the run starts and stops nothing, and the port of a store of this machine leads nowhere."""
    elsewhere = private_settings(
        tmp_path / "stack", model_repository=model_repository, triton_control_key="key-of-the-room"
    )
    with stack.running(elsewhere, ["triton", "aqlite"], models=[]):
        with TritonClient.from_settings(elsewhere, control_key="") as client, pytest.raises(ServingAuthError):
            client.models()
        environment = {
            **os.environ,
            "WORKSHOP_START_SERVERS": "false",
            "ARANGO_URL": elsewhere.aqlite_url,
            "ARANGO_ROOT_PASSWORD": elsewhere.stack_password_file.read_text(encoding="ascii").strip(),
            "WORKSHOP_ARANGO_PORT": str(free_ports(1)[0]),
            "WORKSHOP_STACK_DIR": str(tmp_path / "none"),
            "WORKSHOP_MODEL_REPOSITORY": str(model_repository),
            "WORKSHOP_TRITON_HTTP_PORT": str(elsewhere.triton_http_port),
            "WORKSHOP_TRITON_GRPC_PORT": str(elsewhere.triton_grpc_port),
            "WORKSHOP_TRITON_METRICS_PORT": str(elsewhere.triton_metrics_port),
            "WORKSHOP_TRITON_CONTROL_KEY": elsewhere.triton_control_key,
        }
        command = [sys.executable, "scripts/run_notebooks.py", "00", "01", "--data-size", "tiny"]
        run = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr
        assert not list((tmp_path / "none").glob("*.pid"))
        assert {status.state for status in stack.status(elsewhere, ["triton", "aqlite"])} == {"ready"}
        assert connect(elsewhere, database="first_taste").collection("movies").count() == 4803
