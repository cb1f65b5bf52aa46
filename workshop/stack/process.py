"""Start, find and stop a server process in its own session, whatever happened to it before.

A server is found again in two ways. Its pid file holds the process's identity (pid and start time), so that a stale
file is recognised. And every process of a server carries a marker in its environment, so that children left behind by
a killed server, or a server whose starter was killed before it wrote the pid file, are found too.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from ipaddress import ip_address
from pathlib import Path
from typing import NoReturn

import psutil

from workshop.errors import PortInUseError, ServerDiedError, StackError, StartTimeoutError

LOGGER = logging.getLogger(__name__)
MARKER = "WORKSHOP_STACK_SERVICE"
POLL_SECONDS = 0.05
LOG_LINES = 20
STOP_TIMEOUT = 15.0  # seconds from SIGTERM to SIGKILL


@dataclass(frozen=True)
class Service:
    """A server: how to start it and how to tell that it is ready.

    Attributes:
        name: names the pid file and the log file.
        directory: where they lie.
        argv: the command line; ``argv[0]`` is an absolute path.
        env: the whole environment of the process.
        ports: every TCP port it opens on 127.0.0.1, by what it is for.
        is_ready: asks the running server; False or OSError mean "not yet", ServerDiedError means "never".
        start_timeout: seconds from start to ready.
        fingerprint: what must agree for a running server to be used instead of a new one.
        prepare: writes what the server reads; called just before a start, when nothing of it runs.
        clean_up: removes what a killed server leaves behind outside ``directory``; called when nothing of it runs.
        open_ports: ports that may be open to other machines, since the user was told and asked for them.
    """

    name: str
    directory: Path
    argv: tuple[str, ...]
    env: Mapping[str, str]
    ports: Mapping[str, int]
    is_ready: Callable[[], bool]
    start_timeout: float
    fingerprint: str
    prepare: Callable[[], None] = field(default=lambda: None)
    clean_up: Callable[[], None] = field(default=lambda: None)
    open_ports: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Identity:
    """A process as recorded in a pid file: the pid alone may have been given to another process since."""

    pid: int
    create_time: float
    fingerprint: str
    ports: dict[str, int]

    def process(self) -> psutil.Process | None:
        """The process if it still runs, else None."""
        entry = self.entry()
        return entry if entry and _runs(entry) else None

    def entry(self) -> psutil.Process | None:
        """The process while the system lists it, be it as one that is ending or has ended."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.create_time) < 1.0
        except psutil.NoSuchProcess:
            return None
        return process if same else None


def pid_file(directory: Path, name: str) -> Path:
    """Where the identity of the server lies."""
    return directory / f"{name}.pid"


def log_file(directory: Path, name: str) -> Path:
    """Where stdout and stderr of the server go; the run before lies beside it with the suffix ``.1``."""
    return directory / "logs" / f"{name}.log"


def read_identity(directory: Path, name: str) -> Identity | None:
    """The recorded process if it still runs; a missing, damaged or stale file gives None."""
    identity = _recorded(directory, name)
    return identity if identity and identity.process() else None


def _recorded(directory: Path, name: str) -> Identity | None:
    try:
        return Identity(**json.loads(pid_file(directory, name).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def write_identity(directory: Path, name: str, identity: Identity) -> None:
    """Record a process, atomically."""
    path = pid_file(directory, name)
    aside = path.with_suffix(".pid.new")
    aside.write_text(json.dumps(asdict(identity)), encoding="utf-8")
    os.replace(aside, path)


def marker(directory: Path, name: str) -> str:
    """The value of the environment variable ``MARKER`` in every process of the server."""
    return f"{directory.resolve()}:{name}"


def members(directory: Path, name: str) -> list[psutil.Process]:
    """Every running process of the server: itself, its children, and children that outlived it."""
    wanted = marker(directory, name)
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARKER) == wanted and _runs(process):
                found.append(process)
    return found


def tail(path: Path, lines: int = LOG_LINES) -> str:
    """The last lines of a log file; says so when there is none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return f"(no log file {path})"
    return "\n".join(text.splitlines()[-lines:]) or "(the log is empty)"


def excerpt(path: Path) -> str:
    """The last lines of a log file for an error message: without the tables tritonserver draws at its start."""
    lines = tail(path, lines=200).splitlines()
    telling = [line for line in lines if line.strip() and not line.startswith(("| ", "+-"))]
    return "\n".join(telling[-LOG_LINES:])


@contextmanager
def locked(directory: Path, timeout: float) -> Iterator[None]:
    """Hold the stack's lock: two starts or stops of one stack never overlap. A killed holder releases it.

    Raises:
        StackError: another process holds the lock for longer than ``timeout`` seconds.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "lock"
    deadline = time.monotonic() + timeout
    with open(path, "a+", encoding="ascii") as stream:
        while True:
            try:
                flock(stream, LOCK_EX | LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StackError(
                        f"another command has been starting or stopping the stack in {directory} for {timeout:.0f} s",
                        hint="make status",
                    ) from None
                time.sleep(POLL_SECONDS)
        yield


@contextmanager
def used(directory: Path, name: str) -> Iterator[None]:
    """Count as a user of the server for the time of a ``with`` block; a killed user counts no longer."""
    directory.mkdir(parents=True, exist_ok=True)
    with open(_users_file(directory, name), "a+", encoding="ascii") as stream:
        flock(stream, LOCK_SH)
        yield


def is_used(directory: Path, name: str) -> bool:
    """Whether some process is inside :func:`used`."""
    with open(_users_file(directory, name), "a+", encoding="ascii") as stream:
        try:
            flock(stream, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _users_file(directory: Path, name: str) -> Path:
    return directory / f"{name}.users"


def check_ports(service: Service) -> None:
    """Check that nothing listens on the service's ports.

    Raises:
        PortInUseError: something does; the message names the port and, if this user may see it, the process.
    """
    for purpose, port in service.ports.items():
        with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise PortInUseError(
                    f"port {port} ({service.name} {purpose}) cannot be opened: {error.strerror}; {_holder(port)}",
                    hint=f"stop that process, or set WORKSHOP_{setting_of(service.name, purpose)} to a free port; "
                    "if docker compose runs and its servers are meant: WORKSHOP_START_SERVERS=false",
                ) from error


def check_listeners(service: Service) -> None:
    """Check that every socket the server listens on belongs to this machine alone.

    Raises:
        StackError: one can be reached from other machines.
    """
    for member in members(service.directory, service.name):
        with suppress(psutil.Error):
            for connection in member.net_connections("tcp"):
                address = ip_address(connection.laddr.ip if connection.laddr else "127.0.0.1")
                address = getattr(address, "ipv4_mapped", None) or address
                allowed = address.is_loopback or connection.laddr.port in service.open_ports
                if connection.status == psutil.CONN_LISTEN and not allowed:
                    raise StackError(
                        f"{service.name} listens on {address}:{connection.laddr.port}, open to other machines: stopped",
                        hint="report this with the log file: the stack must listen on 127.0.0.1 only",
                    )


def setting_of(service: str, purpose: str) -> str:
    """The settings field, upper case, that holds the port."""
    field_name = {"aqlite": "arango_port"}.get(service) or {"sagemaker": "sagemaker_port"}.get(
        purpose, f"triton_{purpose}_port"
    )
    return field_name.upper()


def _holder(port: int) -> str:
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f"process {connection.pid} listens there: {' '.join(psutil.Process(connection.pid).cmdline())}"
    return "the process that listens there belongs to another user"


def start(service: Service) -> Identity:
    """Start the server and wait until it is ready.

    What an earlier run left behind is stopped and removed first. When the start fails, nothing of it keeps running.

    Raises:
        PortInUseError, ServerDiedError, StartTimeoutError: as their names say; the last two carry the last log lines.
        StackError: the server can be reached from other machines.
    """
    stop(service)
    check_ports(service)
    service.prepare()
    try:
        identity = _spawn(service)
        wait_ready(service, identity)
        check_listeners(service)
    except BaseException:  # an interrupt too must not leave half a server behind
        stop(service)
        raise
    return identity


def _spawn(service: Service) -> Identity:
    log = log_file(service.directory, service.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        os.replace(log, log.with_name(f"{log.name}.1"))
    env = {**service.env, MARKER: marker(service.directory, service.name)}
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawn(
        service.argv[0],
        service.argv,
        env,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    identity = Identity(pid, psutil.Process(pid).create_time(), service.fingerprint, dict(service.ports))
    write_identity(service.directory, service.name, identity)
    LOGGER.debug("%s: started process %d", service.name, pid)
    return identity


def wait_ready(service: Service, identity: Identity) -> None:
    """Wait until the server answers that it is ready.

    Raises:
        ServerDiedError: it ended instead.
        StartTimeoutError: it did neither within ``start_timeout``; a server whose children cannot start behaves so.
    """
    log = log_file(service.directory, service.name)
    deadline = time.monotonic() + service.start_timeout
    while time.monotonic() < deadline:
        if identity.process() is None:
            check_ports(service)  # if another process took a port since the check, that is the better message
            _raise_died(f"{service.name} ended while starting{_exit_status(identity.pid)}", log)
        try:
            if service.is_ready() and all(map(_accepts, service.ports.values())):
                return
        except ServerDiedError as error:
            _raise_died(str(error), log)
        except OSError:
            LOGGER.debug("%s: does not answer yet", service.name)
        time.sleep(POLL_SECONDS)
    raise StartTimeoutError(
        f"{service.name} was not ready after {service.start_timeout:.0f} s. Last lines of {log}:\n{excerpt(log)}",
        hint="look for the first error in the log, or allow more time with --timeout",
    )


def _raise_died(what: str, log: Path) -> NoReturn:
    raise ServerDiedError(
        f"{what}. Last lines of {log}:\n{excerpt(log)}", hint="the log names the cause; make status shows the stack"
    )


def _accepts(port: int) -> bool:
    """Whether something accepts connections; servers open their ports one after the other."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _exit_status(pid: int) -> str:
    """How a child of this process ended, as a clause; empty when it was not our child."""
    try:
        _, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return ""
    code = os.waitstatus_to_exitcode(status)
    return f" (killed by {signal.Signals(-code).name})" if code < 0 else f" (exit status {code})"


def stop(service: Service) -> bool:
    """Stop every process of the server and remove what it leaves behind; returns whether anything ran."""
    stopped = stop_processes(service.directory, service.name)
    service.clean_up()
    return stopped


def stop_processes(directory: Path, name: str, timeout: float = STOP_TIMEOUT) -> bool:
    """Terminate the server, wait, then kill what is left of it; returns whether anything ran.

    Raises:
        StackError: a process survives SIGKILL (it hangs in the kernel).
    """
    running = members(directory, name)
    recorded = _recorded(directory, name)
    server = recorded.entry() if recorded else None
    if server and server not in running and not _has_ended(server):  # ending, it has no environment to be known by
        running.append(server)
    leaders = [process for process in running if _leads_session(process)]
    for process in leaders:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    if leaders:  # children without their server have nothing to finish: they are killed at once
        alive = _wait_for_end(leaders, timeout)
        if alive:
            LOGGER.warning("%s: did not stop within %.0f s of SIGTERM: killing it", name, timeout)
    _kill(name, members(directory, name))
    for process in leaders:
        _exit_status(process.pid)  # reaps the server where it is a child of this process
    pid_file(directory, name).unlink(missing_ok=True)
    return bool(running)


def _leads_session(process: psutil.Process) -> bool:
    """Whether this is the server itself, which was started as the leader of its own session."""
    try:
        return os.getsid(process.pid) == process.pid
    except ProcessLookupError:
        return False


def _kill(name: str, processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    alive = _wait_for_end(processes, timeout=5.0)
    if alive:
        pids = ", ".join(str(process.pid) for process in alive)
        raise StackError(f"{name}: processes {pids} survive SIGKILL", hint="look at them with ps; a reboot ends them")


def _wait_for_end(processes: list[psutil.Process], timeout: float) -> list[psutil.Process]:
    """Wait until the processes have ended; returns those that have not.

    A zombie has ended: where nobody reaps it (a container without an init process), psutil would wait for ever.
    """
    deadline = time.monotonic() + timeout
    alive = [process for process in processes if not _has_ended(process)]
    while alive and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        alive = [process for process in alive if not _has_ended(process)]
    return alive


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _has_ended(process: psutil.Process) -> bool:
    """Whether nothing of a process is left: one that was killed is a zombie while its last threads hold its ports."""
    try:
        return not _runs(process) and len(os.listdir(f"/proc/{process.pid}/task")) <= 1
    except FileNotFoundError:
        return True
