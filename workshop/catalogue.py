"""Every model the workshop serves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from workshop.errors import ModelSourceError, RepositoryError
from workshop.graph.signature import GRAPHSAGE_PRODUCTS
from workshop.text.encoding import TextEncoding
from workshop.text.ensembles import text_embedding, text_tokenizer, zero_shot_text, zero_shot_tokenizer
from workshop.text.forms import sentence_forms
from workshop.text.sentiment.signatures import SENTIMENT_MODELS, sentence_steps
from workshop.text.signatures import MINILM, sentence_bert_signature, zero_shot_signature
from workshop.triton.artefact import served_sidecar
from workshop.triton.signature import ModelSignature, parse_config, read_signature
from workshop.vision.signatures import IMAGE_MODELS, image_models_around
from workshop.vision.vit_signatures import VIT_MODELS, VitShape, vit_models

Read = TypeVar("Read")


def signatures(
    sentence_bert: TextEncoding = MINILM,
    zero_shot: TextEncoding = MINILM,
    image: tuple[ModelSignature, ...] = IMAGE_MODELS,
    vit: tuple[ModelSignature, ...] = VIT_MODELS,
) -> tuple[ModelSignature, ...]:
    """The signatures of all models, where the text models encode texts so, and the image models are these."""
    embeds, classifies = sentence_bert_signature(sentence_bert), zero_shot_signature(zero_shot)
    return (
        embeds,
        classifies,
        text_tokenizer(embeds),
        zero_shot_tokenizer(classifies),
        text_embedding(embeds),
        zero_shot_text(classifies),
        GRAPHSAGE_PRODUCTS,
        *image,
        *vit,
        *SENTIMENT_MODELS,
        *sentence_steps(embeds),
        *(form.model for form in sentence_forms(sentence_bert).values()),
    )


SIGNATURES = signatures()
"""Of the models that the workshop makes when no setting names others."""


def repository_signatures(repository: Path) -> tuple[ModelSignature, ...]:
    """The signatures of the models that ``repository`` holds, whichever text and image models were exported into it."""
    return signatures(
        _as_exported(repository, "sentence_bert", _encoding, MINILM),
        _as_exported(repository, "zero_shot", _encoding, MINILM),
        _as_exported(repository, "image_classifier", image_models_around, IMAGE_MODELS),
        _as_exported(repository, "vit", lambda model: vit_models(VitShape.of(model)), VIT_MODELS),
    )


def _as_exported(repository: Path, model: str, read: Callable[[ModelSignature], Read], otherwise: Read) -> Read:
    """What the signature says that the served file was exported with; its sidecar keeps it."""
    try:
        return read(read_signature(parse_config(served_sidecar(repository, model).signature)))
    except (ModelSourceError, RepositoryError):
        return otherwise  # not exported, or by another version: the check of the repository names it


def _encoding(model: ModelSignature) -> TextEncoding:
    return TextEncoding.from_parameters(model.name, model.parameters)
