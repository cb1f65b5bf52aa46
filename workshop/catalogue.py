"""Every model the workshop serves."""

from __future__ import annotations

from pathlib import Path

from workshop.errors import ModelSourceError, RepositoryError
from workshop.graph.signature import GRAPHSAGE_PRODUCTS
from workshop.text.encoding import TextEncoding
from workshop.text.ensembles import text_embedding, text_tokenizer, zero_shot_text, zero_shot_tokenizer
from workshop.text.sentiment.signatures import SENTIMENT_MODELS, sentence_steps
from workshop.text.signatures import MINILM, sentence_bert_signature, zero_shot_signature
from workshop.triton.artefact import served_sidecar
from workshop.triton.signature import ModelSignature
from workshop.vision.signatures import IMAGE_CLASSIFICATION, IMAGE_CLASSIFIER, IMAGE_DECODER
from workshop.vision.vit_signatures import ENSEMBLE_VIT, PYTHON_VIT, VIT, VIT_PREPROCESSING


def signatures(sentence_bert: TextEncoding = MINILM, zero_shot: TextEncoding = MINILM) -> tuple[ModelSignature, ...]:
    """The signatures of all models, where the text models encode texts so."""
    embeds, classifies = sentence_bert_signature(sentence_bert), zero_shot_signature(zero_shot)
    return (
        embeds,
        classifies,
        text_tokenizer(embeds),
        zero_shot_tokenizer(classifies),
        text_embedding(embeds),
        zero_shot_text(classifies),
        GRAPHSAGE_PRODUCTS,
        IMAGE_CLASSIFIER,
        IMAGE_DECODER,
        IMAGE_CLASSIFICATION,
        PYTHON_VIT,
        VIT_PREPROCESSING,
        VIT,
        ENSEMBLE_VIT,
        *SENTIMENT_MODELS,
        *sentence_steps(embeds),
    )


SIGNATURES = signatures()
"""Of the models that the workshop makes when no setting names others."""


def repository_signatures(repository: Path) -> tuple[ModelSignature, ...]:
    """The signatures of the models that ``repository`` holds, whichever text model was traced into it."""
    return signatures(_encoding(repository, "sentence_bert"), _encoding(repository, "zero_shot"))


def _encoding(repository: Path, model: str) -> TextEncoding:
    try:
        return TextEncoding.from_parameters(model, served_sidecar(repository, model).facts)
    except (ModelSourceError, RepositoryError):
        return MINILM  # not traced, or by another version: the check of the repository names it
