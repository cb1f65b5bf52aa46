"""How a model is served, apart from what it computes: try settings of Triton's scheduler, and take the one that pays.

Triton takes a configuration with a load request, so nothing in the repository changes while settings are tried:
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md
What each field does: https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_configuration.md
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tritonclient.grpc import model_config_pb2 as pb

from workshop.errors import SettingsError
from workshop.loadtest.generator import Load, Send, closed_loop
from workshop.triton.client import TritonClient
from workshop.triton.server_time import ServerTime

# what each backend calls the threads of one copy
THREADS_PARAMETERS = {
    "pytorch_libtorch": "INTRA_OP_THREAD_COUNT",
    "onnxruntime_onnx": "intra_op_thread_count",
    "openvino": "INFERENCE_NUM_THREADS",
    "torch_aoti": "INTRA_OP_THREAD_COUNT",
}


@dataclass(frozen=True)
class Serving:
    """Scheduling of one model.

    Attributes:
        instances: copies of the model, each in a process of its own.
        threads: threads that one copy computes with; ``None``: the backend's own choice.
        batching: merge waiting requests of equal shape into one batch.
        delay_us: microseconds a request may wait for others to join it.
        rows: most rows in one batch; ``None``: the model's own limit.
        queue_size: requests that may wait; more are refused at once. 0: any number.
        timeout_us: microseconds a request may wait before it is refused. 0: any time.
        priorities: levels of priority, 1 the first served; a request without one gets the last. 0: none.
        cache: answer repeated requests from the server's response cache, where it has one.
    """

    instances: int = 1
    threads: int | None = None
    batching: bool = True
    delay_us: int = 0
    rows: int | None = None
    queue_size: int = 0
    timeout_us: int = 0
    priorities: int = 0
    cache: bool = False

    def __post_init__(self) -> None:
        needs_batcher = self.delay_us or self.queue_size or self.timeout_us or self.priorities
        if needs_batcher and not self.batching:
            raise SettingsError(
                "delay, queue size, timeout and priorities belong to Triton's dynamic batcher, which is switched off",
                hint="Serving(batching=True, ...)",
            )

    def applied_to(self, config: pb.ModelConfig) -> pb.ModelConfig:
        """A copy of a model's configuration that is scheduled so; what the model computes stays.

        Raises:
            SettingsError: threads are given for a backend whose parameter for them is not known.
        """
        tuned = pb.ModelConfig()
        tuned.CopyFrom(config)
        tuned.ClearField("instance_group")
        tuned.instance_group.add(count=self.instances)
        if self.threads is not None:
            tuned.parameters[_threads_parameter(config)].string_value = str(self.threads)
        tuned.response_cache.enable = self.cache
        if self.rows is not None:
            tuned.max_batch_size = self.rows
        tuned.ClearField("dynamic_batching")
        if not self.batching:
            return tuned
        batcher = tuned.dynamic_batching
        batcher.max_queue_delay_microseconds = self.delay_us
        if self.queue_size or self.timeout_us:
            # with a policy of any kind, server 2.51 now and then lets a request wait half a second for a free copy
            policy = batcher.default_queue_policy
            policy.timeout_action = pb.ModelQueuePolicy.REJECT
            policy.default_timeout_microseconds = self.timeout_us
            policy.allow_timeout_override = True
            policy.max_queue_size = self.queue_size
        if self.priorities:
            batcher.priority_levels = self.priorities
            batcher.default_priority_level = self.priorities
        return tuned

    def __str__(self) -> str:
        threads = f" x {self.threads} thread{'s' * (self.threads != 1)}" if self.threads else ""
        batching = f"batching, {self.delay_us / 1000:g} ms delay" if self.batching else "no batching"
        rows = f", {self.rows} rows at most" if self.rows else ""
        cache = ", cache" if self.cache else ""
        return f"{self.instances} instance{'s' * (self.instances != 1)}{threads}, {batching}{rows}{cache}"


def _threads_parameter(config: pb.ModelConfig) -> str:
    runtime = config.backend or config.platform
    if runtime not in THREADS_PARAMETERS:
        raise SettingsError(
            f"model {config.name!r} is run by {runtime!r}, whose parameter for threads is not known here, but by "
            f"{', '.join(THREADS_PARAMETERS)}",
            hint="Serving(threads=None, ...)",
        )
    return THREADS_PARAMETERS[runtime]


@contextmanager
def served(client: TritonClient, model: str, serving: Serving, config: pb.ModelConfig) -> Iterator[None]:
    """Serve a model by other settings within the block. At its end it is unloaded, so that the next load takes the
    repository's settings again: Triton keeps others for as long as a model is loaded.

    Args:
        client: where it is served; that server must let its models be controlled.
        model: name of the served model.
        serving: how to schedule it.
        config: the model's own configuration, for instance ``read_config(repository / model)``.

    Raises:
        ServingError: as :meth:`TritonClient.load_model`.
    """
    client.load_model(model, serving.applied_to(config))
    try:
        yield
    finally:
        client.unload_model(model)


@dataclass(frozen=True)
class Trial:
    """One load on one setting.

    Attributes:
        serving: how the model was scheduled.
        load: what came of the load.
        server: what the server said of the time, within the load's window.
    """

    serving: Serving
    load: Load
    server: ServerTime


async def trial(
    client: TritonClient,
    model: str,
    send: Send,
    concurrency: int,
    seconds: float,
    serving: Serving,
    *,
    warm_up: float = 0.5,
) -> Trial:
    """Put a closed loop on a served model, and ask the server where the time went.

    Args:
        client: where it is served.
        model: name of the served model.
        send: sends a request to it.
        concurrency: requests kept under way.
        seconds: length of the measured window.
        serving: how the model is scheduled now; kept with the result.
        warm_up: seconds of load before the window, of which neither side keeps an account.
    """
    if warm_up:
        await closed_loop(send, concurrency, warm_up, warm_up=0, least=1)
    before = client.server_time(model)
    load = await closed_loop(send, concurrency, seconds, warm_up=0)
    return Trial(serving, load, client.server_time(model) - before)


def recommend(trials: Iterable[Trial], p95_ms: float) -> Trial | None:
    """The trial with the highest rate whose 95th percentile keeps a goal; of equal ones the first.

    Args:
        trials: of one model on one machine, each at some concurrency or rate.
        p95_ms: goal in milliseconds.

    Returns:
        ``None`` when no trial without an error keeps the goal.
    """
    good = [trial for trial in trials if not trial.load.errors and trial.load.percentile(95) <= p95_ms]
    return max(good, key=lambda trial: trial.load.rate, default=None)
