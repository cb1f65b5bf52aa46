"""What a served form of the sentence model is worth: its speed, what it holds, and what it does to the task.

The task is the workshop's own: films with their genres. Vectors that are nearly right may still have other neighbours,
so besides the cosine three uses are judged: the ten nearest films, how far those share genres, and zero-shot genres.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from workshop.data.movies import Movie
from workshop.export.gates import row_cosines
from workshop.export.neighbours import nearest, neighbour_overlap
from workshop.text.embedder import TextEmbedder
from workshop.text.signatures import HYPOTHESIS_TEMPLATE
from workshop.triton.artefact import SIDECAR_FILE, version_folder
from workshop.triton.client import TritonClient

LATENCY_CALLS = 20
BATCH = 32
"""Texts a request where batches are measured."""
THREADS = 3
"""That ask at once: one more than a model has instances, so that none waits for the next request."""


@dataclass(frozen=True)
class Speed:
    """How fast a served model is.

    Attributes:
        single: texts a second, one text a request.
        batched: texts a second, ``BATCH`` texts a request.
        p50_ms: median time of one text, asked alone.
    """

    single: float
    batched: float
    p50_ms: float


@dataclass(frozen=True)
class Effect:
    """What another form does to the vectors and to what they are used for.

    Attributes:
        least_cosine: lowest cosine of a text's vector to the reference.
        overlap: share of the ten nearest films that stay the same.
        genre_overlap: mean Jaccard index of the genres of a film and of its ten nearest.
        zero_shot_auc: area under the ROC curve of the genres found by their names, mean over the genres.
    """

    least_cosine: float
    overlap: float
    genre_overlap: float
    zero_shot_auc: float


class Task:
    """Films to judge vectors by.

    Args:
        movies: with overview and genres.
        least_films: genres on fewer films are left out of the zero-shot judgement.
    """

    def __init__(self, movies: Sequence[Movie], least_films: int = 10) -> None:
        self.texts = [movie.overview for movie in movies]
        self.genres = [frozenset(movie.genres) for movie in movies]
        counts = pd.Series([genre for genres in self.genres for genre in genres]).value_counts()
        self.labels = sorted(counts[counts >= least_films].index)
        self.hypotheses = [HYPOTHESIS_TEMPLATE.replace("{}", label) for label in self.labels]
        self.truth = np.array([[label in genres for label in self.labels] for genres in self.genres])

    def effect(self, vectors: np.ndarray, hypotheses: np.ndarray, reference: np.ndarray) -> Effect:
        """Judge a form.

        Args:
            vectors: the form's, float32 ``[films, width]``, of ``texts``.
            hypotheses: the form's, float32 ``[labels, width]``, of ``hypotheses``.
            reference: the float32 model's, of ``texts``.
        """
        scores = vectors @ hypotheses.T
        return Effect(
            least_cosine=float(row_cosines(reference, vectors).min()),
            overlap=neighbour_overlap(reference, vectors),
            genre_overlap=self._genre_overlap(nearest(vectors)),
            zero_shot_auc=float(np.mean([roc_auc_score(t, s) for t, s in zip(self.truth.T, scores.T, strict=True)])),
        )

    def _genre_overlap(self, neighbours: np.ndarray) -> float:
        pairs = [(self.genres[film], self.genres[other]) for film, others in enumerate(neighbours) for other in others]
        return float(np.mean([len(one & other) / len(one | other) if one | other else 0.0 for one, other in pairs]))


def measure_speed(client: TritonClient, embed: TextEmbedder, texts: Sequence[str], seconds: float) -> Speed:
    """Ask a served form again and again: alone, then from several threads, with one text and with ``BATCH`` a request.

    Texts are tokenised before; a request holds texts of like length, as ``TextEmbedder`` sends them.

    Args:
        client: of the server.
        embed: of the form.
        texts: what is asked, at least ``BATCH``.
        seconds: how long each of the two throughputs is measured.
    """
    requests = {rows: _requests(client, embed, texts, rows) for rows in (1, BATCH)}
    for request in requests[1][:3] + requests[BATCH][:3]:
        client.infer(embed.model, request)
    times = []
    for request in (requests[1] * LATENCY_CALLS)[:LATENCY_CALLS]:
        started = time.perf_counter()
        client.infer(embed.model, request)
        times.append(time.perf_counter() - started)
    single, batched = (_rate(client, embed.model, requests[rows], rows, seconds) for rows in (1, BATCH))
    return Speed(single, batched, 1000 * float(np.median(times)))


def _requests(client: TritonClient, embed: TextEmbedder, texts: Sequence[str], rows: int) -> list[dict]:
    ids, mask = (spec.name for spec in client.signature(embed.model).inputs)
    by_length = sorted(embed.tokenizer.encode(texts), key=len)
    whole = range(0, len(by_length) - rows + 1, rows)
    padded = [embed.tokenizer.pad(by_length[start : start + rows]) for start in whole]
    # short and long ones in turn, so that any stretch of them is like any other
    order = np.random.default_rng(0).permutation(len(padded))
    return [{ids: padded[place][0], mask: padded[place][1]} for place in order]


def _rate(client: TritonClient, model: str, requests: Sequence[dict], rows: int, seconds: float) -> float:
    started = time.perf_counter()

    def ask(first: int) -> int:
        """Send requests one after the other until the time is up, and at least one; returns how many."""
        done = 0
        while not done or time.perf_counter() - started < seconds:
            client.infer(model, requests[(first + done * THREADS) % len(requests)])
            done += 1
        return done

    with ThreadPoolExecutor(THREADS) as pool:
        count = sum(pool.map(ask, range(THREADS)))
    return rows * count / (time.perf_counter() - started)


def file_megabytes(repository: Path, model: str, version: int = 1) -> float:
    """Size of a model's own files in MB of 10**6 bytes: not of its tokenizer and sidecar."""
    folder = version_folder(repository, model, version)
    return sum(file.stat().st_size for file in folder.glob("model.*") if file.name != SIDECAR_FILE) / 1e6


def recommend_form(table: pd.DataFrame, *, least_overlap: float, least_share: float) -> str:
    """The fastest form that leaves the task alone.

    Args:
        table: a row a form; columns ``batched``, ``overlap``, ``genre_overlap`` and ``zero_shot_auc``; the first row
            is the one that the others are held against.
        least_overlap: share of the ten nearest films that must stay the same.
        least_share: of the first row's genre overlap and AUC, which must be kept.

    Returns:
        Its name in the index.
    """
    kept = table[["genre_overlap", "zero_shot_auc"]] >= least_share * table.iloc[0][["genre_overlap", "zero_shot_auc"]]
    allowed = table[(table["overlap"] >= least_overlap) & kept.all(axis=1)]
    return str(allowed["batched"].idxmax())


def frontier(table: pd.DataFrame) -> list[str]:
    """Names of the forms that no other beats in both: texts a second in batches, and neighbours kept; fastest first."""
    best, names = -np.inf, []
    for name, row in table.sort_values(["batched", "overlap"], ascending=False).iterrows():
        if row["overlap"] > best:
            best = row["overlap"]
            names.append(str(name))
    return names
