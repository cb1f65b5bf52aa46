"""Sentence BERT: token ids in, one normalised sentence vector out.

Reimers and Gurevych, "Sentence-BERT", 2019, https://arxiv.org/abs/1908.10084. Pooling and the L2 norm are part of the
traced model, so that no client can forget the padding.
"""

from __future__ import annotations

import inspect

import torch
from torch import nn
from transformers import PreTrainedModel

from workshop.text.encoding import Pooling
from workshop.text.hub_folder import first_position
from workshop.text.sources import TORCH_DTYPES, TextModelSource, load_encoder


class SentencePooling(nn.Module):
    """The token vectors of a sentence to one.

    Args:
        pooling: ``mean`` over the tokens that are no padding, or ``cls``, the first token's vector.
        normalised: scale vectors to length 1.
    """

    def __init__(self, pooling: Pooling = "mean", *, normalised: bool = True) -> None:
        super().__init__()
        self.pooling = pooling
        self.normalised = normalised

    def forward(self, hidden: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Float ``[batch, length, hidden]`` and int64 ``[batch, length]`` to float32 ``[batch, hidden]``."""
        pooled = hidden[:, 0].to(torch.float32) if self.pooling == "cls" else masked_mean(hidden, attention_mask)
        return nn.functional.normalize(pooled, dim=1) if self.normalised else pooled


class SentenceBert(nn.Module):
    """A BERT-like encoder, which gives one vector a token, and its pooling."""

    def __init__(self, encoder: PreTrainedModel, pooling: Pooling = "mean", *, normalised: bool = True) -> None:
        super().__init__()
        self.encoder = encoder
        self.pool = SentencePooling(pooling, normalised=normalised)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Embed a batch of token ids.

        Args:
            input_ids: int64 ``[batch, length]``.
            attention_mask: int64 ``[batch, length]``, 1 on tokens, 0 on padding.

        Returns:
            float32 ``[batch, hidden]``; rows of length 1 where ``normalised``.
        """
        return self.pool(token_vectors(self.encoder, input_ids, attention_mask), attention_mask)


def token_vectors(encoder: PreTrainedModel, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """One vector a token, ``[batch, length, hidden]`` in the encoder's dtype, from int64 ``[batch, length]`` inputs."""
    # left to itself, transformers would expand a 2-D mask, look segments up and count positions from the padding id:
    # each bakes the tracing device into the graph
    blocked = (1.0 - attention_mask[:, None, None, :].to(encoder.dtype)) * torch.finfo(encoder.dtype).min
    given = {}
    if "token_type_ids" in inspect.signature(encoder.forward).parameters:
        given["token_type_ids"] = torch.zeros_like(input_ids)
    if first := first_position(encoder.config):
        given["position_ids"] = (attention_mask.cumsum(1) - 1).clamp(min=0) + first
    return encoder(input_ids=input_ids, attention_mask=blocked, **given).last_hidden_state


def masked_mean(hidden: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Mean over the tokens that the mask keeps: float32 ``[batch, hidden]``; zeros where it keeps none."""
    weights = attention_mask.unsqueeze(-1).to(torch.float32)
    return (hidden.to(torch.float32) * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)


def load_sentence_bert(source: TextModelSource, precision: str) -> SentenceBert:
    """The sentence model of ``source`` at ``fp32``, ``bf16`` or ``fp16``, ready to trace or to call."""
    encoder = load_encoder(source, TORCH_DTYPES[precision])
    encoding = source.encoding
    return SentenceBert(encoder, encoding.pooling, normalised=encoding.normalised).eval()
