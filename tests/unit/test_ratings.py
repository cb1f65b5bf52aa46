"""Tables of ratings: what is read, how titles are matched, and what is refused."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest

from workshop.data.movies import Movie
from workshop.data.ratings import LEAST_FILMS, LEAST_USERS, Ratings, TitleMatcher, read_ratings
from workshop.data.synthetic_ratings import synthetic_ratings
from workshop.errors import DataInvalidError, DataMissingError, SettingsError
from workshop.evaluate.likes import LEAST_LIKES, cut_likes, load_ratings
from workshop.settings import load_settings


def movie(key: str, title: str, year: int | None = 2000, votes: int = 100, **facts) -> Movie:
    plain = Movie(
        id=key,
        title=title,
        original_title=facts.pop("original_title", title),
        overview="",
        language="en",
        release_date=str(year) if year else None,
        runtime=None,
        popularity=0.0,
        vote_average=6.0,
        vote_count=votes,
        genres=("Drama",),
        keywords=(),
    )
    return replace(plain, **facts)


MOVIES = [movie(str(number), f"Film {number}", 1960 + number) for number in range(60)]


def table(rows: int = 60, users: int = 30) -> list[str]:
    return [
        f"u{user},Film {(user + step) % rows} ({1960 + (user + step) % rows}),{1 + (user * step) % 5},{step}"
        for user in range(users)
        for step in range(8)
    ]


def read(lines: list[str], header: str = "user,item,rating,time", **options) -> Ratings:
    return read_ratings(io.BytesIO("\n".join([header, *lines]).encode()), MOVIES, **options)


# --- titles ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("item", "key"),
    [
        ("The Matrix (1999)", "m"),
        ("Matrix, The (1999)", "m"),
        ("MATRIX, the", "m"),
        ("The Matrix (2000)", "m"),  # released elsewhere a year later
        ("The Matrix (2003)", None),
        ("Matrix Reloaded (2003)", None),
        ("Seven (a.k.a. Se7en) (1995)", "s"),
        ("Amelie (2001)", "a"),
        ("Fabuleux destin d'Amélie Poulain, Le (2001)", "a"),
        ("Karate Kid (1984)", "k84"),
        ("Karate Kid (2010)", "k10"),
        ("Karate Kid", "k10"),
        ("Fast & Furious", "f"),
        ("k84", "k84"),
        ("", None),
        ("(1999)", None),
        ("?!", None),
        ("x" * 10_000 + "(((", None),
    ],
)
def test_titles(item, key):
    films = [
        movie("m", "The Matrix", 1999),
        movie("s", "Se7en", 1995),
        movie("a", "Amélie", 2001, original_title="Le fabuleux destin d'Amélie Poulain"),
        movie("k84", "Karate Kid", 1984, votes=10),
        movie("k10", "Karate Kid", 2010, votes=20),
        movie("f", "Fast and Furious", None),
    ]
    assert TitleMatcher(films).key(item) == key


def test_a_year_may_stand_in_a_column_of_its_own():
    matcher = TitleMatcher([movie("k84", "Karate Kid", 1984), movie("k10", "Karate Kid", 2010)])
    assert [matcher.key("Karate Kid", year) for year in ("1984", "2010", "1990")] == ["k84", "k10", None]


# --- tables ---------------------------------------------------------------------------------------------------
def test_a_table_is_read_and_numbered():
    ratings = read(table())
    assert len(ratings.rating) == 240
    assert (len(ratings.users), len(ratings.films)) == (30, 37)
    first = (ratings.user == ratings.users.index("u3")) & (ratings.film == ratings.films.index("5"))
    assert ratings.rating[first].tolist() == [1 + 6 % 5]
    assert ratings.time[first].tolist() == [2.0]
    assert (ratings.unmatched, ratings.repeated, ratings.synthetic) == ((), 0, False)


def test_own_column_names_keys_and_dates():
    lines = [f"{user},{(user + step) % 60},4,2020-01-0{step + 1}T10:00:00" for user in range(30) for step in range(8)]
    ratings = read(
        lines,
        "userId,movie,stars,timestamp",
        rename=dict(zip(("userId", "movie", "stars", "timestamp"), ("user", "item", "rating", "time"), strict=True)),
    )
    assert set(np.diff(np.unique(ratings.time))) == {86_400.0}


def test_unknown_items_and_repeated_ratings_are_counted_and_told(caplog):
    lines = [*table(), "u0,Film 0 (1960),5,99", "u1,Nobody Knows It,3,1", "u2,Nobody Knows It,3,1", "u2,Nor This,3,1"]
    ratings = read(lines)
    assert (ratings.unmatched, ratings.repeated) == (("Nobody Knows It", "Nor This"), 1)
    latest = (ratings.user == ratings.users.index("u0")) & (ratings.film == ratings.films.index("0"))
    assert ratings.rating[latest].tolist() == [5.0]
    assert "2 items are not in the catalogue, 'Nobody Knows It', 'Nor This' among them" in caplog.text
    assert "1 repeated ratings left out" in caplog.text


@pytest.mark.parametrize(
    ("lines", "header", "message"),
    [
        (table(), "userId,movieId,rating,timestamp", "column user and item and time missing; found userId, movieId"),
        ([], "user,item,rating,time", "no ratings below the header"),
        ([*table(), "u1,Film 1,good,3"], "user,item,rating,time", r"1 ratings are no numbers, .* line 242: 'good'"),
        ([*table(), "u1,Film 1,,3"], "user,item,rating,time", "1 ratings are no numbers"),
        ([*table(), "u1,Film 1,inf,3"], "user,item,rating,time", "1 ratings are no numbers"),
        ([*table(), "u1,Film 1,3,soon"], "user,item,rating,time", "times are neither all numbers nor all ISO dates"),
        (table(users=1), "user,item,rating,time", f"at least {LEAST_USERS} users and {LEAST_FILMS} films .* 1 and 8"),
        (
            [line.replace("Film", "Picture") for line in table()],
            "user,item,rating,time",
            "found 0 and 0; 37 of its items are not in the catalogue, such as 'Picture",
        ),
    ],
)
def test_tables_that_cannot_judge_are_refused(lines, header, message):
    with pytest.raises(DataInvalidError, match=message):
        read(lines, header)


def test_files_that_are_no_tables_are_refused(tmp_path):
    with pytest.raises(DataMissingError, match="no file at"):
        read_ratings(tmp_path / "none.csv", MOVIES)
    for content, message in ((b"", "is not a CSV table"), (b"user,item\n\xff\xfe,1", "is not utf-8 text")):
        file = tmp_path / "own.csv"
        file.write_bytes(content)
        with pytest.raises(DataInvalidError, match=message):
            read_ratings(file, MOVIES)


def test_the_setting_names_a_table_and_its_columns(tmp_path, monkeypatch):
    file = tmp_path / "own.csv"
    file.write_text("\n".join(["who,item,rating,time", *table()]))
    monkeypatch.setenv("WORKSHOP_RATINGS_CSV", str(file))
    monkeypatch.setenv("WORKSHOP_RATINGS_COLUMNS", '{"who": "user"}')
    assert not load_ratings(load_settings(), MOVIES).synthetic
    monkeypatch.setenv("WORKSHOP_RATINGS_COLUMNS", "who=user")
    with pytest.raises(SettingsError, match=r"ratings_columns: .*expected a JSON object of texts"):
        load_settings()


# --- the synthetic table, and how any table is cut ------------------------------------------------------------
def test_the_synthetic_table_says_what_it_is_and_repeats_itself():
    one, other = synthetic_ratings(MOVIES, users=30, per_user=20), synthetic_ratings(MOVIES, users=30, per_user=20)
    assert np.array_equal(one.rating, other.rating)
    assert np.array_equal(one.film, other.film)
    assert "synthetic ratings, made up by a model of taste" in str(one)
    assert set(np.unique(2 * one.rating)) <= set(range(2, 11))
    with pytest.raises(DataInvalidError, match="60 films with year and genre are too few"):
        synthetic_ratings(MOVIES, per_user=40)


def made_up(rows: list[tuple[int, int, float, float]]) -> Ratings:
    user, film, rating, time = (np.array(column) for column in zip(*rows, strict=True))
    films = tuple(str(number) for number in range(film.max() + 1))
    users = tuple(str(number) for number in range(user.max() + 1))
    return Ratings(user, film, rating.astype(float), time.astype(float), users, films)


def test_the_later_half_of_each_user_judges_and_teaches_nothing():
    # everybody likes films 0 and 1 early, and of each pair (10, 11), (12, 13), ... the later half likes both
    rows = []
    for user in range(60):
        pair = 10 + 2 * (user % 6)
        early = [(user, 0, 5.0, 1.0), (user, 1, 5.0, 2.0), (user, 2, 1.0, 3.0), (user, 3, 4.0, 3.5)]
        late = [(user, pair, 5.0, 7.0), (user, pair + 1, 4.0, 8.0), (user, 4, 1.0, 5.0), (user, 5, 1.0, 6.0)]
        rows += late + early
    likes = cut_likes(made_up(rows))
    assert set(likes.asked_keys) == {str(film) for film in range(10, 22)}
    wanted = likes.asked.wanted.toarray()
    for row, key in enumerate(likes.asked_keys):
        assert np.flatnonzero(wanted[row]).tolist() == [int(key) ^ 1]
    taught = likes.earlier.matrix().toarray().sum(axis=0)
    assert taught[:4].tolist() == [60, 60, 0, 60]
    assert taught[4:].sum() == 0


def test_a_film_that_few_like_is_not_asked_about():
    rows = [(user, film, 5.0, float(film)) for user in range(LEAST_LIKES - 1) for film in range(20)]
    with pytest.raises(DataInvalidError, match="only 0 of 20 films are liked with another by 3 users or more"):
        cut_likes(made_up(rows))
