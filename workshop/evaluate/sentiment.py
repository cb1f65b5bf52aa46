"""Judging sentiment classifiers: accuracy on held-out reviews, agreement with people, calibration, and the rivals.

Rivals: VADER's lexicon and rules (Hutto and Gilbert 2014), TF-IDF of words and word pairs with logistic regression, and
logistic regression on the sentence vectors of the encoder that was not fine-tuned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from workshop.data.sentiment import Reviews
from workshop.errors import DataInvalidError
from workshop.evaluate.metrics import Interval, difference_interval, mean_interval

BINS = 10


@dataclass(frozen=True)
class Verdict:
    """How one classifier does on held-out reviews.

    Attributes:
        accuracy: share of reviews whose sign it finds, over those with a sign.
        ahead_of: what it gains in accuracy on each rival, on the same reviews.
        rank_correlation: Spearman's, of its scores with the mean human ratings, over all reviews.
    """

    accuracy: Interval
    ahead_of: dict[str, Interval]
    rank_correlation: float


@dataclass(frozen=True)
class Calibration:
    """Predicted probabilities against what happened, in bins of equal width; empty bins are left out.

    Attributes:
        predicted: float64 ``[bins]``, mean probability of *positive*.
        observed: float64 ``[bins]``, share of positive reviews.
        counts: int64 ``[bins]``.
        error: expected calibration error (Naeini et al. 2015), the mean gap weighted by the counts.
    """

    predicted: np.ndarray
    observed: np.ndarray
    counts: np.ndarray
    error: float


def judge(test: Reviews, scores: dict[str, np.ndarray], thresholds: dict[str, float]) -> dict[str, Verdict]:
    """Judge classifiers on the same held-out reviews.

    Args:
        test: held-out reviews.
        scores: of each classifier, float ``[reviews]``, higher for more positive.
        thresholds: from which score on a review counts as positive.

    Raises:
        DataInvalidError: scores of another length, or not finite.
    """
    for name, values in scores.items():
        if len(values) != len(test) or not np.isfinite(values).all():
            raise DataInvalidError(f"{name}: expected {len(test)} finite scores, received {len(values)}")
    right = {
        name: ((values >= thresholds[name]) == test.labels)[test.decided].astype(np.float64)
        for name, values in scores.items()
    }
    return {
        name: Verdict(
            mean_interval(right[name]),
            {other: difference_interval(right[name], right[other]) for other in scores if other != name},
            float(spearmanr(values, test.ratings).statistic),
        )
        for name, values in scores.items()
    }


def calibration(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> Calibration:
    """Reliability of probabilities of *positive*: float ``[reviews]`` against bool ``[reviews]``."""
    place = np.minimum((np.asarray(probabilities) * bins).astype(np.int64), bins - 1)
    counts = np.bincount(place, minlength=bins)
    kept = counts > 0
    predicted = np.bincount(place, probabilities, bins)[kept] / counts[kept]
    observed = np.bincount(place, labels.astype(np.float64), bins)[kept] / counts[kept]
    error = float((np.abs(predicted - observed) * counts[kept]).sum() / counts.sum())
    return Calibration(predicted, observed, counts[kept], error)


def vader_scores(texts: list[str]) -> np.ndarray:
    """VADER's compound score of each text, -1 to 1; positive from 0 on."""
    analyzer = SentimentIntensityAnalyzer()
    return np.array([analyzer.polarity_scores(text)["compound"] for text in texts])


def tfidf_probabilities(train: Reviews, texts: list[str]) -> np.ndarray:
    """Probability of *positive* from TF-IDF of words and word pairs and logistic regression."""
    train = train.take(train.decided)
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True), LogisticRegression(C=10, max_iter=1000)
    )
    return model.fit(train.texts, train.labels).predict_proba(texts)[:, 1]


def vector_probabilities(train_vectors: np.ndarray, train: Reviews, vectors: np.ndarray) -> np.ndarray:
    """Probability of *positive* from logistic regression on sentence vectors, float ``[reviews, width]``."""
    model = LogisticRegression(C=10, max_iter=1000)
    return model.fit(train_vectors[train.decided], train.labels[train.decided]).predict_proba(vectors)[:, 1]
