"""Bulk embedding on a local Ray against a real Triton and a real store, while workers, endpoints and the store die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from contextlib import ExitStack, contextmanager

import numpy as np
import psutil
import pytest
import ray
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from movie_world import fresh_database
from proxies import Relay, held
from scale_world import (
    DOCUMENTS,
    LARGER_GRAPH,
    SMALL_GRAPH,
    TEXTS,
    embedded_graph,
    fresh_documents,
    revisions,
    sentence_servers,
    stored,
)
from test_products_store import catalogue

from workshop import stack
from workshop.errors import NoHealthyEndpointError, StoreUnreachableError
from workshop.files import is_sealed
from workshop.graph.architecture import Architecture
from workshop.graph.graphsage import GraphSAGE
from workshop.graph.inference import infer_layerwise
from workshop.graph.partition import partition_graph
from workshop.graph.sampling import CSRGraph
from workshop.recommend.product_graph import PRODUCTS, load_product_graph
from workshop.scale.cluster import ray_cluster
from workshop.scale.embedding import embed_with_ray
from workshop.scale.layerwise import infer_on_ray
from workshop.scale.patience import patiently
from workshop.scale.products import embed_catalogue_on_ray
from workshop.stack.private import private_settings
from workshop.store.bulk import upsert
from workshop.store.connection import connect
from workshop.store.embeddings import as_stored
from workshop.store.key_ranges import key_ranges
from workshop.store.pending import pending_pages, pending_scope
from workshop.store.queries import stream_query
from workshop.store.schema import ensure_collection
from workshop.text.embedder import TextEmbedder
from workshop.text.signatures import SENTENCE_BERT
from workshop.triton.artefact import served_sidecar
from workshop.triton.client import TritonClient

RANGE = 40


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with sentence_servers(tmp_path_factory.mktemp("scale")) as own:
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
    return fresh_documents(served)


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


def test_readers_wait_for_an_endpoint_that_does_not_answer(cluster, settings, documents, version):
    workers, range_documents, released = 2, 10, threading.Event()
    ranges = -(-(len(TEXTS) + 2) // range_documents)
    readings, blocks = [], []

    def asked():
        return b"ModelInfer" in endpoint.heard

    def watch():
        """Let the workers come to the endpoint, and the readers run ahead if they can; count, then let it answer."""
        deadline = time.monotonic() + 60
        while ranges_read(store) < workers and time.monotonic() < deadline:
            time.sleep(0.05)
        for _ in range(5):
            time.sleep(0.5)
            readings.append(ranges_read(store))
        readings.append(len(blocks))
        released.set()

    watcher = threading.Thread(target=watch)
    with (
        Relay(settings.arango_port) as store,
        Relay(settings.triton_grpc_port, back=held(asked, released)) as endpoint,
    ):
        own = settings.model_copy(
            update={"triton_endpoints": endpoint.url, "arango_port": int(store.url.split(":")[1])}
        )
        watcher.start()
        try:
            options = {"model_version": version, "range_documents": range_documents, "workers": workers}
            report = embed_with_ray(own, DOCUMENTS, **options, on_block=blocks.append)
        finally:
            released.set()
            watcher.join()
        *read, stored_meanwhile = readings
        assert read == [workers] * 5, "a worker reads the range that it embeds, and no other before that is done"
        assert stored_meanwhile == 0
        assert ranges_read(store) == ranges > 10 * workers
    assert report.stored == len(stored(documents, version)) == len(TEXTS)


def ranges_read(store):
    """How many ranges of documents were asked for through a relay; each is one page."""
    return store.heard.count(b"@text_attributes")


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
    model, x, csr, logits = embedded_graph(*SMALL_GRAPH)
    found = infer_on_ray(model, x, partition_graph(csr, 4))
    np.testing.assert_allclose(np.concatenate(found), logits, atol=1e-6)
    assert model.training


def test_a_worker_killed_in_the_middle_of_a_layer_changes_nothing(cluster):
    model, x, csr, logits = embedded_graph(*LARGER_GRAPH)
    killed, seen = [], []

    def kill(done, total):
        seen.append((done, total))
        deadline = time.monotonic() + 20
        while not killed and done < total and time.monotonic() < deadline:
            killed.extend(worker.pid for worker in psutil.process_iter() if _computes_a_layer(worker))
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    found = infer_on_ray(model, x, partition_graph(csr, 8), progress=kill)
    assert killed
    assert seen[-1] == (24, 24)
    np.testing.assert_allclose(np.concatenate(found), logits, atol=1e-4)


def _computes_a_layer(process):
    try:
        return "ray::_layer" in " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


def die_in_the_middle(folder):
    """Begin the layers, and with ten outputs there kill Ray's processes and this one, as when a machine is gone."""
    model, x, csr, _ = embedded_graph(*LARGER_GRAPH)

    def die(done, total):
        if done >= 10:
            for process in psutil.Process().children(recursive=True):
                process.kill()
            os.kill(os.getpid(), signal.SIGKILL)

    with ray_cluster(cpus=2):
        infer_on_ray(model, x, partition_graph(csr, 8), folder=folder, progress=die)


def sealed(folder):
    """When each whole output was written."""
    return {file: file.stat().st_mtime_ns for file in folder.glob("layer*.npy") if is_sealed(file)}


def test_a_run_that_died_as_a_whole_is_continued_with_what_it_kept(cluster, tmp_path):
    dying = multiprocessing.get_context("spawn").Process(target=die_in_the_middle, args=(tmp_path,))
    dying.start()
    dying.join()
    assert dying.exitcode == -signal.SIGKILL
    kept = sealed(tmp_path)
    assert 10 <= len(kept) < 24

    model, x, csr, logits = embedded_graph(*LARGER_GRAPH)
    partitions, seen = partition_graph(csr, 8), []
    found = infer_on_ray(model, x, partitions, folder=tmp_path, progress=lambda *counts: seen.append(counts))
    np.testing.assert_allclose(np.concatenate(found), logits, atol=1e-4)
    assert (seen[0], seen[-1]) == ((len(kept), 24), (24, 24)), "every layer needs all of the layer before here"
    after = sealed(tmp_path)
    assert len(after) == 24
    assert all(after[file] == written for file, written in kept.items())

    seen.clear()
    again = infer_on_ray(model, x, partitions, folder=tmp_path, progress=lambda *counts: seen.append(counts))
    assert seen == [(24, 24)]
    np.testing.assert_array_equal(np.concatenate(again), np.concatenate(found))


def test_files_of_others_are_not_taken_and_damaged_ones_are_made_anew(cluster, tmp_path):
    model, x, csr, logits = embedded_graph(*SMALL_GRAPH)
    partitions, began = partition_graph(csr, 4), []

    def infer(model, x, partitions):
        seen = []
        found = infer_on_ray(model, x, partitions, folder=tmp_path, progress=lambda *counts: seen.append(counts))
        began.append(seen[0])
        return np.concatenate(found)

    np.testing.assert_allclose(infer(model, x, partitions), logits, atol=1e-6)
    ours = sealed(tmp_path)

    others = [
        (GraphSAGE(SMALL_GRAPH[0]), x, csr),
        (model, x + 1, csr),
        (model, x, CSRGraph(csr.indptr, 49 - csr.indices)),
    ]
    for its_model, its_x, its_csr in others:
        expected = infer_layerwise(its_model, torch.from_numpy(its_x), its_csr)[1]
        np.testing.assert_allclose(infer(its_model, its_x, partition_graph(its_csr, 4)), expected, atol=1e-5)
    infer(model, x, partition_graph(csr, 3))
    assert began == [(0, 12)] * 4 + [(0, 9)]
    assert {file: written for file, written in sealed(tmp_path).items() if file in ours} == ours

    flipped, cut, unsealed = (next(file for file in ours if f"layer3_part000{part}" in file.name) for part in range(3))
    content = bytearray(flipped.read_bytes())
    content[-1] ^= 1
    flipped.write_bytes(content)
    os.truncate(cut, 100)
    unsealed.with_name(f"{unsealed.name}.sha256").unlink()
    np.testing.assert_allclose(infer(model, x, partitions), logits, atol=1e-6)
    assert began[-1] == (9, 12)
    after = sealed(tmp_path)
    assert {file for file, written in ours.items() if after[file] != written} == {flipped, cut, unsealed}


def test_a_catalogue_embedded_on_ray_is_stored_once_and_what_is_pending_is_taken_from_the_files(
    cluster, local_store, tmp_path
):
    products = catalogue()
    database = fresh_database(local_store, "products_on_ray")
    load_product_graph(database, products)
    torch.manual_seed(0)
    model = GraphSAGE(Architecture(in_channels=100, hidden_channels=32, out_channels=len(products.category_names)))
    computed, stored = [], []

    def embed(version):
        computed.clear()
        return embed_catalogue_on_ray(
            database,
            model,
            products,
            tmp_path,
            parts=2,
            model_version=version,
            computed=lambda *counts: computed.append(counts),
            progress=lambda *counts: stored.append(counts),
        )

    report = embed("graphsage@1")
    assert (report.stored, report.already_there, stored) == (7, 0, [(7, 7)])
    assert (computed[0], computed[-1]) == ((0, 6), (6, 6))
    assert [done for done, _ in computed] == sorted(done for done, _ in computed)
    csr = CSRGraph.from_edge_index(products.edge_index, 7)
    embedding, logits = infer_layerwise(model, products.x, csr)
    documents = [database.collection(PRODUCTS).get(key) for key in products.keys]
    unit = torch.nn.functional.normalize(embedding)
    np.testing.assert_allclose([document["embedding"] for document in documents], unit, atol=6e-4)
    said = [products.category_names[category] for category in logits.argmax(dim=1)]
    assert [document["predicted_category"] for document in documents] == said

    again = embed("graphsage@1")
    assert (again.stored, again.already_there, computed) == (0, 7, [])
    assert [database.collection(PRODUCTS).get(key) for key in products.keys] == documents

    upsert(database, PRODUCTS, [{"_key": "p3", "text_hash": "changed"}])
    assert embed("graphsage@1").stored == 1
    assert set(computed) == {(4, 6), (6, 6)}
    assert embed("graphsage@2").stored == 7
