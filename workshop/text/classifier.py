"""Zero-shot classification of lists of texts through the served ``zero_shot_text``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from workshop.errors import TensorShapeError
from workshop.text.embedder import check_strings
from workshop.text.ensembles import ZERO_SHOT_TEXT
from workshop.text.signatures import HYPOTHESIS_TEMPLATE
from workshop.triton.client import TritonClient


@dataclass(frozen=True)
class Classification:
    """The labels of one text, best first.

    Attributes:
        labels: the candidate labels.
        scores: float32 ``[labels]``; cosine similarities, or entailment probabilities for an entailment model.
        probabilities: float32 ``[labels]``, summing to 1.
    """

    labels: tuple[str, ...]
    scores: np.ndarray
    probabilities: np.ndarray


class ZeroShotClassifier:
    """Scores labels for texts through the served ensemble, which tokenises on the server.

    Args:
        client: where the ensemble is served.
        model: name of the ensemble.
    """

    def __init__(self, client: TritonClient, model: str = ZERO_SHOT_TEXT) -> None:
        self.client = client
        self.model = model

    def __call__(
        self,
        texts: Sequence[str],
        labels: Sequence[str] | Sequence[Sequence[str]],
        template: str = HYPOTHESIS_TEMPLATE,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Classification]:
        """Score labels for each text.

        Args:
            texts: the texts; empty ones are allowed, and what exceeds the model's longest input is cut.
            labels: one list of labels for all texts, or one list per text; the lists may differ in length.
            template: the hypothesis, with ``{}`` where the label goes.
            progress: called with the number of texts done and the number of all.

        Returns:
            One classification per text, in the order of ``texts``.

        Raises:
            TensorTypeError: a text or a label is not a string.
            TensorShapeError: a label list is empty, or their number is not that of the texts.
            ServingError: as :meth:`TritonClient.infer`; a template without ``{}`` is an :class:`InferenceError`.
        """
        check_strings(texts, "texts")
        label_sets = _label_sets(len(texts), labels)
        results: list[Classification | None] = [None] * len(texts)
        rows = self.client.signature(self.model).max_batch_size
        groups = list(_groups(texts, label_sets, rows))
        requests = (_request(texts, label_sets, group, template) for group in groups)
        done = 0
        for group, answer in zip(groups, self.client.infer_many(self.model, requests), strict=True):
            for row, index in enumerate(group):
                results[index] = _ranked(label_sets[index], answer["SCORES"][row], answer["PROBABILITIES"][row])
            done += len(group)
            if progress:
                progress(done, len(texts))
        return results


def _label_sets(num_texts: int, labels: Sequence[str] | Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """One checked set of labels a text."""
    shared = all(isinstance(label, str) for label in labels)
    if not shared and len(labels) != num_texts:
        raise TensorShapeError(f"{num_texts} texts and {len(labels)} label lists: expected one list for each text")
    label_sets = [tuple(labels)] * num_texts if shared else [tuple(own) for own in labels]
    for index, own in enumerate(label_sets):
        check_strings(own, f"labels of text {index}")
        if not own:
            raise TensorShapeError(f"labels of text {index}: the list is empty", hint="give at least one label")
    return label_sets


def _groups(texts: Sequence[str], label_sets: Sequence[tuple[str, ...]], rows: int) -> Iterator[list[int]]:
    """Positions that share a request: equal label sets (the model encodes each label once), similar text length."""
    by_labels: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index in sorted(range(len(texts)), key=lambda i: len(texts[i])):
        by_labels[label_sets[index]].append(index)
    for members in by_labels.values():
        for start in range(0, len(members), rows):
            yield members[start : start + rows]


def _request(
    texts: Sequence[str], label_sets: Sequence[tuple[str, ...]], group: list[int], template: str
) -> dict[str, list]:
    return {
        "TEXT": [[texts[index]] for index in group],
        "LABELS": [list(label_sets[index]) for index in group],
        "TEMPLATE": [[template]] * len(group),
    }


def _ranked(labels: tuple[str, ...], scores: np.ndarray, probabilities: np.ndarray) -> Classification:
    order = np.argsort(-scores, kind="stable")
    return Classification(tuple(labels[i] for i in order), scores[order], probabilities[order])
