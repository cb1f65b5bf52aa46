"""Sentence BERT: token ids in, one normalised sentence vector out.

Reimers and Gurevych, "Sentence-BERT", 2019, https://arxiv.org/abs/1908.10084. Masked mean pooling and the L2 norm
are part of the traced model, so that no client can forget the padding.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedModel

from workshop.text.sources import TORCH_DTYPES, TextModelSource, load_encoder


class SentenceBert(nn.Module):
    """A BERT-like encoder with masked mean pooling and L2 normalisation."""

    def __init__(self, encoder: PreTrainedModel) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Embed a batch of token ids.

        Args:
            input_ids: int64 ``[batch, length]``, length at most 256.
            attention_mask: int64 ``[batch, length]``, 1 on tokens, 0 on padding.

        Returns:
            float32 ``[batch, hidden]``, every row of length 1.
        """
        hidden = token_vectors(self.encoder, input_ids, attention_mask)
        return nn.functional.normalize(masked_mean(hidden, attention_mask), dim=1)


def token_vectors(encoder: PreTrainedModel, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """One vector a token, ``[batch, length, hidden]`` in the encoder's dtype, from int64 ``[batch, length]`` inputs."""
    # a 2-D mask would be expanded inside transformers, which bakes the tracing device into the graph
    blocked = (1.0 - attention_mask[:, None, None, :].to(encoder.dtype)) * torch.finfo(encoder.dtype).min
    return encoder(input_ids=input_ids, attention_mask=blocked).last_hidden_state


def masked_mean(hidden: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Mean over the tokens that the mask keeps: float32 ``[batch, hidden]``; zeros where it keeps none."""
    weights = attention_mask.unsqueeze(-1).to(torch.float32)
    return (hidden.to(torch.float32) * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)


def load_sentence_bert(source: TextModelSource, precision: str) -> SentenceBert:
    """The sentence model of ``source`` at ``fp32``, ``bf16`` or ``fp16``, ready to trace or to call."""
    return SentenceBert(load_encoder(source, TORCH_DTYPES[precision])).eval()
