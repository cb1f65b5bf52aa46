"""Ranking metrics and bootstrap intervals."""

import numpy as np
import pytest

from workshop.evaluate.metrics import difference_interval, mean_interval, ndcg_at_k, recall_at_k


def test_metrics_by_hand():
    hits, wanted = np.array([[1.0, 0, 1], [0, 0, 0]]), np.array([4, 1])
    assert recall_at_k(hits, wanted).tolist() == [0.5, 0.0]
    best = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert ndcg_at_k(hits, wanted) == pytest.approx([(1 + 1 / np.log2(4)) / best, 0.0])


def test_intervals_hold_the_true_mean_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(60):
        interval = mean_interval(rng.normal(3.0, 1.0, size=80), seed=seed)
        held += interval.low <= 3.0 <= interval.high
    assert 51 <= held <= 60


def test_paired_differences_see_what_separate_intervals_cannot():
    cases = np.random.default_rng(1).normal(size=300)
    ours, theirs = cases + 0.05, cases
    apart = difference_interval(ours, theirs)
    assert apart.low == pytest.approx(0.05)
    assert mean_interval(ours).low < mean_interval(theirs).high, "side by side the two overlap"
