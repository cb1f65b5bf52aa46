"""Widths, depth and fan-out of a GraphSAGE. Without torch, so that signatures can be made from it anywhere."""

from __future__ import annotations

from dataclasses import dataclass

from workshop.errors import ModelError

FAN_OUT = (15, 10, 5)


@dataclass(frozen=True)
class Architecture:
    """Everything that decides the shapes of the weights; defaults are those of ogbn-products.

    Attributes:
        in_channels: width of the node features.
        hidden_channels: width of the embedding.
        out_channels: number of categories; 1 for a model that was trained on links and knows none.
        num_layers: number of SAGE layers, and so of hops; at least 2.
    """

    in_channels: int = 100
    hidden_channels: int = 256
    out_channels: int = 47
    num_layers: int = 3

    def __post_init__(self) -> None:
        if min(self.in_channels, self.hidden_channels, self.out_channels) < 1 or self.num_layers < 2:
            raise ModelError(f"GraphSAGE needs positive widths and at least 2 layers, received {self}")

    @property
    def has_categories(self) -> bool:
        """Whether the logits mean anything; a ``links`` training leaves its last layer of width 1 as it began."""
        return self.out_channels > 1

    @property
    def hops(self) -> int:
        """Hops of neighbourhood that the outputs depend on: the last layer only makes the logits."""
        return self.num_layers if self.has_categories else self.num_layers - 1

    @property
    def fan_out(self) -> tuple[int, ...]:
        """Neighbours a node for hop 1, 2, ...: the usual ones, the last repeated for further hops."""
        return (FAN_OUT + FAN_OUT[-1:] * self.hops)[: self.hops]
