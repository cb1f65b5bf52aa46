"""Seconds of what ``make bench BENCH=soak`` does for minutes: mixed load, no errors, memory that is looked at."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from workshop import stack
from workshop.loadtest.senders import encode_grpc, grpc_sender
from workshop.loadtest.soak import Soak, mixed, soak
from workshop.store.bulk import upsert
from workshop.triton.endpoint import Endpoint

LONG_SECONDS = 120


def mixed_load(settings, database, client, **how) -> tuple[Soak, Counter[str]]:
    """A soak of embedding and writing, three to one, and how often each was asked."""
    database.create_collection("c")
    requests = [encode_grpc(client.signature("embed"), {"TEXT": [[f"text {number}"]]}) for number in range(50)]
    asked: Counter[str] = Counter()

    async def write(number: int) -> str:
        asked["write"] += 1
        await asyncio.to_thread(upsert, database, "c", [{"_key": f"k{number % 100}", "number": number}])
        return ""

    def memory():
        return {name: stack.memory_mb(settings.stack_dir.resolve(), name) for name in stack.SERVICES}

    async def run():
        async with grpc_sender(Endpoint.from_settings(settings, "grpc"), requests) as send:

            async def embed(number: int) -> str:
                asked["embed"] += 1
                return await send(number)

            return await soak(mixed([(3, embed), (1, write)]), memory, concurrency=4, **how)

    return asyncio.run(run()), asked


def test_a_mixed_load_has_no_errors_and_shows_memory(triton, store, database, client):
    done, asked = mixed_load(triton, database, client, seconds=3, warm_up=1, sample_seconds=0.3)
    assert not done.load.errors
    assert done.load.offered == pytest.approx(0.8 * done.capacity)
    assert done.load.completed > 0.5 * done.load.offered * 3
    assert asked["embed"] == pytest.approx(3 * asked["write"], rel=0.1)
    assert done.growth.keys() == {"triton", "aqlite"}
    assert all(min(values) > 10 for values in done.memory.values())
    assert all(abs(share) < 0.5 for share in done.growth.values())
    assert database.collection("c").count() <= 100


@pytest.mark.fault(
    broken="nothing; two minutes of mixed load at 40 % of what the servers can do together",
    expected="no request fails, and no server's memory grows by more than 10 %",
)
@pytest.mark.long
def test_a_mixed_load_lasts(triton, store, database, client):
    done, _ = mixed_load(triton, database, client, seconds=LONG_SECONDS, warm_up=30, share=0.4, sample_seconds=2)
    assert not done.load.errors
    assert done.load.completed > 0.9 * done.load.offered * LONG_SECONDS
    assert max(done.growth.values()) <= 0.1, done.memory


def test_what_goes_wrong_is_counted():
    async def fail(number: int) -> str:
        return "" if number % 4 else "broken"

    megabytes = iter([100.0] * 5 + [125.0] * 1000)
    done = asyncio.run(
        soak(fail, lambda: {"server": next(megabytes)}, seconds=1, warm_up=0.02, concurrency=1, sample_seconds=0.05,
             share=0.02)
    )  # fmt: skip
    assert done.load.errors["broken"] > 0
    assert done.growth == {"server": pytest.approx(0.25)}


@pytest.mark.parametrize("weights", [(1,), (1, 1), (4, 1, 1, 2, 2), (3, 1), (6, 2)])
def test_each_sender_gets_its_share(weights):
    sent: list[int] = []

    def sender(kind: int):
        async def send(_: int) -> str:
            sent.append(kind)
            return ""

        return send

    async def run() -> None:
        mix = mixed([(weight, sender(kind)) for kind, weight in enumerate(weights)])
        for number in range(10 * sum(weights)):
            await mix(number)

    asyncio.run(run())
    assert [sent.count(kind) for kind in range(len(weights))] == [10 * weight for weight in weights]
