"""Layer-wise GraphSAGE over partitions, each layer of each a Ray task; only halo vectors travel between them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError

from workshop.errors import ClusterFailedError
from workshop.graph.graphsage import GraphSAGE
from workshop.graph.inference import EDGES_PER_BATCH
from workshop.graph.partition import Partition, check_cover, owners, partition_layer
from workshop.scale.cluster import ray_cluster

OWN = -1
"""Stands for the owner itself among the readers of its vectors."""


def infer_on_ray(
    model: GraphSAGE,
    x: np.ndarray,
    partitions: Sequence[Partition],
    *,
    layers: int | None = None,
    edges_per_batch: int = EDGES_PER_BATCH,
) -> list[np.ndarray]:
    """Apply the layers to all partitions, on the Ray of :func:`workshop.scale.cluster.ray_cluster`.

    A task computes one layer of one partition. It gets its own vectors of the layer before, and from each owner those
    that it has in its halo; Ray starts it as soon as these are there, without waiting for the whole layer, and moves
    what is on another machine. A task whose worker or machine dies is run again, and with it what was lost.

    Args:
        model: the model; dropout is off.
        x: float32 ``[nodes, in_channels]``.
        partitions: all of the graph, in order.
        layers: how many layers; ``None``: all.
        edges_per_batch: bound on the edges of one step of a task.

    Returns:
        The last layer's output for each partition, float32 ``[own nodes, width]``.

    Raises:
        DataInvalidError: the partitions do not make up the nodes of ``x``.
        ClusterFailedError: Ray failed.
    """
    check_cover(x, partitions)
    layers = len(model.convs) if layers is None else layers
    needed = [owners(partition.halo, partitions) for partition in partitions]
    given: list[dict[int, np.ndarray]] = [{} for _ in partitions]  # owner -> reader -> which of its rows
    for reader, parts in enumerate(needed):
        for owner, rows in parts:
            given[owner][reader] = rows
    with ray_cluster():
        try:
            weights = ray.put(copy.deepcopy(model).cpu().eval())
            shared = [ray.put(partition) for partition in partitions]
            before = [
                _by_reader([ray.put(part) for part in _parts(x[partition.start : partition.stop], rows.values())], rows)
                for partition, rows in zip(partitions, given, strict=True)
            ]
            for index in range(layers):
                after = []
                for position, rows in enumerate(given):
                    if index + 1 == layers:
                        rows = {}  # nobody reads on
                    halo = [before[owner][position] for owner, _ in needed[position]]
                    task = _layer.options(num_returns=1 + len(rows))
                    parts = task.remote(
                        weights,
                        index,
                        shared[position],
                        list(rows.values()),
                        edges_per_batch,
                        before[position][OWN],
                        *halo,
                    )
                    after.append(_by_reader(parts if rows else [parts], rows))
                before = after
            return [ray.get(parts[OWN]) for parts in before]
        except RayError as error:
            raise ClusterFailedError(f"Ray could not finish the layers: {error}", hint="run it again") from error


@ray.remote
def _layer(
    model: GraphSAGE,
    index: int,
    partition: Partition,
    given: Sequence[np.ndarray],
    edges_per_batch: int,
    own: np.ndarray,
    *halo: np.ndarray,
) -> Any:
    """One layer of one partition: its own vectors, then for each reader those in its halo, each a value of its own."""
    parts = _parts(partition_layer(model, index, partition, own, halo, edges_per_batch), given)
    return parts if given else parts[0]


def _parts(vectors: np.ndarray, given: Iterable[np.ndarray]) -> list[np.ndarray]:
    return [vectors, *(vectors[rows] for rows in given)]


def _by_reader(parts: Sequence[ray.ObjectRef], readers: Iterable[int]) -> dict[int, ray.ObjectRef]:
    return dict(zip([OWN, *readers], parts, strict=True))
