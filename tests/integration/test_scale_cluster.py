"""Joining a Ray cluster by ``RAY_ADDRESS``: two nodes of it on this machine, and addresses where none is."""

from __future__ import annotations

import os
import socket
import time

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster
from scale_world import (
    DOCUMENTS,
    SMALL_GRAPH,
    TEXTS,
    embedded_graph,
    fresh_documents,
    revisions,
    sentence_servers,
    stored,
)

from scripts import embed_with_ray as command
from workshop.errors import ClusterUnreachableError
from workshop.graph.partition import partition_graph
from workshop.scale import cluster as joining
from workshop.scale.cluster import LOOPBACK, local_defaults, ray_cluster
from workshop.scale.layerwise import infer_on_ray
from workshop.stack.private import free_ports
from workshop.text.embedder import TextEmbedder
from workshop.text.signatures import SENTENCE_BERT
from workshop.triton.artefact import served_sidecar
from workshop.triton.client import TritonClient

NODES = 2
STORE_BYTES = 100 * 2**20


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two nodes, each with a store and one core of its own; no other machine reaches it."""
    with local_defaults():
        nodes = Cluster()
        try:
            for _ in range(NODES):
                nodes.add_node(
                    num_cpus=1,
                    object_store_memory=STORE_BYTES,
                    node_ip_address=LOOPBACK,
                    include_dashboard=False,
                )
            nodes.wait_for_nodes()
            yield nodes
        finally:
            nodes.shutdown()


@pytest.fixture
def joined(cluster, monkeypatch):
    """The cluster, which ``RAY_ADDRESS`` names."""
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    return cluster


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with sentence_servers(tmp_path_factory.mktemp("cluster")) as own:
        yield own


@pytest.fixture
def documents(served, monkeypatch):
    """Pending documents; the environment names their servers, as for a command."""
    for name in ("triton_grpc_port", "triton_http_port", "arango_port", "stack_dir", "model_repository"):
        monkeypatch.setenv(f"WORKSHOP_{name.upper()}", str(getattr(served, name)))
    monkeypatch.setenv("COLUMNS", "200")
    return fresh_documents(served)


def test_the_command_embeds_on_the_cluster_that_ray_address_names_and_a_second_run_writes_nothing(
    joined, served, documents, capsys
):
    arguments = [DOCUMENTS, "--database", served.arango_database, "--range", "100", "--workers", "2"]
    assert command.main(arguments) == 0
    said = capsys.readouterr().out
    assert f"stored {len(TEXTS)} vectors" in said
    assert "0 were there, 2 have no text" in said
    assert not ray.is_initialized()
    drivers = [job["DriverPid"] for job in joined.global_state.job_table()]
    assert drivers == [os.getpid()], "the cluster had one job, this one"
    found = stored(documents, served_sidecar(served.model_repository, SENTENCE_BERT.name).version_name)
    with TritonClient.from_settings(served) as client:
        expected = TextEmbedder(client)(TEXTS)
    np.testing.assert_allclose([found[number] for number in range(len(TEXTS))], expected, atol=1e-5)

    before = revisions(documents)
    assert command.main(arguments) == 0
    said = capsys.readouterr().out
    assert "stored 0 vectors" in said
    assert f"{len(TEXTS)} were there" in said
    assert revisions(documents) == before


def test_the_command_names_an_address_where_no_cluster_is(served, documents, monkeypatch, capsys):
    address = f"{LOOPBACK}:{served.arango_port}"  # a server that is not Ray's
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert command.main([DOCUMENTS, "--database", served.arango_database]) == 1
    said = capsys.readouterr().out
    assert f"cannot join a Ray cluster at RAY_ADDRESS={address}" in said
    assert "unset RAY_ADDRESS to run on this machine" in said
    assert not any("embedding" in document for document in documents.all())


@pytest.fixture
def silent():
    """An address that takes connections and says nothing."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        yield f"{LOOPBACK}:{listener.getsockname()[1]}"


@pytest.fixture
def closed():
    """An address where nothing listens."""
    (port,) = free_ports(1)
    return f"{LOOPBACK}:{port}"


@pytest.mark.parametrize("where", ["closed", "silent"])
def test_joining_where_no_cluster_answers_ends_in_time_and_names_the_address(where, request, monkeypatch):
    address = request.getfixturevalue(where)
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(joining, "FIRST_ANSWER", 1.0)
    began = time.monotonic()
    with (
        local_defaults(),
        pytest.raises(ClusterUnreachableError, match=f"RAY_ADDRESS={address}") as caught,
        ray_cluster(),
    ):
        pytest.fail("there is nothing to join")
    assert time.monotonic() - began < 10
    assert "unset RAY_ADDRESS" in str(caught.value)
    assert not ray.is_initialized()


@pytest.mark.parametrize("address", ["no-port", "nowhere.invalid:6379"])
def test_an_address_that_means_no_machine_is_named(address, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ClusterUnreachableError, match=f"RAY_ADDRESS={address}"), ray_cluster():
        pytest.fail("there is nothing to join")


def test_layers_are_computed_on_both_nodes_with_the_result_of_one_process(joined, tmp_path):
    model, x, csr, logits = embedded_graph(*SMALL_GRAPH)

    def meet(*_):
        """Say on which node this is, and go on as soon as a layer is computed on each."""
        (tmp_path / ray.get_runtime_context().get_node_id()).touch()
        deadline = time.monotonic() + 60
        while len(list(tmp_path.iterdir())) < NODES and time.monotonic() < deadline:
            time.sleep(0.01)

    model.convs[0].register_forward_pre_hook(meet)
    found = infer_on_ray(model, x, partition_graph(csr, 4))
    np.testing.assert_allclose(np.concatenate(found), logits, atol=1e-6)
    assert {file.name for file in tmp_path.iterdir()} == {node.node_id for node in joined.list_all_nodes()}
