"""Checks of `04_trace_graphsage`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from workshop.exercises.answers import RefusedError, array, call, parts, shown
from workshop.exercises.checking import Exercise
from workshop.exercises.verdict import Findings, right, wrong


def inward_edges(answer: object, *, bought: Mapping[int, Sequence[int]]) -> Findings:
    """``[2, edges]``, one edge for each link, towards the keys of ``bought``."""
    edges = array(answer, "edge_index", (2, None))
    if edges.dtype.kind not in "iu":
        raise RefusedError(f"edge_index holds places of nodes, so whole numbers; yours is {edges.dtype}")
    found = [tuple(pair) for pair in edges.T.tolist()]
    wanted = {(source, target) for target, sources in bought.items() for source in sources}
    turned = {(target, source) for source, target in wanted}
    if missing := wanted - set(found):
        yield wrong(f"{len(missing)} of {len(wanted)} links do not reach the product that they should inform")
    else:
        yield right("every link reaches the product that it should inform")
    if back := set(found) & turned:
        yield wrong(f"{len(back)} edges lead away from the product that is asked about, and bring it nothing")
    if strange := set(found) - wanted - turned:
        yield wrong(f"there is no link behind the edge from {min(strange)[0]} to {min(strange)[1]}")
    if len(found) != len(set(found)):
        yield wrong("an edge is there twice, and would count twice in the mean")


def renumbering(answer: object, *, model: torch.nn.Module, features: torch.Tensor) -> Findings:
    """A function that permutes a subgraph; ``model`` must answer the same before and after."""
    generator = torch.Generator().manual_seed(0)
    nodes = len(features)
    edges = torch.randint(nodes, (2, 3 * nodes), generator=generator)
    targets = torch.tensor([3, 0, nodes - 1])
    order = torch.roll(torch.randperm(nodes, generator=generator), 1)
    result = call(answer, features.clone(), edges.clone(), targets.clone(), order.clone())
    x, new_edges, new_targets = parts(result, ("x", "edge_index", "targets"))
    x = torch.from_numpy(array(x, "x", tuple(features.shape))).float()
    new_edges = torch.from_numpy(array(new_edges, "edge_index", (2, None))).long()
    new_targets = torch.from_numpy(array(new_targets, "targets", (len(targets),))).long()
    if torch.equal(x, features[order]):
        yield right("place i holds what was node order[i]")
    else:
        yield wrong("place i of the new features does not hold what was node order[i]")
    if torch.equal(x[new_targets], features[targets]):
        yield right("the targets are still the same products")
    else:
        yield wrong("the targets point to other products than before")
    with torch.no_grad():
        before = model(features, edges, targets)[-1]
        after = model(x, new_edges, new_targets)[-1]
    if torch.allclose(before, after, atol=1e-4):
        yield right("the model gives the targets the same answer as before")
    else:
        most = float((before - after).abs().max())
        yield wrong(f"the model's answer changes, by up to {most:.2g}: do the edges still join the same products?")


def needed_nodes(answer: object) -> Findings:
    """A function ``(edge_index, targets, layers)`` that gives the nodes of each layer, the first layer first."""
    chain = np.array([[1, 2, 3, 4], [0, 1, 2, 3]])
    rng = np.random.default_rng(0)
    cases = {
        "a chain that ends in the target": (chain, np.array([0]), 3),
        "a target without edges": (chain, np.array([4]), 2),
        "a random graph of 40 nodes": (rng.integers(40, size=(2, 60)), np.array([5, 17]), 3),
    }
    for name, (edges, targets, layers) in cases.items():
        found = call(answer, edges.copy(), targets.copy(), layers)
        if not isinstance(found, list | tuple) or len(found) != layers:
            raise RefusedError(f"{name}: expected {layers} sets, one for each layer, and got {shown(found)}")
        sets = [{int(node) for node in layer} for layer in found]
        yield from _compared_sets(sets, _needed(edges, targets, layers), name)


def _needed(edges: np.ndarray, targets: np.ndarray, layers: int) -> list[set[int]]:
    sets = [set(targets.tolist())]
    while len(sets) < layers:
        into = np.isin(edges[1], list(sets[0]))
        sets.insert(0, sets[0] | set(edges[0, into].tolist()))
    return sets


def _compared_sets(found: list[set[int]], expected: list[set[int]], name: str) -> Findings:
    if found == expected:
        yield right(f"{name}: {', '.join(str(len(nodes)) for nodes in found)} nodes in its layers")
    elif found == expected[::-1]:
        yield wrong(f"{name}: the sets are right, and the first layer should come first")
    elif found[-1] != expected[-1]:
        yield wrong(f"{name}: the last layer has to compute the targets and nothing else")
    else:
        layer = max(n for n in range(len(found)) if found[n] != expected[n])
        lacks, more = expected[layer] - found[layer], found[layer] - expected[layer]
        why = f"node {min(lacks)} is missing" if lacks else f"node {min(more)} is not needed"
        yield wrong(f"{name}: in layer {layer + 1} of {len(found)}, {why}")


EXERCISES = {
    "1": Exercise("Set `edges` in the cell above to two rows of numbers.", inward_edges),
    "2": Exercise("Give `renumber` a body that returns three tensors.", renumbering),
    "3": Exercise("Give `needed` a body that returns a list of sets.", needed_nodes),
}
