"""The whole experiment: the classifier's scores beside those of its rivals, on one split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from workshop.data.sentiment import Reviews
from workshop.evaluate.sentiment import (
    Verdict,
    judge,
    tfidf_probabilities,
    vader_scores,
    vector_probabilities,
)
from workshop.text.prepare import sentence_inputs
from workshop.text.sentence_bert import load_sentence_bert
from workshop.text.sources import TextModelSource

FINE_TUNED, FROZEN, TFIDF, VADER = "fine-tuned MiniLM", "frozen MiniLM, LR", "TF-IDF, LR", "VADER"
THRESHOLDS = {FINE_TUNED: 0.5, FROZEN: 0.5, TFIDF: 0.5, VADER: 0.0}
ROWS = 64


def sentence_vectors(source: TextModelSource, texts: Sequence[str]) -> np.ndarray:
    """Vectors of the encoder as published: float32 ``[texts, 384]``."""
    model, tokenizer = load_sentence_bert(source, "fp32"), source.tokenizer()
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    vectors = np.empty((len(texts), model.encoder.config.hidden_size), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(order), ROWS):
            rows = order[start : start + ROWS]
            vectors[rows] = model(*sentence_inputs(tokenizer, [texts[row] for row in rows])).numpy()
    return vectors


def rival_scores(source: TextModelSource, train: Reviews, texts: list[str]) -> dict[str, np.ndarray]:
    """Scores of each rival for ``texts``; those that learn do so on ``train``."""
    vectors = sentence_vectors(source, train.texts), sentence_vectors(source, texts)
    return {
        FROZEN: vector_probabilities(vectors[0], train, vectors[1]),
        TFIDF: tfidf_probabilities(train, texts),
        VADER: vader_scores(texts),
    }


def compare(
    source: TextModelSource, train: Reviews, test: Reviews, probabilities: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, Verdict]]:
    """Scores and verdicts of the fine-tuned classifier, whose ``probabilities`` are given, and of its rivals."""
    scores = {FINE_TUNED: probabilities, **rival_scores(source, train, test.texts)}
    return scores, judge(test, scores, THRESHOLDS)
