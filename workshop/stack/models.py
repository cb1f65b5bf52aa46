"""The models of the running tritonserver: how they are, loading what is missing, replacing what died.

HTTP API: https://github.com/triton-inference-server/server/tree/main/docs/protocol (health, model repository)
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path

import psutil

from workshop.errors import ServerDiedError, StackError, StartTimeoutError
from workshop.stack.local_http import ask
from workshop.stack.process import POLL_SECONDS, members

LOGGER = logging.getLogger(__name__)
READY = "READY"
DIED = "DIED"
LOAD_TIMEOUT = 120.0
UNLOAD_TIMEOUT = 20.0
UNLOADING_LONG_ENOUGH = 3.0
_STUB = "triton_python_backend_stub"


def is_ready(port: int) -> bool:
    """Whether the server answers that it is ready; it opens its ports when its models are loaded or have failed.

    Raises:
        OSError: nothing accepts connections yet.
        ServerDiedError: the server runs and answers, but could not initialise and never will.
    """
    status, _ = ask(port, "GET", "/v2/health/ready")
    if status != 200:
        raise ServerDiedError("triton could not initialise")
    return True


def model_states(port: int, directory: Path, control: Mapping[str, str]) -> dict[str, str]:
    """State of every model the server was asked to load.

    Triton runs each of our models in processes of their own. It neither replaces one that died nor notices before a
    request fails, so the processes are counted here.

    Args:
        port: the server's HTTP port.
        directory: of the stack the server belongs to.
        control: headers with which the server lists and loads models.

    Returns:
        By model name ``READY``, ``DIED: reason``, or Triton's state and reason such as ``UNAVAILABLE: reason``.

    Raises:
        OSError: the server does not answer.
        StackError: it wants another key.
    """
    status, body = ask(port, "POST", "/v2/repository/index", headers=control)
    if status == HTTPStatus.FORBIDDEN:
        raise StackError(
            f"the Triton on port {port} lists and loads models for holders of its key only",
            hint="set WORKSHOP_TRITON_CONTROL_KEY to the key it was started with, or: make down, then make up",
        )
    living = _living_processes(directory)
    states = {}
    for entry in json.loads(body):
        name, state = entry["name"], entry.get("state", "")
        if state == READY and living[name] < (wanted := _wanted_processes(port, name)):
            states[name] = f"{DIED}: {living[name]} of {wanted} processes of the model run"
        elif state and states.get(name) != READY:  # an index has a line for each version; one that serves will do
            states[name] = ": ".join(filter(None, [state, _without_traceback(entry.get("reason", ""))]))
    return states


def _living_processes(directory: Path) -> Counter[str]:
    """Number of running model processes by model name; their first argument is ``.../<model>/<version>/<file>``."""
    living: Counter[str] = Counter()
    for member in members(directory, "triton"):
        try:
            command = member.cmdline()
        except psutil.Error:
            continue
        if command and Path(command[0]).name == _STUB:
            living[Path(command[1]).parent.parent.name] += 1
    return living


def _wanted_processes(port: int, name: str) -> int:
    """How many processes the model needs: one for each instance, none for an ensemble."""
    status, body = ask(port, "GET", f"/v2/models/{name}/config")
    groups = json.loads(body).get("instance_group", []) if status == 200 else []
    return sum(group.get("count", 1) * max(1, len(group.get("gpus", []))) for group in groups)


def bring_up(port: int, directory: Path, control: Mapping[str, str], names: Sequence[str]) -> None:
    """Replace the models that died and load those that are not loaded; what cannot be loaded is logged.

    Raises:
        OSError: the server does not answer.
        StartTimeoutError: a model was neither loaded nor refused in time.
    """
    for name, state in model_states(port, directory, control).items():
        if state.startswith(DIED):
            LOGGER.warning("triton: model %s: %s: loading it again", name, state)
            _unload(port, directory, control, name)
    states = model_states(port, directory, control)
    for name in names:
        if states.get(name) != READY:
            reason = _load(port, control, name)
            if reason:
                LOGGER.warning("triton: cannot load model %s: %s", name, reason)


def _load(port: int, control: Mapping[str, str], name: str) -> str:
    """Ask the server to load a model; returns its reason when it cannot, else an empty text."""
    try:
        status, body = ask(port, "POST", f"/v2/repository/models/{name}/load", headers=control, timeout=LOAD_TIMEOUT)
    except TimeoutError:
        raise StartTimeoutError(
            f"triton neither loaded nor refused model {name} within {LOAD_TIMEOUT:.0f} s",
            hint="make down, then make up",
        ) from None
    return "" if status == 200 else _without_traceback(json.loads(body).get("error", "no reason given"))


def _without_traceback(reason: str) -> str:
    """Triton's reason without the Python frames it appends to a model's own message."""
    return reason.partition("\n\nAt:")[0]


def _unload(port: int, directory: Path, control: Mapping[str, str], name: str) -> None:
    """Unload a model whose processes died, and wait until it is out of service.

    Where a process died in the middle of a request, Triton counts that request as running for ever and its model as
    unloading; such a model can be loaded again all the same.
    """
    ask(port, "POST", f"/v2/repository/models/{name}/unload", headers=control, timeout=UNLOAD_TIMEOUT)
    began = time.monotonic()
    while not (state := model_states(port, directory, control).get(name, "UNAVAILABLE")).startswith("UNAVAILABLE"):
        waited = time.monotonic() - began
        if state.startswith("UNLOADING") and waited > UNLOADING_LONG_ENOUGH:
            return
        if waited > UNLOAD_TIMEOUT:
            raise StartTimeoutError(
                f"triton did not unload model {name} within {UNLOAD_TIMEOUT:.0f} s", hint="make down, then make up"
            )
        time.sleep(POLL_SECONDS)


def model_memory(directory: Path) -> dict[str, float]:
    """Megabytes that the processes of each model have for themselves, by model name (USS).

    Args:
        directory: of the stack whose server runs them.
    """
    used: Counter[str] = Counter()
    for member in members(directory, "triton"):
        try:
            command, own = member.cmdline(), member.memory_full_info().uss
        except psutil.Error:
            continue
        if command and Path(command[0]).name == _STUB:
            used[Path(command[1]).parent.parent.name] += own / 2**20
    return dict(used)
