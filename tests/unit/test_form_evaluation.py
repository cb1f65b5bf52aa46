"""Which form is recommended, and what another form does to neighbours, genres and zero-shot labels."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from workshop.evaluate.forms import Task, frontier, recommend_form
from workshop.export.neighbours import nearest, neighbour_overlap
from workshop.triton.artefact import Sidecar

FORMS = pd.DataFrame(
    {
        "batched": [100.0, 290.0, 400.0, 120.0, 250.0],
        "overlap": [1.0, 0.99, 0.87, 0.98, 0.96],
        "genre_overlap": [0.30, 0.30, 0.30, 0.30, 0.28],
        "zero_shot_auc": [0.70, 0.70, 0.70, 0.70, 0.70],
    },
    index=["whole", "half", "bytes", "beaten", "spoilt"],
)


@pytest.mark.parametrize(("least_overlap", "expected"), [(0.95, "half"), (0.8, "bytes"), (0.995, "whole")])
def test_the_fastest_form_that_leaves_the_task_alone_is_recommended(least_overlap, expected):
    assert recommend_form(FORMS, least_overlap=least_overlap, least_share=0.99) == expected


def test_a_form_that_keeps_neighbours_and_spoils_the_task_is_not_recommended():
    assert recommend_form(FORMS.drop(index=["half", "bytes"]), least_overlap=0.95, least_share=0.99) == "beaten"


def test_on_the_frontier_no_other_form_is_faster_and_keeps_more():
    assert frontier(FORMS) == ["bytes", "half", "whole"]


def test_neighbours_are_other_rows_nearest_first():
    vectors = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 2.0], [0.3, 1.0]], np.float32)
    assert nearest(vectors, 2).tolist() == [[1, 3], [0, 3], [3, 1], [2, 1]]
    assert neighbour_overlap(vectors, vectors * 3, 2) == 1.0
    assert neighbour_overlap(vectors, vectors[::-1], 2) < 1.0


def test_a_task_judges_what_the_vectors_are_used_for():
    films = [SimpleNamespace(overview=str(n), genres=[("War", "Music")[n % 2]]) for n in range(24)]
    task = Task(films)
    angle = np.arange(24) * 0.02 + np.tile([0.0, 1.2], 12)
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    labels = np.array([[0.0, 1.0], [1.0, 0.0]], np.float32)  # Music, War
    whole = task.effect(vectors, labels, vectors)
    assert task.labels == ["Music", "War"]
    assert (whole.overlap, whole.genre_overlap, whole.zero_shot_auc) == (1.0, 1.0, 1.0)
    shuffled = task.effect(vectors[np.random.default_rng(0).permutation(24)], labels, vectors)
    assert shuffled.overlap < 0.9
    assert shuffled.genre_overlap < 0.8
    assert shuffled.zero_shot_auc < 0.9
    assert shuffled.least_cosine < 0.9


def test_int8_is_no_equivalent_of_the_other_precisions():
    def names(precision):
        empty = {}
        parts = ("m", "s", "0" * 64, precision, "2", "1", "c", empty, empty, empty, empty, empty)
        sidecar = Sidecar(*parts, fp32_cosine=0.9999)
        return sidecar.equivalent_version_names

    assert len(names("fp32")) == 2
    assert len(names("bf16")) == 2
    assert names("int8") == ()
