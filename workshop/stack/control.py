"""Bring the local stack up and down, and tell how it is."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from workshop.errors import ServerDiedError, SettingsError, StackError, StartTimeoutError
from workshop.settings import Settings, load_settings
from workshop.stack import process, store, triton
from workshop.stack.models import READY, bring_up, model_states
from workshop.stack.process import Service
from workshop.triton.endpoint import control_headers

LOGGER = logging.getLogger(__name__)
SERVICES = (triton.NAME, store.NAME)
LOCAL_HOSTS = ("127.0.0.1", "localhost")
LOCK_TIMEOUT = 150.0
UNRESPONSIVE_STOP_TIMEOUT = 2.0


@dataclass(frozen=True)
class ServiceStatus:
    """How one server is.

    Attributes:
        name: ``triton`` or ``aqlite``.
        state: ``stopped``, ``starting`` (runs, does not answer) or ``ready``.
        pid: of the server, 0 when stopped.
        uptime: seconds since the start.
        memory_mb: proportional set size of the server and its children, in MB of 2**20 bytes.
        ports: TCP port by purpose.
        models: state of each model, Triton only; ``READY`` or the reason why not (``DIED``, ``UNAVAILABLE``).
        log: its log file.
        started_now: whether the call that returned this status started it.
    """

    name: str
    state: str
    pid: int = 0
    uptime: float = 0.0
    memory_mb: float = 0.0
    ports: dict[str, int] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    log: str = ""
    started_now: bool = False

    @property
    def healthy(self) -> bool:
        """Whether the server and every model it was asked to load are ready."""
        return self.state == "ready" and all(state == READY for state in self.models.values())


def up(
    settings: Settings | None = None,
    services: Sequence[str] | None = None,
    *,
    models: Sequence[str] | None = None,
    start_timeout: float | None = None,
) -> list[ServiceStatus]:
    """Start what does not run yet and wait until it is ready; safe to call again.

    Triton loads every complete model of the repository but those that are loaded on request; when it runs already, the
    models it lacks are loaded into it.

    Args:
        settings: defaults to the environment's.
        services: names from ``SERVICES``; None means those that the settings do not place on another machine.
        models: names of the models to load; None means all complete ones of the repository.
        start_timeout: seconds a server may take to become ready; None means its own default.

    Returns:
        The status of each service. A model that failed to load shows its reason there and leaves the others serving.

    Raises:
        SettingsError, StackError and its subclasses: see ``workshop.errors``. Servers that ran before keep running.
    """
    settings = settings or load_settings()
    statuses = _bring_up(settings, services_to_start(settings, services), models, start_timeout)
    for status in statuses:
        _for_a_while(settings, status.name).unlink(missing_ok=True)
    return statuses


def _bring_up(
    settings: Settings, names: Sequence[str], models: Sequence[str] | None, start_timeout: float | None = None
) -> list[ServiceStatus]:
    started = []
    with process.locked(settings.stack_dir, LOCK_TIMEOUT):
        try:
            for name in names:
                if _ensure(_describe(settings, name, models, start_timeout)):
                    started.append(name)
                elif name == triton.NAME:
                    control = control_headers(settings.triton_control_key)
                    bring_up(
                        settings.triton_http_port, settings.stack_dir.resolve(), control, _models(settings, models)
                    )
                if name == store.NAME:
                    store.check_password(settings)
        except BaseException:
            for name in started:
                _stop(settings, name)
            raise
    return [_status(settings, name, started_now=name in started) for name in names]


def down(settings: Settings | None = None, services: Sequence[str] | None = None) -> list[str]:
    """Stop the servers of this stack, also what a killed stack left; returns the names of those that ran."""
    settings = settings or load_settings()
    with process.locked(settings.stack_dir, LOCK_TIMEOUT):
        return [name for name in reversed(_known(services)) if _stop(settings, name)]


def status(settings: Settings | None = None, services: Sequence[str] | None = None) -> list[ServiceStatus]:
    """How each server is; starts and changes nothing."""
    settings = settings or load_settings()
    return [_status(settings, name) for name in _known(services)]


def set_password(settings: Settings | None = None) -> None:
    """Give the local store's root user the password of the settings, or the stack's own; its data stay as they are.

    The store is stopped for it, and runs afterwards if it ran before.

    Raises:
        SettingsError: the settings name a store elsewhere.
        StackError: see :func:`up`.
    """
    settings = settings or load_settings()
    services_to_start(settings, [store.NAME])
    with process.locked(settings.stack_dir, LOCK_TIMEOUT):
        ran = _stop(settings, store.NAME)
        process.start(store.store_service(settings, set_password=True))
        if not ran:
            _stop(settings, store.NAME)


@contextmanager
def running(
    settings: Settings | None = None, services: Sequence[str] | None = None, *, models: Sequence[str] | None = None
) -> Iterator[list[ServiceStatus]]:
    """The stack for the time of a ``with`` block.

    At its end, what was started for such a block stops, unless another block, of this process or of another one, uses
    it still: then the last of them stops it. Servers that :func:`up` started, or was called for since, keep running.
    """
    settings = settings or load_settings()
    names = services_to_start(settings, services)
    directory = settings.stack_dir.resolve()
    uses = ExitStack()
    try:
        for name in names:
            uses.enter_context(process.used(directory, name))
        statuses = _bring_up(settings, names, models)
        for status in statuses:
            if status.started_now:
                _for_a_while(settings, status.name).touch()
        yield statuses
    finally:
        uses.close()
        with process.locked(settings.stack_dir, LOCK_TIMEOUT):
            for name in reversed(names):
                if _for_a_while(settings, name).exists() and not process.is_used(directory, name):
                    _stop(settings, name)


def _for_a_while(settings: Settings, name: str) -> Path:
    """Marks a server that was started for a ``with`` block of :func:`running`."""
    return settings.stack_dir.resolve() / f"{name}.for_a_while"


def log_path(settings: Settings, name: str) -> Path:
    """The log file of a server.

    Raises:
        SettingsError: there is no server of that name.
    """
    return process.log_file(settings.stack_dir.resolve(), *_known([name]))


def local_services(settings: Settings) -> list[str]:
    """The services that the settings do not place on another machine."""
    return services_to_start(settings, None)


def _known(services: Sequence[str] | None) -> list[str]:
    unknown = sorted(set(services or ()) - set(SERVICES))
    if unknown:
        raise SettingsError(f"no service {', '.join(unknown)} in the local stack, it has {', '.join(SERVICES)}")
    return [name for name in SERVICES if services is None or name in services]


def services_to_start(settings: Settings, services: Sequence[str] | None) -> list[str]:
    """The services to start; those that the settings place elsewhere are left out, or refused when asked for."""
    elsewhere = {}
    if not settings.start_servers:
        elsewhere = dict.fromkeys(SERVICES, "WORKSHOP_START_SERVERS=false")
    if settings.triton_host not in LOCAL_HOSTS:
        elsewhere[triton.NAME] = f"WORKSHOP_TRITON_HOST={settings.triton_host}"
    if settings.arango_url:
        elsewhere[store.NAME] = f"ARANGO_URL={settings.arango_url}"
    if services is None:
        return [name for name in SERVICES if name not in elsewhere]
    names = _known(services)
    for name in names:
        if name in elsewhere:
            raise SettingsError(
                f"{name} is not started here, because {elsewhere[name]} leaves that to another place",
                hint="unset that variable to use the local stack",
            )
    return names


def _describe(settings: Settings, name: str, models: Sequence[str] | None, start_timeout: float | None) -> Service:
    options = {} if start_timeout is None else {"start_timeout": start_timeout}
    if name == store.NAME:
        return store.store_service(settings, **options)
    return triton.triton_service(settings, _models(settings, models), **options)


def _models(settings: Settings, models: Sequence[str] | None) -> list[str]:
    if models is not None:
        return list(models)
    from workshop.triton.repository import models_to_start

    return models_to_start(settings.model_repository)


def _ensure(service: Service) -> bool:
    """Make sure the server runs and is ready; returns whether it had to be started."""
    identity = process.read_identity(service.directory, service.name)
    if identity is None:
        process.start(service)
        return True
    if identity.fingerprint != service.fingerprint:
        raise StackError(
            f"{service.name} already runs (process {identity.pid}) with other settings",
            hint="make down, then make up",
        )
    try:
        process.wait_ready(service, identity)
    except (ServerDiedError, StartTimeoutError) as error:  # left so by an earlier command: begin afresh
        LOGGER.warning("%s does not serve, starting it anew: %s", service.name, str(error).splitlines()[0])
        process.stop_processes(service.directory, service.name, timeout=UNRESPONSIVE_STOP_TIMEOUT)
        process.start(service)
        return True
    return False


def _stop(settings: Settings, name: str) -> bool:
    directory = settings.stack_dir.resolve()
    stopped = process.stop_processes(directory, name)
    _for_a_while(settings, name).unlink(missing_ok=True)
    if name == triton.NAME:
        triton.remove_shared_memory(triton.shared_memory_prefix(directory))
    return stopped


def _status(settings: Settings, name: str, *, started_now: bool = False) -> ServiceStatus:
    directory = settings.stack_dir.resolve()
    log = str(process.log_file(directory, name))
    identity = process.read_identity(directory, name)
    if identity is None:
        return ServiceStatus(name, "stopped", log=log)
    models: dict[str, str] = {}
    state = "starting"
    with suppress(OSError, StackError):
        port = identity.ports["http"]
        if (triton if name == triton.NAME else store).is_ready(port):
            state = "ready"
            models = (
                model_states(port, directory, control_headers(settings.triton_control_key))
                if name == triton.NAME
                else {}
            )
    return ServiceStatus(
        name=name,
        state=state,
        pid=identity.pid,
        uptime=time.time() - identity.create_time,
        memory_mb=memory_mb(directory, name),
        ports=identity.ports,
        models=models,
        log=log,
        started_now=started_now,
    )


def memory_mb(directory: Path, name: str) -> float:
    """Memory of a server and its children in MB of 2**20 bytes; pages they share are counted once (PSS)."""
    total = 0
    for member in process.members(directory, name):
        with suppress(psutil.Error):
            total += member.memory_full_info().pss
    return total / 2**20
