"""Ratings of films as people have them, matched to the catalogue by title and year."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from workshop.data.movies import Movie
from workshop.data.tables import read_columns, table_name
from workshop.errors import DataInvalidError

logger = logging.getLogger(__name__)

COLUMNS = ("user", "item", "rating", "time")
LEAST_USERS, LEAST_FILMS = 20, 30
"""A table that has less of either after matching judges nothing: every interval would be wider than any difference."""
EXAMPLES = 5

_YEAR = re.compile(r"\s*\((\d{4})\)\s*$")
_BRACKETS = re.compile(r"\s*\(([^)]*)\)")
_ARTICLE_LAST = re.compile(r"^(.*), (the|a|an|le|la|les|l'|il|lo|der|die|das|el|los|las|un|une)$", re.IGNORECASE)


@dataclass(frozen=True)
class Ratings:
    """Who rated which film how, and when; users and films are numbered from 0.

    Attributes:
        user: int64 ``[ratings]``.
        film: int64 ``[ratings]``.
        rating: float64 ``[ratings]``, on whatever scale the table has.
        time: float64 ``[ratings]``, seconds or any number that grows with time.
        users: each user's name in the table.
        films: each film's key in the catalogue.
        unmatched: items of the table that are no film of the catalogue, the most rated first.
        repeated: ratings left out because the same user rated the same film again later.
        synthetic: whether a model of taste made them up.
    """

    user: np.ndarray
    film: np.ndarray
    rating: np.ndarray
    time: np.ndarray
    users: tuple[str, ...]
    films: tuple[str, ...]
    unmatched: tuple[str, ...] = ()
    repeated: int = 0
    synthetic: bool = False

    def __str__(self) -> str:
        kind = "synthetic ratings, made up by a model of taste" if self.synthetic else "ratings"
        said = f"{len(self.rating):,} {kind}, of {len(self.users):,} users and {len(self.films):,} films"
        if self.unmatched:
            examples = ", ".join(map(repr, self.unmatched[:EXAMPLES]))
            said += f"; {len(self.unmatched):,} items are not in the catalogue, {examples} among them"
        return said + (f"; {self.repeated:,} repeated ratings left out" if self.repeated else "")


def read_ratings(
    source: Path | str | IO[bytes],
    movies: Sequence[Movie],
    *,
    rename: Mapping[str, str] | None = None,
    encoding: str = "utf-8",
) -> Ratings:
    """Read a CSV table of ratings and match its items to the catalogue.

    Columns are ``user``, ``item``, ``rating`` (a number) and ``time`` (a number that grows, or an ISO date). An item is
    a film's title, if possible with its year behind it, ``Heat (1995)``, or with a fifth column ``year``; or its key in
    the catalogue. Articles may stand last (``Matrix, The (1999)``), other names in brackets. A year may be one off.
    Where one user rated a film twice, the later rating counts.

    Args:
        source: path of the file, or an open binary file.
        movies: the catalogue.
        rename: other names of these columns, ``{"name in the file": "name above"}``.
        encoding: of the text.

    Raises:
        DataMissingError: there is no such file.
        DataInvalidError: a column is missing, a rating or time is none, there are no rows, or fewer than
            ``LEAST_USERS`` users or ``LEAST_FILMS`` films are left after matching; the message says where or how many.
    """
    name = table_name(source, "ratings")
    table = read_columns(
        source,
        name,
        encoding,
        required=COLUMNS,
        rename=rename,
        hint="""name yours: WORKSHOP_RATINGS_COLUMNS='{"your column": "item"}'""",
    )
    if table.empty:
        raise DataInvalidError(f"{name}: no ratings below the header", hint="one row a rating: user,item,rating,time")
    table = table.assign(rating=_ratings(table["rating"], name), time=_times(table["time"], name))
    matcher = TitleMatcher(movies)
    items = table["item"].str.strip()
    years = table["year"].str.strip() if "year" in table.columns else pd.Series("", index=table.index)
    pairs = list(zip(items, years, strict=True))
    keys = {pair: matcher.key(*pair) for pair in set(pairs)}
    table = table.assign(key=[keys[pair] for pair in pairs])
    unknown = table["key"].isna()
    unmatched = tuple(table.loc[unknown, "item"].value_counts().index)
    matched = table[~unknown].sort_values("time", kind="stable")
    once = matched.drop_duplicates(["user", "key"], keep="last")
    user, users = pd.factorize(once["user"])
    film, films = pd.factorize(once["key"])
    if len(users) < LEAST_USERS or len(films) < LEAST_FILMS:
        raise DataInvalidError(
            f"{name}: expected at least {LEAST_USERS} users and {LEAST_FILMS} films of the catalogue, found"
            f" {len(users)} and {len(films)}; {len(unmatched):,} of its items are not in the catalogue"
            + (f", such as {', '.join(map(repr, unmatched[:EXAMPLES]))}" if unmatched else ""),
            hint="items are titles, best with the year: Heat (1995); is the catalogue whole (DATA_SIZE=default)?",
        )
    ratings = Ratings(
        user=user.astype(np.int64),
        film=film.astype(np.int64),
        rating=once["rating"].to_numpy(np.float64),
        time=once["time"].to_numpy(np.float64),
        users=tuple(users),
        films=tuple(films),
        unmatched=unmatched,
        repeated=len(matched) - len(once),
    )
    if unmatched or ratings.repeated:
        logger.warning("%s: %s", name, ratings)
    return ratings


class TitleMatcher:
    """Finds the film that a title means, however its articles, accents and brackets are written."""

    def __init__(self, movies: Iterable[Movie]) -> None:
        self._by_key: dict[str, Movie] = {}
        self._by_title: dict[str, list[Movie]] = {}
        for movie in movies:
            self._by_key[movie.key] = movie
            for title in {_plain(movie.title), _plain(movie.original_title)} - {""}:
                self._by_title.setdefault(title, []).append(movie)

    def key(self, item: str, year: str = "") -> str | None:
        """The key of a film, or None when there is none of that title and year; between several, the most voted."""
        if item in self._by_key:
            return item
        title = _YEAR.sub("", item)
        if not year and (found := _YEAR.search(item)):
            year = found.group(1)
        names = [_BRACKETS.sub("", title), *(name.removeprefix("a.k.a. ") for name in _BRACKETS.findall(title))]
        films = [film for name in (item, *names) for film in self._by_title.get(_plain(name), ())]
        if year.isdecimal():
            films = [film for film in films if film.year is not None and abs(film.year - int(year)) <= 1]
        return max(films, key=lambda film: (str(film.year) == year, film.vote_count)).key if films else None


def _plain(title: str) -> str:
    """Letters and digits only, without accents, the article in front."""
    title = _ARTICLE_LAST.sub(r"\2 \1", title.strip())
    letters = unicodedata.normalize("NFKD", title.replace("&", " and ")).casefold()
    return "".join(letter for letter in letters if letter.isalnum())


def _ratings(column: pd.Series, name: str) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce").astype(np.float64)
    _refuse(~np.isfinite(numbers), column, name, "ratings are no numbers")
    return numbers


def _times(column: pd.Series, name: str) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce").astype(np.float64)
    if np.isfinite(numbers).all():
        return numbers
    dates = pd.to_datetime(column, errors="coerce", utc=True, format="ISO8601")
    _refuse(dates.isna(), column, name, "times are neither all numbers nor all ISO dates")
    return (dates - pd.Timestamp(0, tz="UTC")).dt.total_seconds()


def _refuse(bad: pd.Series, column: pd.Series, name: str, what: str) -> None:
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise DataInvalidError(
            f"{name}: {int(bad.sum()):,} {what}, the first in line {first + 2}: {column.iloc[first]!r}",
            hint="mend or drop these rows",
        )
