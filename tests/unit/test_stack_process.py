"""Supervision of server processes, with small stand-in servers in place of tritonserver and aqlite."""

import json
import multiprocessing
import os
import signal
import socket
import sys
from functools import partial

import psutil
import pytest

from workshop.errors import PortInUseError, ServerDiedError, StackError, StartTimeoutError
from workshop.stack import process
from workshop.stack.private import free_ports
from workshop.stack.process import Identity, Service

SERVE = """
import socket, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("listening", flush=True)
while True:
    server.accept()[0].close()
"""
IGNORE_TERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVE
LEAVE_CHILD = (
    "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])\n" + SERVE
)
DIE = "import sys; print('cannot read the settings'); sys.exit(7)"
HANG = "import signal; print('waiting for a child', flush=True); signal.pause()"


def answers(port: int) -> bool:
    socket.create_connection(("127.0.0.1", port), timeout=1).close()
    return True


@pytest.fixture
def make_service(tmp_path):
    services = []

    def make(code: str, *, host: str = "127.0.0.1", name: str = "demo", **changes) -> Service:
        port = changes.pop("port", None) or free_ports(1)[0]
        options = {
            "name": name,
            "directory": tmp_path,
            "argv": (sys.executable, "-S", "-c", code, host, str(port)),
            "env": {"PATH": os.environ["PATH"]},
            "ports": {"http": port},
            "is_ready": partial(answers, port),
            "start_timeout": 20.0,
            "fingerprint": "one",
        }
        services.append(Service(**{**options, **changes}))
        return services[-1]

    yield make
    for service in services:
        process.stop_processes(service.directory, service.name, timeout=0.5)


def test_a_started_service_answers_is_recorded_and_stops_without_leaving_anything(make_service, tmp_path):
    cleaned = []
    service = make_service(SERVE, clean_up=lambda: cleaned.append(True))
    identity = process.start(service)
    assert answers(service.ports["http"])
    assert process.read_identity(tmp_path, "demo") == identity
    assert "listening" in process.tail(process.log_file(tmp_path, "demo"))
    cleaned.clear()
    assert process.stop(service)
    assert cleaned == [True]
    assert not psutil.pid_exists(identity.pid), "not even a zombie is left"
    assert process.read_identity(tmp_path, "demo") is None
    assert process.members(tmp_path, "demo") == []
    assert not process.stop(service), "a second stop finds nothing to stop"


def test_a_server_that_ends_while_starting_is_reported_with_its_status_and_last_log_lines(make_service, tmp_path):
    with pytest.raises(
        ServerDiedError, match=r"demo ended while starting \(exit status 7\).*\ncannot read the settings"
    ):
        process.start(make_service(DIE))
    assert process.members(tmp_path, "demo") == []


def test_a_server_that_neither_answers_nor_ends_is_killed_after_the_bounded_wait(make_service, tmp_path):
    with pytest.raises(StartTimeoutError, match=r"demo was not ready after 1 s.*\nwaiting for a child"):
        process.start(make_service(HANG, start_timeout=1.0))
    assert process.members(tmp_path, "demo") == []


def test_a_taken_port_is_refused_with_its_number_and_holder(make_service):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(PortInUseError, match=rf"port {port} \(demo http\).*process {os.getpid()} listens there"):
            process.start(make_service(SERVE, port=port))


def test_the_hint_names_the_setting_of_the_port():
    assert process.setting_of("triton", "grpc") == "TRITON_GRPC_PORT"
    assert process.setting_of("triton", "sagemaker") == "SAGEMAKER_PORT"
    assert process.setting_of("aqlite", "http") == "ARANGO_PORT"


def test_a_server_open_to_other_machines_is_stopped(make_service, tmp_path):
    with pytest.raises(StackError, match=r"demo listens on 0\.0\.0\.0:\d+, open to other machines"):
        process.start(make_service(SERVE, host="0.0.0.0"))
    assert process.members(tmp_path, "demo") == []


def test_a_server_deaf_to_terminate_is_killed(make_service, tmp_path):
    service = make_service(IGNORE_TERM)
    process.start(service)
    assert process.stop_processes(tmp_path, "demo", timeout=0.3)
    assert process.members(tmp_path, "demo") == []


def test_children_that_outlive_a_killed_server_go_with_the_next_start(make_service, tmp_path):
    service = make_service(LEAVE_CHILD)
    identity = process.start(service)
    orphans = [member for member in process.members(tmp_path, "demo") if member.pid != identity.pid]
    assert len(orphans) == 1
    server = identity.process()
    server.kill()
    server.wait(5)
    assert [member.pid for member in process.members(tmp_path, "demo")] == [orphans[0].pid]
    second = process.start(service)
    assert orphans[0].pid not in {member.pid for member in process.members(tmp_path, "demo")}
    assert second.pid != identity.pid
    assert answers(service.ports["http"])


def test_a_server_is_found_and_stopped_without_its_pid_file(make_service, tmp_path):
    identity = process.start(make_service(SERVE))
    process.pid_file(tmp_path, "demo").unlink()
    server = identity.process()
    assert process.stop_processes(tmp_path, "demo")
    assert not server.is_running()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', "12345\n"])
def test_a_damaged_pid_file_counts_as_no_server(tmp_path, content):
    process.pid_file(tmp_path, "demo").write_text(content)
    assert process.read_identity(tmp_path, "demo") is None


def test_a_pid_that_was_given_to_another_process_is_not_ours(tmp_path):
    this = psutil.Process()
    process.write_identity(tmp_path, "demo", Identity(this.pid, this.create_time() - 3600, "one", {}))
    assert process.read_identity(tmp_path, "demo") is None
    assert not process.stop_processes(tmp_path, "demo"), "and it is not stopped"
    assert not process.pid_file(tmp_path, "demo").exists()


def test_stopping_one_service_leaves_another_of_the_same_stack_alone(make_service, tmp_path):
    process.start(make_service(SERVE, name="first"))
    second = process.start(make_service(SERVE, name="second"))
    assert process.stop_processes(tmp_path, "first")
    assert second.process() is not None


def test_the_log_of_the_run_before_is_kept(make_service, tmp_path):
    service = make_service(SERVE)
    log = process.log_file(tmp_path, "demo")
    process.start(service)
    process.stop(service)
    with log.open("a") as stream:
        stream.write("the first run\n")
    process.start(service)
    assert "the first run" in log.with_name("demo.log.1").read_text()
    assert "the first run" not in log.read_text()


def test_an_interrupt_while_starting_leaves_nothing_running(make_service, tmp_path):
    def interrupted() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.start(make_service(SERVE, is_ready=interrupted))
    assert process.members(tmp_path, "demo") == []


def hold_lock(directory, entered, leave):
    with process.locked(directory, timeout=5):
        entered.set()
        leave.wait(30)


def test_the_lock_keeps_a_second_command_out_and_dies_with_its_holder(tmp_path):
    context = multiprocessing.get_context("fork")
    entered, leave = context.Event(), context.Event()
    holder = context.Process(target=hold_lock, args=(tmp_path, entered, leave))
    holder.start()
    assert entered.wait(10)
    refused = pytest.raises(StackError, match="another command has been starting or stopping the stack")
    with refused, process.locked(tmp_path, timeout=0.2):
        pytest.fail("the lock was given twice")
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(10)
    with process.locked(tmp_path, timeout=5):
        assert (tmp_path / "lock").exists()


def test_the_identity_survives_a_round_trip_through_the_file(tmp_path):
    this = psutil.Process()
    identity = Identity(this.pid, this.create_time(), "one", {"http": 8000})
    process.write_identity(tmp_path, "demo", identity)
    assert process.read_identity(tmp_path, "demo") == identity
    assert json.loads(process.pid_file(tmp_path, "demo").read_text())["ports"] == {"http": 8000}


def test_tail_gives_the_last_lines_and_tells_of_a_missing_or_empty_log(tmp_path):
    log = tmp_path / "a.log"
    assert "no log file" in process.tail(log)
    log.write_text("")
    assert process.tail(log) == "(the log is empty)"
    log.write_text("".join(f"line {number}\n" for number in range(50)))
    assert process.tail(log, 2) == "line 48\nline 49"


def test_an_excerpt_for_an_error_message_leaves_out_tables_and_empty_lines(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("E1 cannot bind\n\n+----+\n| option | value |\n+----+\nI1 exiting\n")
    assert process.excerpt(log) == "E1 cannot bind\nI1 exiting"
