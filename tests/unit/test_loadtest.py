"""The load generator against servers whose behaviour is known exactly, and the settings it recommends."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2 as pb

from workshop.errors import SettingsError
from workshop.loadtest.generator import Load, closed_loop, open_loop
from workshop.loadtest.tuning import Serving, Trial, recommend
from workshop.triton.server_time import ServerTime, read_server_time

SERVICE = 0.02


class OneAtATime:
    """A server that answers one request after the other, each in ``service`` seconds, and may stall once."""

    def __init__(self, service: float = SERVICE, stall: tuple[int, float] = (-1, 0.0)) -> None:
        self.service, self.stall = service, stall
        self.lock = asyncio.Lock()
        self.most_waiting = self.waiting = 0

    async def __call__(self, number: int) -> str:
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        async with self.lock:
            await asyncio.sleep(self.service + (self.stall[1] if number == self.stall[0] else 0))
        self.waiting -= 1
        return ""


def test_a_closed_loop_keeps_its_concurrency_and_counts_what_the_server_answers():
    server = OneAtATime()
    load = asyncio.run(closed_loop(server, 4, 1.0, warm_up=0.1))
    assert server.most_waiting == 4
    assert 0.6 / SERVICE <= load.rate <= 1 / SERVICE
    # Little's law: what is under way is what arrives times how long it stays
    assert load.rate * load.latencies.get_mean_value() / 1e6 == pytest.approx(4, rel=0.1)
    assert not load.errors


def test_an_open_loop_counts_from_when_a_request_was_due():
    """One stall: a client that waits for its answers sees it once, users who do not wait see it often."""
    closed = asyncio.run(closed_loop(OneAtATime(0.002, stall=(50, 0.5)), 1, 1.5, warm_up=0))
    opened = asyncio.run(open_loop(OneAtATime(0.002, stall=(50, 0.5)), 100, 1.5, warm_up=0))
    assert closed.percentile(95) < 100
    assert opened.percentile(75) > 100, "about a third of all requests came while the server stood still"
    assert opened.completed == opened.requests


def test_a_generator_that_is_late_says_so_in_the_latency():
    async def blocks(_: int) -> str:
        time.sleep(0.01)  # keeps the event loop itself
        return ""

    load = asyncio.run(open_loop(blocks, 200, 0.5, warm_up=0))
    assert load.percentile(95) > 100, "200 requests of 10 ms a second cannot be served by one loop"


def test_moments_are_those_of_a_poisson_process_and_of_the_seed():
    async def at_once(_: int) -> str:
        return ""

    counts = {seed: asyncio.run(open_loop(at_once, 300, 0.2, seed=seed, warm_up=0)).completed for seed in (1, 2, 3, 1)}
    again = asyncio.run(open_loop(at_once, 300, 0.2, seed=1, warm_up=0)).completed
    assert again == counts[1]
    assert len(set(counts.values())) > 1
    assert all(30 <= count <= 95 for count in counts.values())


def test_failures_are_counted_by_kind_and_leave_the_latencies_alone():
    async def every_third(number: int) -> str:
        await asyncio.sleep(0.001)
        return "UNAVAILABLE" if number % 3 == 0 else ""

    load = asyncio.run(closed_loop(every_third, 2, 0.3, warm_up=0))
    assert set(load.errors) == {"UNAVAILABLE"}
    assert load.error_share == pytest.approx(1 / 3, abs=0.05)
    assert load.completed == load.latencies.get_total_count()


@pytest.mark.parametrize(
    "loop", [lambda send: closed_loop(send, 2, 0.3, warm_up=0), lambda send: open_loop(send, 200, 0.3, warm_up=0)]
)
def test_a_request_whose_sender_raises_is_counted_as_an_error(loop):
    sent = 0

    async def every_third_breaks(number: int) -> str:
        nonlocal sent
        sent += 1
        await asyncio.sleep(0.001)
        if number % 3 == 0:
            raise ConnectionResetError("the server hung up")
        return ""

    load = asyncio.run(loop(every_third_breaks))
    assert set(load.errors) == {"ConnectionResetError"}
    assert load.error_share == pytest.approx(1 / 3, abs=0.05)
    assert sent - 2 <= load.requests <= sent, "but for those under way when a closed loop ends, none is lost"


def test_what_is_never_answered_is_counted_after_a_bounded_wait():
    async def never(_: int) -> str:
        await asyncio.Event().wait()
        return ""

    started = time.monotonic()
    load = asyncio.run(open_loop(never, 50, 0.3, warm_up=0, patience=0.2))
    assert time.monotonic() - started < 10
    assert load.completed == 0
    assert load.errors["unanswered"] > 0
    assert load.percentile(50) != load.percentile(50), "no answer has no latency"


def test_what_a_warm_up_answers_does_not_count():
    async def slow_at_first(number: int) -> str:
        await asyncio.sleep(2 if number == 0 else 0.001)
        return ""

    load = asyncio.run(closed_loop(slow_at_first, 1, 0.3, warm_up=2.2))
    assert load.percentile(100) < 1500


def test_a_window_stays_open_for_a_slow_server_until_it_holds_some_answers():
    load = asyncio.run(closed_loop(OneAtATime(0.1), 1, 0.15, warm_up=0, least=5))
    assert load.completed == 5
    assert load.seconds == pytest.approx(0.5, abs=0.1)
    assert load.rate == pytest.approx(10, rel=0.2)
    closed = asyncio.run(closed_loop(OneAtATime(0.2), 1, 0.1, warm_up=0, least=5, patience=0.3))
    assert closed.completed < 3


@pytest.mark.parametrize("arguments", [(0, 1.0), (-1, 1.0), (1, 0), (1, -1)])
def test_a_load_of_nothing_is_refused(arguments):
    with pytest.raises(ValueError, match="needs"):
        asyncio.run(closed_loop(OneAtATime(), *arguments))
    with pytest.raises(ValueError, match="needs"):
        asyncio.run(open_loop(OneAtATime(), *arguments))


BASE = pb.ModelConfig(name="m", platform="onnxruntime_onnx", max_batch_size=64)
BASE.instance_group.add(count=3)
BASE.dynamic_batching.preferred_batch_size.append(8)
BASE.parameters["prompt"].string_value = "query: "


@given(
    instances=st.integers(1, 4),
    threads=st.none() | st.integers(1, 4),
    delay=st.integers(0, 10**6),
    rows=st.none() | st.integers(1, 64),
    queue=st.integers(0, 100),
    priorities=st.integers(0, 3),
    cache=st.booleans(),
)
def test_a_setting_changes_the_scheduling_and_nothing_else(instances, threads, delay, rows, queue, priorities, cache):
    serving = Serving(instances, threads, True, delay, rows, queue, 0, priorities, cache)
    config = serving.applied_to(BASE)
    assert config.instance_group[0].count == instances
    assert config.max_batch_size == (rows or 64)
    assert config.dynamic_batching.max_queue_delay_microseconds == delay
    assert config.dynamic_batching.default_queue_policy.max_queue_size == queue
    assert config.dynamic_batching.priority_levels == priorities
    assert config.parameters["prompt"].string_value == "query: "
    assert config.dynamic_batching.HasField("default_queue_policy") == (queue > 0)
    assert config.response_cache.enable == cache
    assert ("intra_op_thread_count" in config.parameters) == (threads is not None)
    assert BASE.instance_group[0].count == 3, "the given configuration stays as it is"


def test_without_batching_there_is_no_batcher_and_nothing_that_needs_one():
    assert not Serving(batching=False).applied_to(BASE).HasField("dynamic_batching")
    with pytest.raises(SettingsError, match="switched off"):
        Serving(batching=False, queue_size=4)


def test_threads_of_a_backend_that_names_them_otherwise_are_refused():
    unknown = pb.ModelConfig(name="m", backend="python", max_batch_size=64)
    with pytest.raises(SettingsError, match="'m' is run by 'python'"):
        Serving(threads=1).applied_to(unknown)
    assert Serving().applied_to(unknown).max_batch_size == 64


def measured(rate: int, latency_ms: float, errors: int = 0) -> Trial:
    load = Load(None, 1, 1.0, completed=rate)
    for _ in range(rate):
        load.latencies.record_value(latency_ms * 1000)
    load.errors.update({"UNAVAILABLE": errors} if errors else {})
    return Trial(Serving(), load, ServerTime())


def test_the_highest_rate_within_the_goal_is_recommended():
    slow, good, best, failing = measured(900, 80), measured(100, 10), measured(200, 49), measured(500, 10, errors=1)
    assert recommend([slow, good, best, failing], 50) is best
    assert recommend([slow, failing], 50) is None
    assert recommend([], 50) is None


def test_server_time_adds_versions_and_knows_when_nothing_ran():
    entry = {
        "inference_count": "12",
        "execution_count": "3",
        "inference_stats": {
            "success": {"count": "6", "ns": "1"},
            "fail": {"count": "1"},
            "queue": {"count": "6", "ns": "12000000"},
            "compute_infer": {"count": "6", "ns": "60000000"},
        },
    }
    found = read_server_time({"model_stats": [entry, entry]})
    assert (found.requests, found.failed, found.rows, found.executions) == (12, 2, 24, 6)
    assert found.batch_size == 4
    assert found.milliseconds() == pytest.approx({"queue": 2, "input": 0, "infer": 10, "output": 0})
    nothing = found - found
    assert nothing.batch_size != nothing.batch_size
    assert all(value != value for value in nothing.milliseconds().values())
