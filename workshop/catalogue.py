"""Every model the workshop serves."""

from __future__ import annotations

from workshop.graph.signature import GRAPHSAGE_PRODUCTS
from workshop.text.ensembles import TEXT_EMBEDDING, TEXT_TOKENIZER, ZERO_SHOT_TEXT, ZERO_SHOT_TOKENIZER
from workshop.text.sentiment.signatures import SENTENCE_STEPS, SENTIMENT_MODELS
from workshop.text.signatures import SENTENCE_BERT, ZERO_SHOT
from workshop.triton.signature import ModelSignature
from workshop.vision.signatures import IMAGE_CLASSIFICATION, IMAGE_CLASSIFIER, IMAGE_DECODER
from workshop.vision.vit_signatures import ENSEMBLE_VIT, PYTHON_VIT, VIT, VIT_PREPROCESSING

SIGNATURES: tuple[ModelSignature, ...] = (
    SENTENCE_BERT,
    ZERO_SHOT,
    TEXT_TOKENIZER,
    ZERO_SHOT_TOKENIZER,
    TEXT_EMBEDDING,
    ZERO_SHOT_TEXT,
    GRAPHSAGE_PRODUCTS,
    IMAGE_CLASSIFIER,
    IMAGE_DECODER,
    IMAGE_CLASSIFICATION,
    PYTHON_VIT,
    VIT_PREPROCESSING,
    VIT,
    ENSEMBLE_VIT,
    *SENTIMENT_MODELS,
    *SENTENCE_STEPS,
)
