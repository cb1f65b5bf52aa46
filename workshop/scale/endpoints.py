"""One client of several Triton servers that serve the same models: it balances, leaves out what fails, and asks again.

An inference has no side effects, so that a request whose server broke down, hung or was too busy may be sent to another
one. Balancing is by *least outstanding requests*: the next request goes to the server that has the fewest under way, so
that a slow server gets fewer without anybody measuring it. The alternatives, and why this is the usual default for
calls of unequal length: https://samwho.dev/load-balancing/
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from workshop.errors import (
    ModelNotFoundError,
    ModelNotReadyError,
    NoHealthyEndpointError,
    ServerBusyError,
    ServerUnreachableError,
    ServingError,
    ServingTimeoutError,
    SettingsError,
)
from workshop.triton.calls import HEALTH_SECONDS, Deadline, joined
from workshop.triton.client import TritonClient
from workshop.triton.endpoint import Endpoint, Tls
from workshop.triton.signature import ModelSignature
from workshop.triton.tensors import prepare_inputs, split_rows
from workshop.triton.transport import Parameters

if TYPE_CHECKING:
    from workshop.settings import Settings

Result = TypeVar("Result")

_BUSY_PAUSE = 0.2
_BROKEN = (ServerUnreachableError, ServingTimeoutError)
_REFUSED = (ServerBusyError, ModelNotReadyError, ModelNotFoundError)


@dataclass(frozen=True)
class EndpointStatus:
    """What the pool knows of one endpoint.

    Attributes:
        url: ``host:port``.
        healthy: whether it gets requests.
        outstanding: requests under way.
        answered: requests that ended there, with the model's answer, its error or a refusal.
        failed: requests that it broke off, or did not answer within ``timeout``.
        error: why it was left out last; empty when it never was.
    """

    url: str
    healthy: bool
    outstanding: int
    answered: int
    failed: int
    error: str


@dataclass
class _Member:
    """One endpoint; every field is read and written under the pool's lock."""

    client: TritonClient
    healthy: bool = True
    outstanding: int = 0
    answered: int = 0
    failed: int = 0
    failed_in_row: int = 0
    last_pick: int = 0
    probing: bool = False
    probe_due: float = 0.0
    error: ServingError | None = None

    def status(self) -> EndpointStatus:
        error = str(self.error).splitlines()[0] if self.error else ""
        return EndpointStatus(self.client.url, self.healthy, self.outstanding, self.answered, self.failed, error)


class EndpointPool:
    """Talks to several Triton servers over gRPC as to one. Threads may share it; use it in a ``with`` block.

    An endpoint that breaks a request off, or does not answer it in time, is left out. After a back-off, which doubles
    with every further failure, it is asked whether it is live, beside the requests and not in their way, and takes part
    again. A request that one endpoint failed, refused as too busy, or cannot answer because the model is not loaded
    there, goes to another one. Errors of the model itself, and of the inputs, are raised at once.

    Args:
        urls: ``host:port`` of the gRPC ports, without a scheme.
        timeout: seconds one attempt at one endpoint may take.
        deadline: seconds a request may take with all its attempts; ``None``: three times ``timeout``.
        patience: seconds a request waits for an endpoint to come back while none is healthy.
        in_flight: requests that :meth:`infer_many` keeps under way at once for each endpoint.
        back_off: seconds an endpoint is left out after its first failure.
        longest_back_off: seconds it is left out at most.
        health_timeout: seconds the question whether an endpoint is live may take.
        tls: encrypt the connections; ``None``: plain.
        headers: sent with every request, as metadata.
        control_key: of servers that restrict listing, loading and unloading models.

    Raises:
        SettingsError: no endpoint, one of them twice, or a deadline shorter than the timeout.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        timeout: float = 60.0,
        deadline: float | None = None,
        patience: float = 10.0,
        in_flight: int = 3,
        back_off: float = 1.0,
        longest_back_off: float = 30.0,
        health_timeout: float = HEALTH_SECONDS,
        tls: Tls | None = None,
        headers: Mapping[str, str] | None = None,
        control_key: str = "",
    ) -> None:
        if not urls or len(set(urls)) < len(urls):
            raise SettingsError(f"a pool needs endpoints, each once, got {list(urls)}", hint="host:port,host:port")
        self.timeout = timeout
        self.deadline = 3 * timeout if deadline is None else deadline
        if self.deadline < timeout:
            raise SettingsError(f"a deadline of {self.deadline} s leaves no attempt its {timeout} s")
        self.patience = patience
        self.in_flight = in_flight
        self._back_off, self._longest_back_off, self._health_timeout = back_off, longest_back_off, health_timeout
        options = {"protocol": "grpc", "timeout": timeout, "in_flight": in_flight, "retries": 0}
        options |= {"tls": tls, "headers": headers, "control_key": control_key}
        self._members = [_Member(TritonClient(url, **options)) for url in urls]
        self._changed = threading.Condition()
        self._picks = 0
        self._signatures: dict[str, ModelSignature] = {}
        self._probes = ThreadPoolExecutor(len(urls), thread_name_prefix="endpoint-probe")

    @classmethod
    def from_settings(cls, settings: Settings, **options: object) -> EndpointPool:
        """A pool of the endpoints that ``settings`` name, or of the one server they name; ``options`` win."""
        endpoint = Endpoint.from_settings(settings, "grpc")
        given = {
            "urls": settings.triton_endpoint_urls or [endpoint.url],
            "timeout": settings.triton_timeout,
            "tls": endpoint.tls,
            "headers": endpoint.headers,
            "control_key": endpoint.control_key,
        }
        return cls(**{**given, **options})

    def __enter__(self) -> EndpointPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the health checks, each within its time, and close the connections."""
        self._probes.shutdown(wait=True, cancel_futures=True)
        for member in self._members:
            member.client.close()

    # --- health -----------------------------------------------------------------------------------------------
    @property
    def urls(self) -> list[str]:
        """The endpoints, healthy or not."""
        return [member.client.url for member in self._members]

    def statuses(self) -> list[EndpointStatus]:
        """What is known of each endpoint; asks nobody."""
        with self._changed:
            return [member.status() for member in self._members]

    def check(self) -> list[EndpointStatus]:
        """Ask every endpoint whether it is live, all at once and each within ``health_timeout``."""
        list(self._probes.map(self._probe, self._members))
        return self.statuses()

    def _probe(self, member: _Member) -> None:
        try:
            live = member.client.is_live(timeout=self._health_timeout)
            error = None if live else ServerUnreachableError(f"{member.client.url} does not answer that it is live")
        except ServingError as refusal:  # something answers, and wants other headers
            live, error = False, refusal
        with self._changed:
            member.probing = False
            if live:
                member.healthy = True
            else:
                self._leave_out(member, member.error if not member.healthy and member.error else error)
            self._changed.notify_all()

    def _leave_out(self, member: _Member, error: ServingError) -> None:
        """Give an endpoint no requests until a probe finds it live; the lock is held."""
        member.healthy, member.error = False, error
        pause = min(self._back_off * 2**member.failed_in_row, self._longest_back_off)
        member.failed_in_row += 1
        member.probe_due = time.monotonic() + pause

    def _start_due_probes(self) -> None:
        """The lock is held."""
        now = time.monotonic()
        for member in self._members:
            if not member.healthy and not member.probing and member.probe_due <= now:
                member.probing = True
                self._probes.submit(self._probe, member)

    # --- inference --------------------------------------------------------------------------------------------
    def signature(self, model: str) -> ModelSignature:
        """Inputs, outputs, batch limit and parameters of a served model, read once from an endpoint that has it."""
        if model not in self._signatures:
            asked = f"configuration of model {model!r}"
            self._signatures[model] = self._ask(lambda client, _: client.signature(model), asked)
        return self._signatures[model]

    def infer(
        self,
        model: str,
        inputs: Mapping[str, object],
        *,
        parameters: Parameters | None = None,
        version: str = "",
        outputs: Sequence[str] = (),
        classes: int = 0,
    ) -> dict[str, np.ndarray]:
        """Run a model on one batch of any size; one above the model's limit is shared out over the endpoints.

        Arguments and result are those of :meth:`workshop.triton.client.TritonClient.infer`.

        Raises:
            NoHealthyEndpointError: every endpoint failed, and none came back in time; the message says how each did.
            ServingTimeoutError: no answer within ``deadline`` seconds.
            ServingError: as the client's; what one endpoint alone answers otherwise is asked of the next.
        """
        signature = self.signature(model)
        parts = split_rows(prepare_inputs(signature, inputs), signature.max_batch_size)
        options = {"parameters": parameters, "version": version, "outputs": outputs, "classes": classes}
        if len(parts) == 1:
            return self._infer(model, inputs, options)
        return joined(list(self._shared_out(model, parts, options)))

    def infer_many(
        self,
        model: str,
        requests: Iterable[Mapping[str, object]],
        *,
        parameters: Parameters | None = None,
        version: str = "",
        outputs: Sequence[str] = (),
        classes: int = 0,
    ) -> Iterator[dict[str, np.ndarray]]:
        """Run a model on many requests, ``in_flight`` at a time for each endpoint; answers in the order of requests.

        Requests are drawn as answers are taken, so that a slow reader slows the sending. Each must respect the model's
        batch limit. Errors are those of :meth:`infer`; the first one ends the iteration.
        """
        options = {"parameters": parameters, "version": version, "outputs": outputs, "classes": classes}
        return self._shared_out(model, requests, options)

    def _shared_out(
        self, model: str, requests: Iterable[Mapping[str, object]], options: Mapping[str, object]
    ) -> Iterator[dict[str, np.ndarray]]:
        width = self.in_flight * len(self._members)
        under_way: deque = deque()
        with ThreadPoolExecutor(width, thread_name_prefix="endpoint-pool") as senders:
            try:
                for inputs in requests:
                    context = contextvars.copy_context()  # carries the request id
                    under_way.append(senders.submit(context.run, self._infer, model, inputs, options))
                    if len(under_way) == width:
                        yield under_way.popleft().result()
                while under_way:
                    yield under_way.popleft().result()
            finally:
                for waiting in under_way:
                    waiting.cancel()

    def _infer(self, model: str, inputs: Mapping[str, object], options: Mapping[str, object]) -> dict[str, np.ndarray]:
        return self._ask(
            lambda client, seconds: client.infer(model, inputs, timeout=seconds, **options), f"model {model!r}"
        )

    # --- attempts ---------------------------------------------------------------------------------------------
    def _ask(self, action: Callable[[TritonClient, float], Result], asked: str) -> Result:
        """Ask endpoints in turn until one answers; ``action`` gets the client and the seconds it may take."""
        deadline = Deadline(self.deadline)
        refusals: dict[str, ServingError] = {}
        while True:
            member = self._pick(asked, refusals, deadline)
            seconds = deadline.limit(self.timeout)
            try:
                answer = action(member.client, seconds)
            except _BROKEN as error:
                cut_short = isinstance(error, ServingTimeoutError) and seconds < self.timeout  # by the deadline
                self._release(member, broken=None if cut_short else error)
            except _REFUSED as error:
                self._release(member)
                refusals[member.client.url] = error
            except BaseException:
                self._release(member)
                raise
            else:
                self._release(member)
                return answer

    def _pick(self, asked: str, refusals: dict[str, ServingError], deadline: Deadline) -> _Member:
        """The endpoint for the next attempt: healthy, not one that refused the request, with the least under way.

        Raises as :meth:`infer` does, when there is none in time.
        """
        patience = Deadline(self.patience)
        with self._changed:
            while True:
                self._start_due_probes()
                healthy = [member for member in self._members if member.healthy]
                free = [member for member in healthy if member.client.url not in refusals]
                if deadline.is_over:
                    raise self._too_late(asked, refusals)
                if free:
                    return self._taken(min(free, key=lambda member: (member.outstanding, member.last_pick)))
                if healthy:
                    self._let_pass(refusals)
                elif patience.is_over:
                    raise self._none_left(asked)
                self._changed.wait(min(_BUSY_PAUSE, deadline.limit(), patience.limit()))

    def _taken(self, member: _Member) -> _Member:
        self._picks += 1
        member.last_pick = self._picks  # equals take turns
        member.outstanding += 1
        return member

    def _release(self, member: _Member, *, broken: ServingError | None = None) -> None:
        with self._changed:
            member.outstanding -= 1
            if broken is None:
                member.answered += 1
                member.failed_in_row = 0
            else:
                member.failed += 1
                if member.healthy:  # requests that broke together are one failure
                    self._leave_out(member, broken)
            self._changed.notify_all()

    @staticmethod
    def _let_pass(refusals: dict[str, ServingError]) -> None:
        """Let those that were only busy be asked again, when all that are healthy have refused.

        Raises:
            ServingError: none of them was just busy.
        """
        busy = [url for url, error in refusals.items() if isinstance(error, ServerBusyError)]
        if not busy:
            raise next(reversed(refusals.values()))
        for url in busy:
            del refusals[url]

    def _account(self) -> str:
        """Every endpoint with its last error; the lock is held."""
        statuses = [member.status() for member in self._members]
        return "\n".join(f"  {one.url}: {one.error or ('healthy' if one.healthy else 'left out')}" for one in statuses)

    def _none_left(self, asked: str) -> NoHealthyEndpointError:
        return NoHealthyEndpointError(
            f"{asked}: none of {len(self._members)} Triton endpoints is healthy, and none came back within "
            f"{self.patience:g} s:\n{self._account()}",
            hint="python scripts/fleet.py status; WORKSHOP_TRITON_ENDPOINTS names the endpoints",
        )

    def _too_late(self, asked: str, refusals: Mapping[str, ServingError]) -> ServingTimeoutError:
        refused = "".join(f"\n  refused: {str(error).splitlines()[0]}" for error in refusals.values())
        return ServingTimeoutError(
            f"{asked}: no answer within the {self.deadline:g} s of all attempts:\n{self._account()}{refused}",
            hint="raise the pool's deadline, or python scripts/fleet.py status",
        )
