"""Zero-shot text classification: one text and any number of labels in, one score per label out.

Two models fill the same signature:

- ``LatentZeroShot`` compares the sentence vectors of the text and of each label's hypothesis ("This text is about
  sport."), after Veeranna et al., "Using Semantic Similarity for Multi-Label Zero-Shot Classification", 2016, and
  the latent-embedding approach of https://joeddav.github.io/blog/2020/05/29/ZSL.html.
- ``EntailmentZeroShot`` asks a natural-language-inference model whether the text entails the hypothesis, after
  Yin et al., "Benchmarking Zero-shot Text Classification", 2019, https://arxiv.org/abs/1909.00161.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedModel

from workshop.errors import ModelSourceError
from workshop.text.hub_folder import COUNT_FROM_PADDING, first_position
from workshop.text.sentence_bert import SentenceBert, load_sentence_bert
from workshop.text.sources import TORCH_DTYPES, TextModelSource, load_classifier

# all-MiniLM-L6-v2 was trained with cross entropy over cosines times 20: the same scale turns them into probabilities
SIMILARITY_SCALE = 20.0
ROBERTA_LIKE = COUNT_FROM_PADDING - {"mpnet"}


class LatentZeroShot(nn.Module):
    """Cosine similarity between the text's vector and each hypothesis' vector."""

    def __init__(self, sentence_bert: SentenceBert, scale: float = SIMILARITY_SCALE) -> None:
        super().__init__()
        self.sentence_bert = sentence_bert
        self.scale = scale

    def forward(
        self, text_ids: torch.Tensor, text_mask: torch.Tensor, label_ids: torch.Tensor, label_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Score every label of every text.

        Args:
            text_ids: int64 ``[batch, length]``.
            text_mask: int64 ``[batch, length]``.
            label_ids: int64 ``[batch, labels, label_length]``, each row a tokenised hypothesis.
            label_mask: int64 ``[batch, labels, label_length]``.

        Returns:
            ``scores``: float32 ``[batch, labels]``, cosine similarities from -1 to 1;
            ``probabilities``: float32 ``[batch, labels]``, the softmax of the scaled scores.
        """
        text = self.sentence_bert(text_ids, text_mask)
        # texts of a batch mostly share their labels: encode each distinct hypothesis once
        rows = torch.cat([label_ids, label_mask], dim=2).flatten(0, 1)
        distinct, position = torch.unique(rows, dim=0, return_inverse=True)
        ids, mask = distinct.chunk(2, dim=1)
        labels = self.sentence_bert(ids, mask)[position].unflatten(0, (label_ids.size(0), label_ids.size(1)))
        # a cosine, also where the sentence model leaves its vectors at their own length
        text, labels = nn.functional.normalize(text, dim=-1), nn.functional.normalize(labels, dim=-1)
        scores = (labels @ text.unsqueeze(-1)).squeeze(-1)
        return scores, torch.softmax(scores * self.scale, dim=1)


class EntailmentZeroShot(nn.Module):
    """Probability that the text entails each hypothesis, from a BERT- or RoBERTa-like classifier trained on MNLI."""

    def __init__(self, classifier: PreTrainedModel) -> None:
        super().__init__()
        config = classifier.config
        if config.model_type not in {"bert", *ROBERTA_LIKE}:
            raise ModelSourceError(
                f"entailment model of type {config.model_type!r}: expected bert or one of {sorted(ROBERTA_LIKE)}",
                hint="set WORKSHOP_ENTAILMENT_MODEL to a BERT- or RoBERTa-like model, or leave it empty",
            )
        self.classifier = classifier
        self.dtype = classifier.dtype
        self.entailment, self.contradiction = _entailment_indices(config.label2id)
        self.roberta = config.model_type in ROBERTA_LIKE
        # RoBERTa counts positions from the padding index on, knows one segment, and puts two separators in between
        self.first_position = first_position(config)
        self.separator = config.eos_token_id if self.roberta else None

    def forward(
        self, text_ids: torch.Tensor, text_mask: torch.Tensor, label_ids: torch.Tensor, label_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Score every label of every text; shapes as in :class:`LatentZeroShot`.

        ``scores`` are probabilities of entailment against contradiction, each label for itself;
        ``probabilities`` are the softmax of the entailment logits over the labels.
        """
        batch, labels = label_ids.size(0), label_ids.size(1)
        premise = text_ids.unsqueeze(1).expand(batch, labels, text_ids.size(1)).flatten(0, 1)
        premise_mask = text_mask.unsqueeze(1).expand(batch, labels, text_mask.size(1)).flatten(0, 1)
        hypothesis, hypothesis_mask = label_ids.flatten(0, 1)[:, 1:], label_mask.flatten(0, 1)[:, 1:]
        if self.roberta:
            separator = torch.full_like(hypothesis[:, :1], self.separator)
            hypothesis = torch.cat([separator, hypothesis], dim=1)
            hypothesis_mask = torch.cat([torch.ones_like(separator), hypothesis_mask], dim=1)
        # the premise's padding stays in the middle: masked out, and skipped when positions are counted
        ids = torch.cat([premise, hypothesis], dim=1)
        mask = torch.cat([premise_mask, hypothesis_mask], dim=1)
        positions = (mask.cumsum(1) - 1).clamp(min=0) + self.first_position
        second = torch.zeros_like(hypothesis) if self.roberta else torch.ones_like(hypothesis)
        logits = self.classifier(
            input_ids=ids,
            attention_mask=(1.0 - mask[:, None, None, :].to(self.dtype)) * torch.finfo(self.dtype).min,
            position_ids=positions,
            token_type_ids=torch.cat([torch.zeros_like(premise), second], dim=1),
        ).logits
        logits = logits.to(torch.float32).unflatten(0, (batch, labels))
        entail, contradict = logits[..., self.entailment], logits[..., self.contradiction]
        return torch.sigmoid(entail - contradict), torch.softmax(entail, dim=1)


def _entailment_indices(label2id: dict[str, int]) -> tuple[int, int]:
    indices = {label.lower(): index for label, index in label2id.items()}
    found = [next((i for label, i in indices.items() if label.startswith(word)), None) for word in ("entail", "contra")]
    if None in found:
        raise ModelSourceError(
            f"not an entailment model: its labels are {sorted(label2id)}, expected entailment and contradiction",
            hint="set WORKSHOP_ENTAILMENT_MODEL to a model trained on MNLI, or leave it empty",
        )
    return found[0], found[1]


def load_zero_shot(source: TextModelSource, precision: str, *, entailment: bool = False) -> nn.Module:
    """The zero-shot model of ``source`` at ``fp32``, ``bf16`` or ``fp16``.

    Raises:
        ModelSourceError: ``entailment`` is asked of a model without entailment and contradiction labels.
    """
    if entailment:
        return EntailmentZeroShot(load_classifier(source, TORCH_DTYPES[precision])).eval()
    return LatentZeroShot(load_sentence_bert(source, precision)).eval()
