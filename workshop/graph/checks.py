"""What an edge list must be before it is sampled, sent or stored. Without torch, so that clients can import it."""

from __future__ import annotations

import numpy as np

from workshop.errors import DataInvalidError


def check_edge_index(edge_index: np.ndarray, num_nodes: int) -> None:
    """Refuse an edge list that is not integers ``[2, num_edges]`` within ``0 .. num_nodes - 1``.

    Raises:
        DataInvalidError: naming the shape, dtype, or the first edge that points outside.
    """
    if edge_index.ndim != 2 or edge_index.shape[0] != 2 or edge_index.dtype.kind not in "iu":
        raise DataInvalidError(
            f"edge_index: expected integers of shape [2, edges], received {edge_index.dtype} {list(edge_index.shape)}",
            hint="edge_index = torch.tensor([sources, targets])",
        )
    outside = ((edge_index < 0) | (edge_index >= num_nodes)).any(axis=0)
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        source, target = edge_index[:, first].tolist()
        raise DataInvalidError(
            f"edge_index: {int(outside.sum())} of {edge_index.shape[1]} edges point outside the {num_nodes} nodes; "
            f"the first is edge {first}: {source} -> {target}",
            hint="drop the edges of unknown products, or add the products first",
        )
