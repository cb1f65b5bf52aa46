"""Faults between client and server, through a relay: slow, mute and torn answers, resets."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from proxies import Relay, slow, torn, until

from workshop.errors import ServerUnreachableError, ServingTimeoutError, StoreTimeoutError, StoreUnreachableError
from workshop.store.bulk import upsert
from workshop.store.connection import connect, store_errors
from workshop.triton.client import TritonClient

VALUES = {"values__0": np.arange(4096, dtype=np.float32)[None] + 1}
PORTS = {"grpc": "triton_grpc_port", "http": "triton_http_port"}
DOCUMENTS = [{"_key": f"k{number}", "number": number} for number in range(2000)]


def ask(client: TritonClient) -> float:
    return float(client.infer("scale", VALUES)["scaled__0"].sum())


def relayed(store, relay: Relay):
    """Settings that reach the store through the relay."""
    return store.model_copy(update={"arango_url": f"http://{relay.url}"})


def run_query_over(store, relay: Relay, database, request_timeout: float) -> list:
    with store_errors("count to three"):
        through = connect(relayed(store, relay), database=database.name, request_timeout=request_timeout)
        return list(through.aql.execute("RETURN 1 + 2"))


# --- Triton ---------------------------------------------------------------------------------------------------
@pytest.mark.fault(
    broken="every piece of Triton's answers comes 0.3 s late",
    expected="the answer is right within the limit of 30 s; a limit of 0.2 s ends the call by ServingTimeoutError",
)
@pytest.mark.long
@pytest.mark.parametrize("protocol", PORTS)
def test_triton_is_slow(triton, protocol):
    with Relay(getattr(triton, PORTS[protocol]), back=slow(0.3)) as relay:
        with TritonClient(relay.url, protocol=protocol, timeout=30) as client:
            assert ask(client) == VALUES["values__0"].sum()
        with (
            TritonClient(relay.url, protocol=protocol, timeout=0.2, retries=0) as client,
            pytest.raises(ServingTimeoutError, match="no answer within the time allowed"),
        ):
            ask(client)


@pytest.mark.fault(
    broken="Triton takes a request and never answers",
    expected="the call ends by ServingTimeoutError at its limit of 1 s, and is not sent again",
)
@pytest.mark.parametrize("protocol", PORTS)
def test_triton_hangs(triton, protocol):
    silence = threading.Event()
    with (
        Relay(getattr(triton, PORTS[protocol]), back=until(silence)) as relay,
        TritonClient(relay.url, protocol=protocol, timeout=1.0) as client,
    ):
        ask(client)
        silence.set()
        began, sent = time.monotonic(), relay.heard.count(b"values__0")
        with pytest.raises(ServingTimeoutError, match="no answer within the time allowed"):
            ask(client)
        assert time.monotonic() - began < 10
        assert relay.heard.count(b"values__0") - sent == 1


@pytest.mark.fault(
    broken="every connection to Triton is reset after half an answer",
    expected="after three attempts the call ends by ServerUnreachableError; no half answer is handed out",
)
@pytest.mark.long
@pytest.mark.parametrize("protocol", PORTS)
def test_triton_answers_by_halves(triton, protocol):
    with (
        Relay(getattr(triton, PORTS[protocol]), back=torn(8000)) as relay,
        TritonClient(relay.url, protocol=protocol, timeout=30) as client,
    ):
        client.signature("scale")
        with pytest.raises(ServerUnreachableError):
            ask(client)
        assert relay.heard.count(b"values__0") == 3


@pytest.mark.fault(
    broken="connections to Triton are reset while requests travel, three times in a row",
    expected="the client sends the request again, and every call is answered",
)
@pytest.mark.long
@pytest.mark.parametrize("protocol", PORTS)
def test_connections_to_triton_are_reset(triton, protocol):
    with (
        Relay(getattr(triton, PORTS[protocol]), cut=3, on=b"values__0") as relay,
        TritonClient(relay.url, protocol=protocol, timeout=30, retries=4) as client,
    ):
        assert [ask(client) for _ in range(5)] == [VALUES["values__0"].sum()] * 5
        assert relay.heard.count(b"values__0") == 8


# --- the store ------------------------------------------------------------------------------------------------
@pytest.mark.fault(
    broken="every piece of the store's answers comes 0.3 s late",
    expected="the answer is right within the limit; a limit of 0.2 s ends the call by StoreTimeoutError",
)
@pytest.mark.long
def test_the_store_is_slow(store, database):
    with Relay(store.arango_port, back=slow(0.3)) as relay:
        assert run_query_over(store, relay, database, request_timeout=30) == [3]
        with pytest.raises(StoreTimeoutError, match="no answer in time"):
            run_query_over(store, relay, database, request_timeout=0.2)


@pytest.mark.fault(
    broken="the store takes a batch of documents and never answers",
    expected="the write ends by StoreTimeoutError at its limit of 1 s; written again, nothing is there twice",
)
def test_the_store_hangs(store, database):
    database.create_collection("c")
    silence = threading.Event()
    with Relay(store.arango_port, back=until(silence)) as relay:
        slow_one = connect(relayed(store, relay), database=database.name, request_timeout=1.0)

        def fall_silent(seen: int, _: int) -> None:
            if seen >= 1000:
                silence.set()

        began = time.monotonic()
        with pytest.raises(StoreTimeoutError, match="could not write 500 documents to 'c': no answer in time"):
            upsert(slow_one, "c", DOCUMENTS, on_batch=fall_silent)
        assert time.monotonic() - began < 10
    assert 1000 <= database.collection("c").count() <= 1500
    report = upsert(database, "c", DOCUMENTS)
    assert report.written == database.collection("c").count() == len(DOCUMENTS)
    assert report.updated >= 1000


@pytest.mark.fault(
    broken="every connection to the store is reset after half an answer",
    expected="the query ends by StoreUnreachableError; no half answer is handed out",
)
@pytest.mark.long
def test_the_store_answers_by_halves(store, database):
    database.create_collection("c")
    upsert(database, "c", DOCUMENTS)
    with Relay(store.arango_port, back=torn(4000)) as relay:
        through = connect(relayed(store, relay), database=database.name)
        with pytest.raises(StoreUnreachableError), store_errors("read all"):
            list(through.aql.execute("FOR d IN c RETURN d", batch_size=len(DOCUMENTS)))
    assert database.collection("c").count() == len(DOCUMENTS)


@pytest.mark.fault(
    broken="a connection to the store is reset while a batch of documents travels",
    expected="StoreUnreachableError; acknowledged batches stay; written again, nothing is there twice",
)
def test_a_connection_to_the_store_is_reset(store, database):
    database.create_collection("c")
    with Relay(store.arango_port, cut=1, on=b'"k1200"') as relay:
        through = connect(relayed(store, relay), database=database.name)
        with pytest.raises(StoreUnreachableError, match="could not write 500 documents to 'c'"):
            upsert(through, "c", DOCUMENTS)
        assert database.collection("c").count() == 1000
        report = upsert(through, "c", DOCUMENTS)
    assert (report.created, report.updated) == (1000, 1000)
    assert database.collection("c").count() == len(DOCUMENTS)
