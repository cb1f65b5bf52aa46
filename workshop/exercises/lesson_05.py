"""Checks of `05_classify_text_zero_shot`. Arrays are ``[films, genres]``; ``truth`` is boolean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from workshop.exercises.answers import RefusedError, array, call, number, parts, shown
from workshop.exercises.checking import Exercise
from workshop.exercises.verdict import Findings, right, wrong

FIRST = 3


def most_named(answer: object, *, scores: np.ndarray, truth: np.ndarray, genres: Sequence[str]) -> Findings:
    """``(genre, precision)`` of the genre that is the first guess of the most films."""
    name, share = parts(answer, ("genre", "share"))
    if name not in genres:
        raise RefusedError(f"{shown(name)} is none of the {len(genres)} genres")
    best, genre = scores.argmax(axis=1), list(genres).index(name)
    times = np.bincount(best, minlength=len(genres))
    if times[genre] == times.max():
        yield right(f"no label comes first for more than its {times.max()} films")
    else:
        yield wrong(f"films for which `{name}` comes first: {times[genre]}, and another label has more")
    value, films = number(share, "the share"), best == genre
    precision = truth[films, genre].mean() if films.any() else 0.0
    if not 0 <= value <= 1:
        yield wrong(f"a share is between 0 and 1, and this is {value:.3g}")
    elif abs(value - precision) <= 0.005:
        yield right(f"of the films it is named for, {value:.1%} carry it")
    elif abs(value - films.mean()) <= 0.005:
        yield wrong("this is how often it is named, right or wrong")
    elif abs(value - films[truth[:, genre]].mean()) <= 0.005:
        yield wrong("this is how many films of the genre are found; the question starts from those it is named for")
    else:
        yield wrong(f"{value:.3f} is not the share of the films it is named for that carry it")


def with_frequencies(answer: object, *, scores: np.ndarray, truth: np.ndarray) -> Findings:
    """``scores`` with one number added to each column, so that the hit rate at ``FIRST`` passes both rivals."""
    adjusted = array(answer, "the scores", scores.shape).astype(np.float64)
    if not np.isfinite(adjusted).all():
        raise RefusedError("some of the scores are not finite: the logarithm of 0?")
    added = adjusted - scores
    if np.allclose(added, added.mean(axis=0), atol=1e-5):
        yield right("each column was moved as a whole, so the films keep their order in it")
    else:
        yield wrong("the films of one column were moved by different amounts, so their order changes")
    per_genre, share = added.mean(axis=0), truth.mean(axis=0)
    if (per_genre - per_genre.mean()) @ (share - share.mean()) < -1e-9:
        yield wrong("what you add is smaller for common genres than for rare ones")
    dull = np.tile(np.argsort(-truth.sum(axis=0)), (len(truth), 1))
    hit = _hit_rate(np.argsort(-adjusted, axis=1), truth)
    for name, rival in (("the text alone", np.argsort(-scores, axis=1)), ("the most frequent genres", dull)):
        theirs = _hit_rate(rival, truth)
        if hit > theirs:
            yield right(f"its hit rate at {FIRST} is {hit:.3f}, above {name} with {theirs:.3f}")
        else:
            yield wrong(f"its hit rate at {FIRST} is {hit:.3f}, not above {name} with {theirs:.3f}")


def fair_hit_rate(answer: object, *, rankings: Mapping[str, np.ndarray], truth: np.ndarray) -> Findings:
    """A function ``(ranking, truth, k)``: recall at k for each genre, and the mean over genres."""
    small = np.array([[0, 1, 2], [1, 0, 2], [0, 2, 1], [0, 1, 2]])
    carried = np.array([[True, False, False], [True, True, False], [True, False, True], [False, False, True]])
    value = number(call(answer, small.copy(), carried.copy(), 1), "the rate of four films")
    wanted = _macro_recall(small, carried, 1)
    if abs(value - wanted) < 1e-6:
        yield right("on four films that can be counted by hand it is right")
    else:
        yield wrong(
            "of four films, three carry genre 0, one carries 1 and two carry 2; named first are 0, 1, 0, 0. Count each "
            f"genre's share by hand: the mean is not your {value:.3f}"
        )
        return
    for name, ranking in rankings.items():
        for k in (1, FIRST):
            value = number(call(answer, ranking.copy(), truth.copy(), k), "the rate")
            if abs(value - _macro_recall(ranking, truth, k)) > 1e-6:
                yield wrong(f"on the notebook's films it is not right for `{name}` at {k}")
                return
            if k == FIRST:
                yield right(f"{name}: {value:.3f} at {k}, where the old hit rate says {_hit_rate(ranking, truth):.3f}")


def _hit_rate(ranking: np.ndarray, truth: np.ndarray) -> float:
    return float(np.take_along_axis(truth, ranking[:, :FIRST], axis=1).any(axis=1).mean())


def _macro_recall(ranking: np.ndarray, truth: np.ndarray, k: int) -> float:
    places = np.argsort(ranking, axis=1)  # of each genre, in each film's ranking
    found = (places < k) & truth
    return float((found.sum(axis=0) / truth.sum(axis=0)).mean())


EXERCISES = {
    "1": Exercise('Fill in `most_named` in the cell above, such as ("Comedy", 0.25).', most_named),
    "2": Exercise("Set `adjusted` in the cell above, starting from `scores`.", with_frequencies),
    "3": Exercise("Give `fair_hit_rate` a body that returns a number.", fair_hit_rate),
}
