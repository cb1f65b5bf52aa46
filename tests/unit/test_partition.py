"""Layer by layer over partitions: the result of the whole graph, also after a stop, and never of other inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workshop.errors import DataInvalidError
from workshop.graph import partition as partition_module
from workshop.graph.architecture import Architecture
from workshop.graph.graphsage import GraphSAGE
from workshop.graph.inference import infer_layerwise
from workshop.graph.partition import Partition, infer_partitioned, owners, partition_graph
from workshop.graph.sampling import CSRGraph

SIZES = Architecture(in_channels=5, hidden_channels=8, out_channels=3, num_layers=3)


def graph(nodes: int, edges: int, seed: int) -> CSRGraph:
    return CSRGraph.from_edge_index(np.random.default_rng(seed).integers(0, nodes, (2, edges)), nodes)


def world(nodes: int = 60, edges: int = 400, seed: int = 0) -> tuple[GraphSAGE, np.ndarray, CSRGraph]:
    torch.manual_seed(seed)
    x = np.random.default_rng(seed).normal(size=(nodes, SIZES.in_channels)).astype(np.float32)
    return GraphSAGE(SIZES), x, graph(nodes, edges, seed)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(0, 200), st.integers(1, 9), st.integers(0, 9))
def test_partitions_hold_every_node_and_edge_once_and_only_foreign_nodes_in_the_halo(nodes, edges, parts, seed):
    whole = graph(nodes, edges, seed)
    partitions = partition_graph(whole, parts)
    assert [part.start for part in partitions] + [nodes] == [0] + [part.stop for part in partitions]
    assert len(partitions) <= parts
    for part in partitions:
        numbers = np.concatenate([np.arange(part.start, part.stop), part.halo])
        assert len(np.unique(numbers)) == len(numbers)
        rows = whole.indices[whole.indptr[part.start] : whole.indptr[part.stop]]
        np.testing.assert_array_equal(numbers[part.csr.indices], rows)
        found = [partitions[owner].start + own for owner, own in owners(part.halo, partitions)]
        np.testing.assert_array_equal(np.concatenate(found or [part.halo]), part.halo)


@pytest.mark.parametrize("parts", [1, 4, 60])
def test_the_result_is_that_of_the_whole_graph(tmp_path, parts):
    model, x, csr = world()
    model.train()
    outputs = infer_partitioned(model, x, partition_graph(csr, parts), tmp_path, edges_per_batch=50)
    embedding, logits = infer_layerwise(model, torch.from_numpy(x), csr)
    np.testing.assert_allclose(np.concatenate(outputs[-2]), embedding.numpy(), atol=1e-6)
    np.testing.assert_allclose(np.concatenate(outputs[-1]), logits.numpy(), atol=1e-6)
    assert model.training


def test_a_stopped_run_continues_and_other_inputs_begin_anew(tmp_path, monkeypatch):
    model, x, csr = world()
    partitions = partition_graph(csr, 4)
    computed = []

    def counted(model, index, partition, *rest):
        if len(computed) == 6:
            raise KeyboardInterrupt
        computed.append((index, partition.start))
        return compute(model, index, partition, *rest)

    compute = partition_module.partition_layer
    monkeypatch.setattr(partition_module, "partition_layer", counted)
    with pytest.raises(KeyboardInterrupt):
        infer_partitioned(model, x, partitions, tmp_path)
    assert len(list(tmp_path.glob("layer*.npy"))) == 6

    monkeypatch.setattr(partition_module, "partition_layer", lambda *args: computed.append(args[1]) or compute(*args))
    shown = []
    outputs = infer_partitioned(model, x, partitions, tmp_path, progress=lambda *counts: shown.append(counts))
    assert len(computed) == 12
    assert shown[-1] == (12, 12)
    embedding, _ = infer_layerwise(model, torch.from_numpy(x), csr)
    np.testing.assert_allclose(np.concatenate(outputs[-2]), embedding.numpy(), atol=1e-6)

    infer_partitioned(model, x, partitions, tmp_path)
    assert len(computed) == 12
    outputs = infer_partitioned(model, x + 1, partitions, tmp_path)
    assert len(computed) == 24
    embedding, _ = infer_layerwise(model, torch.from_numpy(x + 1), csr)
    np.testing.assert_allclose(np.concatenate(outputs[-2]), embedding.numpy(), atol=1e-6)


def test_partitions_of_another_graph_are_refused(tmp_path):
    model, x, csr = world()
    partitions = partition_graph(csr, 3)
    with pytest.raises(DataInvalidError, match="expected all of 60 nodes"):
        infer_partitioned(model, x, partitions[1:], tmp_path)
    with pytest.raises(DataInvalidError, match="at least 1 part"):
        partition_graph(csr, 0)


def test_rows_with_parallel_edges_and_loops_keep_them():
    part = Partition.from_rows(2, np.array([0, 3, 4]), np.array([7, 7, 2, 0]))
    np.testing.assert_array_equal(part.halo, [0, 7])
    np.testing.assert_array_equal(part.csr.indices, [3, 3, 0, 2])
