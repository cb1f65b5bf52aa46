"""The neighbour sampler: exact distribution, invariants of the subgraph, PyG's loaders, bad input."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch_geometric.data import Data
from torch_geometric.loader import LinkLoader, NodeLoader
from torch_geometric.utils import k_hop_subgraph

from workshop.errors import DataInvalidError
from workshop.graph.sampling import (
    ALL_NEIGHBORS,
    CSRGraph,
    NeighborhoodSampler,
    sample_neighbors,
    sample_subgraph,
)


def random_graph(num_nodes: int, num_edges: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    popularity = rng.pareto(1.0, num_nodes) + 0.01
    return rng.choice(num_nodes, size=(2, num_edges), p=popularity / popularity.sum())


def star(num_neighbors: int) -> CSRGraph:
    """Node 0 with edges from nodes 1, 2, ..."""
    leaves = np.arange(1, num_neighbors + 1)
    return CSRGraph.from_edge_index(np.stack([leaves, np.zeros_like(leaves)]), num_neighbors + 1)


# --- the graph ------------------------------------------------------------------------------------------------
def test_csr_keeps_every_edge_with_loops_duplicates_and_isolated_nodes():
    edge_index = torch.tensor([[0, 2, 2, 1, 3], [1, 1, 1, 0, 3]])
    csr = CSRGraph.from_edge_index(edge_index, num_nodes=5)
    neighbors = [sorted(csr.indices[csr.indptr[v] : csr.indptr[v + 1]].tolist()) for v in range(5)]
    assert neighbors == [[1], [0, 2, 2], [], [3], []]
    assert csr.num_nodes == 5
    assert csr.num_edges == 5
    assert csr.in_degree.tolist() == [1, 3, 0, 1, 0]


@pytest.mark.parametrize(
    ("edge_index", "message"),
    [
        ([[0, 1], [1, 3]], r"1 of 2 edges point outside the 3 nodes; the first is edge 1: 1 -> 3"),
        ([[-1], [0]], r"the first is edge 0: -1 -> 0"),
        ([[0, 1, 2]], r"expected integers of shape \[2, edges\], received .* \[1, 3\]"),
        ([[0.0], [1.0]], r"expected integers of shape \[2, edges\], received float32"),
    ],
)
def test_csr_refuses_edges_that_do_not_fit(edge_index, message):
    with pytest.raises(DataInvalidError, match=message):
        CSRGraph.from_edge_index(torch.tensor(edge_index), num_nodes=3)


# --- the draw -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("degree", "fan_out"), [(6, 3), (7, 1), (5, 4), (9, 2)])
def test_every_subset_of_neighbors_is_equally_likely(degree, fan_out):
    draws = 40_000
    source, row = sample_neighbors(
        star(degree), np.zeros(draws, dtype=np.int64), fan_out, np.random.default_rng(degree)
    )
    assert np.array_equal(row, np.repeat(np.arange(draws), fan_out))
    seen = Counter(map(tuple, np.sort(source.reshape(draws, fan_out), axis=1).tolist()))
    subsets = list(combinations(range(1, degree + 1), fan_out))
    assert set(seen) == set(subsets)  # without replacement, and nothing but neighbours
    assert chisquare([seen[subset] for subset in subsets]).pvalue > 0.001


def test_rows_of_one_frontier_are_drawn_independently():
    source, _ = sample_neighbors(star(4), np.zeros(20_000, dtype=np.int64), 1, np.random.default_rng(0))
    pairs = Counter(zip(source[::2].tolist(), source[1::2].tolist(), strict=True))
    assert chisquare([pairs[a, b] for a in range(1, 5) for b in range(1, 5)]).pvalue > 0.001


def test_small_neighborhoods_are_kept_whole():
    source, row = sample_neighbors(star(3), np.array([0, 2, 0]), 3, np.random.default_rng(0))
    assert source.tolist() == [1, 2, 3, 1, 2, 3]
    assert row.tolist() == [0, 0, 0, 2, 2, 2]


# --- the subgraph ---------------------------------------------------------------------------------------------
@settings(max_examples=60, deadline=None)
@given(
    num_nodes=st.integers(1, 30),
    num_edges=st.integers(0, 120),
    fan_out=st.lists(st.sampled_from([ALL_NEIGHBORS, 1, 2, 5]), min_size=1, max_size=3),
    seed=st.integers(0, 2**16),
    data=st.data(),
)
def test_subgraph_is_a_sampled_neighborhood(num_nodes, num_edges, fan_out, seed, data):
    edges = random_graph(num_nodes, num_edges, seed)
    csr = CSRGraph.from_edge_index(edges, num_nodes)
    seeds = data.draw(st.lists(st.integers(0, num_nodes - 1), max_size=6))
    sub = sample_subgraph(csr, seeds, fan_out, np.random.default_rng(seed))

    assert sub.node_ids[: sub.n_targets].tolist() == seeds
    assert sub.node_ids[sub.targets].tolist() == seeds
    met_later = sub.node_ids[sub.n_targets :]
    assert len(np.unique(met_later)) == len(met_later)
    assert not set(met_later) & set(seeds)
    assert len(sub.nodes_per_hop) == len(fan_out) + 1
    assert sum(sub.nodes_per_hop) == len(sub.node_ids)
    assert sum(sub.edges_per_hop) == sub.edge_index.shape[1]
    source, target = sub.edge_index
    assert (np.diff(target) >= 0).all()
    drawn = Counter(zip(sub.node_ids[source].tolist(), target.tolist(), strict=True))
    available = Counter(zip(*edges.tolist(), strict=True))
    assert all(times <= available[u, sub.node_ids[v]] for (u, v), times in drawn.items())
    # every node of hop h got min(degree, fan_out[h]) of its edges, those of the last hop none
    limits = [num_edges if limit == ALL_NEIGHBORS else limit for limit in fan_out] + [0]
    limit = np.repeat(limits, sub.nodes_per_hop)
    expected = np.minimum(csr.in_degree[sub.node_ids], limit)
    assert np.array_equal(np.bincount(target, minlength=len(sub.node_ids)), expected)


def test_all_neighbors_gives_the_k_hop_neighborhood_of_pyg():
    edges = random_graph(200, 400, seed=3)
    csr = CSRGraph.from_edge_index(edges, 200)
    sub = sample_subgraph(csr, [7, 100], [ALL_NEIGHBORS] * 2, np.random.default_rng(0))
    expected, *_ = k_hop_subgraph([7, 100], 2, torch.from_numpy(edges), num_nodes=200)
    assert sorted(sub.node_ids.tolist()) == expected.tolist()


def test_same_generator_state_gives_the_same_subgraph():
    csr = CSRGraph.from_edge_index(random_graph(500, 5000), 500)
    first, again, other = (sample_subgraph(csr, [1, 2], [5, 5], np.random.default_rng(s)) for s in (1, 1, 2))
    assert np.array_equal(first.edge_index, again.edge_index)
    assert np.array_equal(first.node_ids, again.node_ids)
    assert not np.array_equal(first.node_ids, other.node_ids)


def test_isolated_seed_is_a_subgraph_of_one_node():
    sub = sample_subgraph(star(2), [1], [3, 3], np.random.default_rng(0))
    assert sub.node_ids.tolist() == [1]
    assert sub.edge_index.shape == (2, 0)


@pytest.mark.parametrize(
    ("seeds", "fan_out", "message"),
    [
        ([0, 9], [2], r"seeds: 1 outside the 4 nodes; the first is 9"),
        ([-1], [2], r"the first is -1"),
        ([0.5], [2], r"seeds: expected integers \[n\], received float64"),
        ([[0]], [2], r"seeds: expected integers \[n\], received int64 \[1, 1\]"),
        ([0], [], r"fan_out: expected positive numbers or -1 for all, received \[\]"),
        ([0], [3, 0], r"fan_out: .* received \[3, 0\]"),
    ],
)
def test_bad_requests_are_refused(seeds, fan_out, message):
    with pytest.raises(DataInvalidError, match=message):
        sample_subgraph(star(3), seeds, fan_out, np.random.default_rng(0))


# --- PyG's loaders --------------------------------------------------------------------------------------------
@pytest.fixture
def data() -> Data:
    edges = torch.from_numpy(random_graph(300, 3000, seed=5))
    return Data(x=torch.arange(300.0)[:, None], edge_index=edges, y=torch.arange(300))


def batches(data: Data, epoch: int = 0, **options) -> list[Data]:
    sampler = NeighborhoodSampler(CSRGraph.from_edge_index(data.edge_index, 300), [4, 3], seed=1)
    sampler.set_epoch(epoch)
    return list(NodeLoader(data, sampler, torch.arange(50, 90), batch_size=16, **options))


def test_node_loader_batches_start_with_their_seeds_and_carry_their_features(data):
    seeds = torch.cat([batch.n_id[: batch.batch_size] for batch in batches(data)])
    assert seeds.tolist() == list(range(50, 90))
    for batch in batches(data):
        assert torch.equal(batch.x.flatten().long(), batch.n_id)
        assert torch.equal(batch.y, batch.n_id)
        assert sum(batch.num_sampled_edges) == batch.num_edges


def test_draws_depend_on_seed_and_epoch_but_not_on_the_number_of_workers(data):
    alone, helped, later = batches(data), batches(data, num_workers=2), batches(data, epoch=1)
    assert all(torch.equal(a.n_id, b.n_id) for a, b in zip(alone, helped, strict=True))
    assert not any(torch.equal(a.n_id, b.n_id) for a, b in zip(alone, later, strict=True))


def test_link_loader_points_at_the_ends_of_its_links(data):
    csr = CSRGraph.from_edge_index(data.edge_index, 300)
    links = data.edge_index[:, :100]
    loader = LinkLoader(
        data, NeighborhoodSampler(csr, [4, 3]), links, neg_sampling="triplet", batch_size=32, shuffle=False
    )
    found = [(b.n_id[b.src_index], b.n_id[b.dst_pos_index], b.n_id[b.dst_neg_index]) for b in loader]
    source, linked, random = map(torch.cat, zip(*found, strict=True))
    assert torch.equal(torch.stack([source, linked]), links)
    assert len(random) == 100
