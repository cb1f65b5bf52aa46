"""What the served GraphSAGE takes and gives. Without torch, so that clients can import it."""

from __future__ import annotations

from workshop.graph.architecture import Architecture
from workshop.triton.signature import ModelSignature, TensorSpec

ARCHITECTURE = Architecture()

GRAPHSAGE_PRODUCTS = ModelSignature(
    name="graphsage_products",
    platform="pytorch_libtorch",
    inputs=(
        TensorSpec("x__0", "FP32", (-1, ARCHITECTURE.in_channels)),
        TensorSpec("edge_index__1", "INT64", (2, -1)),
        TensorSpec("targets__2", "INT64", (-1,)),
    ),
    outputs=(
        TensorSpec("embedding__0", "FP32", (-1, ARCHITECTURE.hidden_channels)),
        TensorSpec("logits__1", "FP32", (-1, ARCHITECTURE.out_channels)),
    ),
    max_batch_size=0,
)
