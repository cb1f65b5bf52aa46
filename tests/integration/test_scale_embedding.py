"""Bulk embedding on a local Ray against a real Triton and a real store, while workers, endpoints and the store die."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import ExitStack, contextmanager

import numpy as np
import psutil
import pytest
import ray
import tiny_text_models
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from movie_world import fresh_database
from proxies import Relay

from workshop import stack
from workshop.errors import NoHealthyEndpointError, StoreUnreachableError
from workshop.graph.architecture import Architecture
from workshop.graph.graphsage import GraphSAGE
from workshop.graph.inference import infer_layerwise
from workshop.graph.partition import partition_graph
from workshop.graph.sampling import CSRGraph
from workshop.scale.cluster import ray_cluster
from workshop.scale.embedding import embed_with_ray
from workshop.scale.layerwise import infer_on_ray
from workshop.scale.patience import patiently
from workshop.stack.private import private_settings
from workshop.store.bulk import upsert
from workshop.store.connection import connect
from workshop.store.embeddings import as_stored
from workshop.store.key_ranges import key_ranges
from workshop.store.pending import pending_pages, pending_scope
from workshop.store.queries import stream_query
from workshop.store.schema import ensure_collection
from workshop.text.embedder import TextEmbedder
from workshop.text.prepare import prepare_sentence_bert
from workshop.text.signatures import SENTENCE_BERT
from workshop.triton.artefact import served_sidecar
from workshop.triton.client import TritonClient

TEXTS = [f"{phrase} {number}" for number in range(100) for phrase in tiny_text_models.PHRASES]
RANGE, DOCUMENTS = 40, "texts"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Settings of a Triton that serves a tiny sentence model, and of a store."""
    folder = tmp_path_factory.mktemp("scale")
    model = tiny_text_models.save_sentence_model(folder / "hub", tiny_text_models.KINDS["cased"])
    own = private_settings(
        folder / "stack", model_repository=folder / "models", sentence_model=str(model), precision="fp32"
    )
    prepare_sentence_bert(own)
    with stack.running(own, ["triton", "aqlite"], models=[SENTENCE_BERT.name]):
        yield own
        stack.down(own, ["aqlite"])  # a test has started it again, so that it is no longer the one of this block


@pytest.fixture(scope="module")
def version(served):
    return served_sidecar(served.model_repository, SENTENCE_BERT.name).version_name


@pytest.fixture(scope="module")
def expected(served):
    with TritonClient.from_settings(served) as client:
        return TextEmbedder(client)(TEXTS)


@pytest.fixture(scope="module")
def cluster():
    with ray_cluster(cpus=2):
        yield


@pytest.fixture
def relays(served):
    """Two endpoints, each of which can be closed."""
    with ExitStack() as open_relays:
        yield [open_relays.enter_context(Relay(served.triton_grpc_port)) for _ in range(2)]


@pytest.fixture
def settings(served, relays):
    return served.model_copy(update={"triton_endpoints": ",".join(relay.url for relay in relays)})


@pytest.fixture
def documents(served):
    """A fresh collection of texts without vectors, two of them empty."""
    database = fresh_database(served, served.arango_database)
    ensure_collection(database, DOCUMENTS, edge=False)
    rows = [{"_key": f"t{number}", "title": text, "text_hash": number} for number, text in enumerate(TEXTS)]
    upsert(database, DOCUMENTS, [*rows, {"_key": "blank", "title": " "}, {"_key": "none"}])
    return database.collection(DOCUMENTS)


def stored(collection, version):
    """Every vector by the number of its text; each was made by the model of that version, of the present text."""
    found = {}
    for document in collection.all():
        if "embedding" in document:
            assert (document["embedding_model"], document["embedding_of"]) == (version, document["text_hash"])
            found[document["text_hash"]] = document["embedding"]
    return found


def revisions(collection):
    return {document["_key"]: document["_rev"] for document in collection.all()}


@contextmanager
def at_first_inference(relays, action):
    """Do something as soon as one of the relays hears a text go to the model; it must have been done at the end."""
    over = threading.Event()

    def wait():
        while not over.wait(0.002):
            if any(b"ModelInfer" in relay.heard for relay in relays):
                action()
                return

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_local_ray_listens_on_this_machine_only(cluster):
    session = ray._private.worker._global_node.get_session_dir_path()
    ours = {one.pid for one in psutil.process_iter(["cmdline"]) if session in " ".join(one.info["cmdline"] or [])}
    listening = [one for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN and one.pid in ours]
    assert len(listening) >= 3
    assert {one.laddr.ip.removeprefix("::ffff:") for one in listening} == {"127.0.0.1"}
    assert not {"RAY_USAGE_STATS_ENABLED", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"} & os.environ.keys()


def test_a_killed_worker_and_a_dead_endpoint_lose_nothing_and_a_second_run_writes_nothing(
    cluster, settings, relays, documents, version, expected
):
    blocks, killed = [], []
    ports = {int(relay.url.partition(":")[2]) for relay in relays}

    def kill():
        asking = {one.pid for one in psutil.net_connections("tcp") if one.raddr and one.raddr.port in ports}
        for pid in asking - {os.getpid(), None}:
            killed.append(pid)
            os.kill(pid, signal.SIGKILL)
        relays[0].__exit__()

    options = {"model_version": version, "range_documents": RANGE, "patience": 20, "workers": 1}
    with at_first_inference(relays, kill):
        report = embed_with_ray(settings, DOCUMENTS, **options, on_block=blocks.append)
    assert len(killed) == 1
    assert int(blocks[-1].worker.partition(":")[2]) not in killed
    assert (report.stored, report.already_there, report.skipped) == (len(TEXTS), 0, 2)
    assert report.blocks == len(blocks) == -(-(len(TEXTS) + 2) // RANGE)
    assert 0 < report.start_seconds < report.seconds
    assert (blocks[-1].done, blocks[-1].wanted) == (len(TEXTS), len(TEXTS) + 2)
    found = stored(documents, version)
    assert sorted(found) == list(range(len(TEXTS)))
    np.testing.assert_allclose([found[number] for number in range(len(TEXTS))], expected, atol=1e-5)

    before = revisions(documents)
    again = embed_with_ray(settings, DOCUMENTS, **options)
    assert (again.stored, again.already_there, again.skipped, again.blocks) == (0, len(TEXTS), 2, 0)
    assert revisions(documents) == before


def test_without_any_endpoint_the_run_ends_and_the_next_one_outlives_a_restart_of_the_store(
    cluster, settings, relays, documents, version, expected
):
    kept = {f"t{number}": number for number in range(0, len(TEXTS), 2)}
    upsert(
        connect(settings),
        DOCUMENTS,
        [
            {"_key": key, "embedding": as_stored(expected[n]), "embedding_model": version, "embedding_of": n}
            for key, n in kept.items()
        ],
    )
    before = revisions(documents)
    options = {"model_version": version, "range_documents": RANGE, "workers": 1}

    def lose_endpoints():
        for relay in relays:
            relay.__exit__()

    with (
        at_first_inference(relays, lose_endpoints),
        pytest.raises(NoHealthyEndpointError, match="none of 2 Triton endpoints is healthy"),
    ):
        embed_with_ray(settings, DOCUMENTS, **options, patience=1)

    restarting = threading.Thread(target=stack.up, args=(settings, ["aqlite"]))

    def restart_store():
        stack.down(settings, ["aqlite"])
        restarting.start()

    with Relay(settings.triton_grpc_port) as relay, at_first_inference([relay], restart_store):
        back = settings.model_copy(update={"triton_endpoints": relay.url})
        report = embed_with_ray(back, DOCUMENTS, **options, patience=60)
    restarting.join()
    found = stored(documents, version)
    assert sorted(found) == list(range(len(TEXTS)))
    np.testing.assert_allclose([found[number] for number in range(len(TEXTS))], expected, atol=1e-5)
    assert report.stored + report.already_there == len(TEXTS)
    after = revisions(documents)
    assert all(after[key] == before[key] for key in kept), "what was there is not written again"


def test_a_store_that_stays_away_is_named(served):
    gone = private_settings(served.stack_dir / "gone")
    with pytest.raises(StoreUnreachableError, match=str(gone.arango_port)):
        patiently(lambda: connect(gone), 0.2)


KEYS = st.lists(st.from_regex(r"[A-Za-z0-9_.@()+,=;$!*'%-]{1,6}", fullmatch=True), unique=True, max_size=40)


@examples(max_examples=25, deadline=None)
@given(keys=KEYS, size=st.integers(1, 12), done=st.sets(st.integers(0, 39)))
def test_ranges_hold_every_pending_key_exactly_once(local_store, keys, size, done):
    database = connect(local_store)
    collection = ensure_collection(database, "ranged", edge=False)
    collection.truncate()
    rows = [{"_key": key, "embedding_model": "m" if number in done else "old"} for number, key in enumerate(keys)]
    upsert(database, "ranged", rows)
    pending = [row["_key"] for row in rows if row["embedding_model"] == "old"]
    scope = pending_scope("ranged", "m")
    ranges = list(key_ranges(stream_query(database, "pending_keys", scope, batch_size=7), size))
    read = [list(pending_pages(database, scope, (), keys, page_documents=5)) for keys in ranges]
    counts = [sum(map(len, pages)) for pages in read]
    assert sorted(document["_key"] for pages in read for page in pages for document in page) == sorted(pending)
    assert counts[:-1] == [size] * (len(counts) - 1)


def test_partitions_on_ray_give_the_result_of_the_whole_graph(cluster):
    torch.manual_seed(0)
    model = GraphSAGE(Architecture(in_channels=6, hidden_channels=8, out_channels=3))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 6)).astype(np.float32)
    csr = CSRGraph.from_edge_index(rng.integers(0, 50, (2, 300)), 50)
    _, logits = infer_layerwise(model, torch.from_numpy(x), csr)
    found = infer_on_ray(model, x, partition_graph(csr, 4))
    np.testing.assert_allclose(np.concatenate(found), logits.numpy(), atol=1e-6)
    assert model.training
