"""Every model the workshop serves."""

from __future__ import annotations

from workshop.models import graphsage_products, sentence_bert, text_ensembles, zero_shot
from workshop.models.signature import ModelSignature

SIGNATURES: tuple[ModelSignature, ...] = (
    sentence_bert.SIGNATURE,
    zero_shot.SIGNATURE,
    text_ensembles.TEXT_TOKENIZER,
    text_ensembles.ZERO_SHOT_TOKENIZER,
    text_ensembles.TEXT_EMBEDDING,
    text_ensembles.ZERO_SHOT_TEXT,
    graphsage_products.SIGNATURE,
)
