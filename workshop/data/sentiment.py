"""Reviews with a human rating: the 10,605 movie-review snippets of VADER's authors, or a CSV of one's own.

Hutto and Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM 2014,
had the sentences of Pang and Lee's movie-review data rated by 15 people each, from -4 (extremely negative) to 4. The
source package is downloaded and read, never built or installed.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from workshop.data.fetch import locate
from workshop.data.tables import read_table, table_name
from workshop.errors import DataCorruptError, DataInvalidError
from workshop.settings import DataSize, Settings

RATING_LIMIT = 4.0
TINY_SNIPPETS = 600

_OUTER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
_INNER = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
# two or more capitalised words in a row, small words in between allowed: titles of films and names of people
_NAME = re.compile(r"[A-Z][\w']*(?:\s+(?:(?:of|the|and|de|to|in|a)\s+)*[A-Z][\w']*)+")


@dataclass(frozen=True)
class Reviews:
    """Rated texts.

    Attributes:
        texts: the reviews.
        ratings: float64 ``[reviews]``; above 0 is praise, below 0 is blame.
        groups: int64 ``[reviews]``; reviews of one group belong to one film as far as can be told.
    """

    texts: list[str]
    ratings: np.ndarray
    groups: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def labels(self) -> np.ndarray:
        """bool ``[reviews]``: whether people found the review positive; look at :attr:`decided` too."""
        return self.ratings > 0

    @property
    def decided(self) -> np.ndarray:
        """bool ``[reviews]``: whether the rating has a sign; a mean of exactly 0 is neither praise nor blame."""
        return self.ratings != 0

    def take(self, rows: np.ndarray) -> Reviews:
        """The reviews at ``rows`` (indices or a boolean mask), in that order."""
        index = np.arange(len(self))[rows]
        return Reviews([self.texts[row] for row in index], self.ratings[index], self.groups[index])


def load_movie_snippets(settings: Settings, size: DataSize | None = None) -> Reviews:
    """The rated snippets, from the file that ``make setup`` downloads.

    Args:
        settings: say where downloads are, and the size unless it is given.
        size: ``tiny`` takes every 17th snippet; ``default`` and ``full`` all 10,605.

    Raises:
        DataMissingError: the file was not downloaded yet.
        DataCorruptError: the file is not the expected one.
    """
    path = locate("sentiment", settings.data_dir)
    try:
        with tarfile.open(path) as outer, tarfile.open(fileobj=_member(outer, _OUTER)) as inner:
            lines = io.TextIOWrapper(_member(inner, _INNER), encoding="utf-8", newline="\r\n").read().splitlines()
        rows = [line.split("\t") for line in lines]
        ratings, texts = np.array([float(rating) for _, rating, _ in rows]), [text for _, _, text in rows]
    except (tarfile.TarError, KeyError, ValueError) as error:
        raise DataCorruptError(
            f"{path}: cannot read {_INNER}: {error}", hint=f"delete {path}, then: make setup"
        ) from error
    reviews = Reviews(texts, ratings, group_by_names(texts))
    if (size or settings.data_size) != "tiny":
        return reviews
    return reviews.take(np.linspace(0, len(reviews) - 1, TINY_SNIPPETS).astype(np.int64))


def read_reviews(
    source: Path | str | IO[bytes], *, rename: dict[str, str] | None = None, encoding: str = "utf-8"
) -> Reviews:
    """Read rated reviews from a CSV file with the columns ``text``, ``rating`` and, if there, ``film``.

    Args:
        source: path of the file, or an open binary file.
        rename: other names of these columns, ``{"name in the file": "name above"}``. Ratings must be such that praise
            is above 0: subtract the middle from stars.
        encoding: of the text.

    Raises:
        DataMissingError: there is no such file.
        DataInvalidError: a column is missing, the table is empty or no CSV, a rating is not a finite number, or the
            text is not in ``encoding``; the message says where.
    """
    name = table_name(source, "reviews")
    table = read_table(source, name, encoding).rename(columns=rename or {})
    missing = [column for column in ("text", "rating") if column not in table.columns]
    if missing:
        raise DataInvalidError(
            f"{name}: column {' and '.join(missing)} missing; found {', '.join(map(str, table.columns))}",
            hint='rename={"your column": "text"}',
        )
    if table.empty:
        raise DataInvalidError(f"{name}: no reviews below the header")
    ratings = np.array([_number(value) for value in table["rating"]])
    wrong = np.flatnonzero(~np.isfinite(ratings))
    if len(wrong):
        raise DataInvalidError(
            f"{name}: rating {table['rating'].iloc[wrong[0]]!r} of review {wrong[0] + 1} is not a finite number"
        )
    texts = table["text"].tolist()
    if "film" not in table.columns:
        return Reviews(texts, ratings, group_by_names(texts))
    films = table["film"].tolist()
    return Reviews(texts, ratings, _groups(len(texts), [_positions(films), _positions(map(_words, texts))]))


def split_reviews(reviews: Reviews, *, held_out: float = 0.2, seed: int = 0) -> tuple[Reviews, Reviews]:
    """Split into training and held-out reviews; a group is never on both sides, whole groups are drawn by the seed.

    Args:
        reviews: all reviews.
        held_out: share to hold out, between 0 and 1.
        seed: of the draw.

    Raises:
        DataInvalidError: ``held_out`` is not between 0 and 1, or there are fewer than two groups.
    """
    if not 0 < held_out < 1:
        raise DataInvalidError(f"held_out: expected a share between 0 and 1, received {held_out}")
    order = np.random.default_rng(seed).permutation(np.unique(reviews.groups))
    if len(order) < 2:
        raise DataInvalidError(f"{len(reviews)} reviews of {len(order)} group: nothing to split")
    counts = np.bincount(reviews.groups, minlength=reviews.groups.max() + 1)[order]
    cut = int(np.searchsorted(np.cumsum(counts), held_out * len(reviews), side="left")) + 1
    test = np.isin(reviews.groups, order[: min(cut, len(order) - 1)])
    return reviews.take(~test), reviews.take(test)


def group_by_names(texts: Sequence[str]) -> np.ndarray:
    """Group texts that share a name of two or more capitalised words (a film, a person) or all their words.

    The snippets do not say which film they are about; this tells it where they name it in the same words (a name that
    follows another capitalised word, as at the start of a sentence, is taken for a longer one). Chains count: a text
    that names two films joins their groups.

    Returns:
        int64 ``[texts]``, group numbers from 0.
    """
    by_name: dict[str, list[int]] = defaultdict(list)
    for position, text in enumerate(texts):
        for name in {match.group().casefold() for match in _NAME.finditer(text)}:
            by_name[name].append(position)
    return _groups(len(texts), [by_name, _positions(map(_words, texts))])


def _groups(count: int, links: Iterable[dict[str, list[int]]]) -> np.ndarray:
    """Connected components of positions that share a key."""
    parent = np.arange(count)

    def root(position: int) -> int:
        while parent[position] != position:
            parent[position] = parent[parent[position]]
            position = parent[position]
        return position

    for by_key in links:
        for positions in by_key.values():
            for other in positions[1:]:
                parent[root(other)] = root(positions[0])
    return np.unique([root(position) for position in range(count)], return_inverse=True)[1].astype(np.int64)


def _positions(keys: Iterable[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for position, key in enumerate(keys):
        if key:  # an empty field links nothing
            found[key].append(position)
    return found


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return float("nan")


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    file = archive.extractfile(name)
    if file is None:
        raise KeyError(f"{name} is not a file")
    return file
