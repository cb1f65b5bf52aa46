"""The sentiment classifier: MiniLM, the mean of its token vectors, and one linear layer."""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedModel

from workshop.text.sentence_bert import masked_mean, token_vectors
from workshop.text.sources import TextModelSource, load_encoder

CLASSES = 2
FROZEN_LAYERS = 1
"""The embeddings and this many layers keep their published weights: they know words, and training them costs a third
of the time."""
LENGTH_MULTIPLE = 16


class SentimentClassifier(nn.Module):
    """Logits of *negative* and *positive* for token ids of any width.

    Padding costs as much as text, and the served tokenizer always sends 256 columns: the columns behind the longest
    review of the batch are left out before the encoder runs.
    """

    def __init__(self, encoder: PreTrainedModel) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.config.hidden_size, CLASSES)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Classify a batch of token ids.

        Args:
            input_ids: int64 ``[batch, length]``.
            attention_mask: int64 ``[batch, length]``, 1 on tokens, 0 on the padding behind them.

        Returns:
            float32 ``[batch, 2]``.
        """
        longest = attention_mask.sum(dim=1).max()
        # attention on CPUs takes twice as long at odd lengths; a slice beyond the end is cut there
        kept = torch.div(longest + LENGTH_MULTIPLE - 1, LENGTH_MULTIPLE, rounding_mode="floor") * LENGTH_MULTIPLE
        input_ids, attention_mask = input_ids[:, :kept], attention_mask[:, :kept]
        return self.head(masked_mean(token_vectors(self.encoder, input_ids, attention_mask), attention_mask))


def new_classifier(source: TextModelSource, seed: int) -> SentimentClassifier:
    """The published encoder in fp32 under a head drawn by ``seed``, in evaluation mode."""
    torch.manual_seed(seed)
    return SentimentClassifier(load_encoder(source, torch.float32)).eval()


def freeze_lower_layers(model: SentimentClassifier) -> None:
    """Stop training of the embeddings and of the first ``FROZEN_LAYERS`` layers."""
    for part in (model.encoder.embeddings, *model.encoder.encoder.layer[:FROZEN_LAYERS]):
        part.requires_grad_(False)


def trained_state(model: SentimentClassifier) -> dict[str, torch.Tensor]:
    """The tensors that training changes, by name."""
    return {name: tensor.detach() for name, tensor in model.named_parameters() if tensor.requires_grad}
