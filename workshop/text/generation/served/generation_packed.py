"""Linear layers whose weights are laid out once for oneDNN, which otherwise lays them out anew at every call.

That costs as much as reading the weights, so a batch of a few rows gains most: about a third. A single row, which
is one pass over the weights either way, loses up to a tenth on one processor and gains a quarter on another. The
operators are those of PyTorch's own compiled graphs:
https://github.com/pytorch/pytorch/blob/main/torch/_inductor/fx_passes/mkldnn_fusion.py
"""

from __future__ import annotations

import torch
from torch import nn

TYPICAL_ROWS = 8


class PackedLinear(nn.Module):
    """A linear layer in fp32 for inference on the processor."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self._bias = layer.bias
        self._weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), TYPICAL_ROWS)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """float32 ``[..., in]`` to float32 ``[..., out]``."""
        return torch.ops.mkldnn._linear_pointwise(inputs, self._weight, self._bias, "none", [], "")


def pack_linears(model: nn.Module) -> None:
    """Replace every fp32 linear layer of a model on the processor, where this PyTorch has oneDNN."""
    if not torch.backends.mkldnn.is_available():
        return
    for module in list(model.modules()):
        for name, layer in list(module.named_children()):
            if type(layer) is nn.Linear and layer.weight.dtype == torch.float32 and layer.weight.device.type == "cpu":
                setattr(module, name, PackedLinear(layer))
