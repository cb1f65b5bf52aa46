"""Layer-wise GraphSAGE over partitions, each layer of each a Ray task; only halo vectors travel between them.

With a folder, every output is kept in a file as soon as it is computed, so that a run that failed as a whole, or was
stopped, is continued by the next. A file's name says of which weights, features, edges and partitions it is, and its
SHA-256 lies beside it: outputs of another model or graph are not seen, and a damaged one is computed anew.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError

from workshop.errors import ClusterFailedError
from workshop.files import is_sealed, seal
from workshop.graph.graphsage import GraphSAGE
from workshop.graph.inference import EDGES_PER_BATCH
from workshop.graph.partition import Partition, check_cover, fingerprint, owners, partition_layer, save_vectors
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
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
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
        folder: where outputs are kept, made as needed; on a cluster one that every machine has at this path.
        progress: called with the number of outputs that are there and of all, layers times partitions: at the beginning
            with those that were kept, and then after each. Outputs that no missing one is made from count as there.

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
    files = _files(folder, model, x, partitions, layers)
    features, plan = _plan(needed, files)
    with ray_cluster():
        under_way: list[ray.ObjectRef] = []
        try:
            weights = ray.put(copy.deepcopy(model).cpu().eval())
            shared = [ray.put(partition) for partition in partitions]
            before = {}
            for position in features:
                rows = _readers(given[position], plan[0])
                vectors = x[partitions[position].start : partitions[position].stop]
                before[position] = _by_reader([ray.put(part) for part in _parts(vectors, rows.values())], rows)
            for index, kept in enumerate(plan):
                following = plan[index + 1] if index + 1 < layers else {}
                after = {}
                for position, there in kept.items():
                    rows = _readers(given[position], following)
                    task, arguments = _read, [files[index][position], list(rows.values())]
                    if not there:
                        sources = [before[owner][reader] for owner, reader in _sources(position, needed)]
                        arguments += [weights, index, shared[position], edges_per_batch, *sources]
                        task = _layer
                    parts = task.options(num_returns=1 + len(rows)).remote(*arguments)
                    after[position] = _by_reader(parts if rows else [parts], rows)
                before = after
                under_way += [parts[OWN] for position, parts in after.items() if not kept[position]]
            _wait(under_way, layers * len(partitions), progress)
            return [ray.get(before[position][OWN]) for position in range(len(partitions))]
        except RayError as error:
            raise ClusterFailedError(f"Ray could not finish the layers: {error}", hint="run it again") from error
        finally:  # nothing is left of a run that was stopped
            for task in under_way:
                ray.cancel(task)


def _files(
    folder: Path | None, model: GraphSAGE, x: np.ndarray, partitions: Sequence[Partition], layers: int
) -> list[list[Path | None]]:
    """Where each layer's output of each partition is kept, if anywhere."""
    if folder is None:
        return [[None] * len(partitions)] * layers
    digest = fingerprint(model, x, partitions)[:16]
    return [
        [folder / f"layer{index + 1}_part{position:04d}_{digest}.npy" for position in range(len(partitions))]
        for index in range(layers)
    ]


def _plan(
    needed: Sequence[Sequence[tuple[int, np.ndarray]]], files: Sequence[Sequence[Path | None]]
) -> tuple[list[int], list[dict[int, bool]]]:
    """Which outputs the last layer's need, from the last layer back to the first.

    Returns:
        The partitions whose features are needed; and for each layer, by partition, whether its output is kept. What is
        not kept is computed.
    """
    wanted = list(range(len(needed)))
    plan: list[dict[int, bool]] = []
    for layer in reversed(files):
        kept = {position: (file := layer[position]) is not None and is_sealed(file) for position in wanted}
        plan.insert(0, kept)
        missing = [position for position, there in kept.items() if not there]
        wanted = sorted({owner for position in missing for owner, _ in _sources(position, needed)})
    return wanted, plan


def _sources(position: int, needed: Sequence[Sequence[tuple[int, np.ndarray]]]) -> list[tuple[int, int]]:
    """Whose vectors a partition's next layer is made from, and as which reader it gets them: its own come first."""
    return [(position, OWN), *((owner, position) for owner, _ in needed[position])]


def _readers(given: dict[int, np.ndarray], kept: dict[int, bool]) -> dict[int, np.ndarray]:
    """Those readers of a partition's vectors that are computed in the next layer, with the rows that they read."""
    return {reader: rows for reader, rows in given.items() if kept.get(reader) is False}


def _wait(under_way: list[ray.ObjectRef], total: int, progress: Callable[[int, int], None] | None) -> None:
    """Take out what is there, until nothing is under way: Ray may drop what nobody reads any more."""
    while True:
        if progress:
            progress(total - len(under_way), total)
        if not under_way:
            return
        _, under_way[:] = ray.wait(under_way, fetch_local=False)


@ray.remote
def _layer(
    file: Path | None,
    given: Sequence[np.ndarray],
    model: GraphSAGE,
    index: int,
    partition: Partition,
    edges_per_batch: int,
    own: np.ndarray,
    *halo: np.ndarray,
) -> Any:
    """One layer of one partition: its own vectors, then for each reader those in its halo, each a value of its own."""
    vectors = partition_layer(model, index, partition, own, halo, edges_per_batch)
    if file:
        save_vectors(file, vectors)
        seal(file)
    return _returned(vectors, given)


@ray.remote
def _read(file: Path, given: Sequence[np.ndarray]) -> Any:
    """What :func:`_layer` returned when it kept this file."""
    return _returned(np.load(file), given)


def _returned(vectors: np.ndarray, given: Sequence[np.ndarray]) -> Any:
    parts = _parts(vectors, given)
    return parts if given else parts[0]


def _parts(vectors: np.ndarray, given: Iterable[np.ndarray]) -> list[np.ndarray]:
    return [vectors, *(vectors[rows] for rows in given)]


def _by_reader(parts: Sequence[ray.ObjectRef], readers: Iterable[int]) -> dict[int, ray.ObjectRef]:
    return dict(zip([OWN, *readers], parts, strict=True))
