"""The rated snippets, own reviews from CSV, and a split that no film crosses."""

import io
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workshop.data.fetch import artefact_path
from workshop.data.sentiment import (
    Reviews,
    group_by_names,
    load_movie_snippets,
    read_reviews,
    split_reviews,
)
from workshop.errors import DataCorruptError, DataInvalidError, DataMissingError
from workshop.settings import load_settings


@pytest.fixture(scope="module")
def snippets():
    return load_movie_snippets(load_settings(), "default")


def test_all_snippets_are_read_with_their_ratings(snippets):
    assert len(snippets) == 10_605
    assert snippets.texts[2] == "Effective but too tepid biopic"
    assert snippets.ratings[2] == -0.6
    assert np.abs(snippets.ratings).max() <= 4
    assert (snippets.labels.sum(), (~snippets.decided).sum()) == (5242, 37)


def test_the_tiny_size_is_balanced_and_part_of_all(snippets):
    tiny = load_movie_snippets(load_settings(), "tiny")
    assert len(tiny) == 600
    assert set(tiny.texts) <= set(snippets.texts)
    assert 0.4 < tiny.labels.mean() < 0.6


def test_no_group_and_no_named_film_is_on_both_sides_of_the_split(snippets):
    train, test = split_reviews(snippets, held_out=0.2, seed=0)
    assert len(train) + len(test) == len(snippets)
    assert 0.2 <= len(test) / len(snippets) < 0.21
    assert not set(train.groups) & set(test.groups)
    for film in ("Reign of Fire is", "Stealing Harvard is", "Kung Pow is"):
        sides = [sum(film in text for text in part.texts) for part in (train, test)]
        assert min(sides) == 0 < max(sides), film
    again, other = split_reviews(snippets, seed=0)[1], split_reviews(snippets, seed=1)[1]
    assert again.texts == test.texts != other.texts


def test_missing_and_altered_downloads_are_told_apart(tmp_path):
    settings = load_settings(data_dir=tmp_path)
    with pytest.raises(DataMissingError, match="make setup"):
        load_movie_snippets(settings)
    path = artefact_path("sentiment", tmp_path)
    path.parent.mkdir(parents=True)
    shutil.copy(artefact_path("sentiment", load_settings().data_dir), path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataCorruptError, match="SHA-256"):
        load_movie_snippets(settings)


def test_names_and_equal_words_link_texts_and_single_names_do_not():
    texts = [
        "Lord of the Rings is long.",
        "I left during Lord Of The Rings!",
        "Rings are round",
        "rings ARE round.",
        "Woody Allen and the Lord of the Rings",
        "A film by Woody Allen",
        "",
        "",
    ]
    groups = group_by_names(texts)
    assert groups[0] == groups[1]
    assert groups[2] == groups[3] != groups[0]
    assert groups[6] != groups[7], "empty texts have nothing in common"


@given(
    st.lists(st.integers(0, 8), min_size=2, max_size=60).filter(lambda groups: len(set(groups)) > 1),
    st.floats(0.05, 0.95),
    st.integers(0, 5),
)
def test_every_split_keeps_all_reviews_and_cuts_between_groups(groups, held_out, seed):
    reviews = Reviews([f"text {n}" for n in range(len(groups))], np.ones(len(groups)), np.array(groups))
    train, test = split_reviews(reviews, held_out=held_out, seed=seed)
    assert sorted(train.texts + test.texts) == sorted(reviews.texts)
    assert len(train)
    assert len(test)
    assert not set(train.groups) & set(test.groups)


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(DataInvalidError, match="between 0 and 1"):
        split_reviews(Reviews(["a", "b"], np.ones(2), np.arange(2)), held_out=share)


def test_one_film_cannot_be_split():
    with pytest.raises(DataInvalidError, match="nothing to split"):
        split_reviews(Reviews(["a", "b"], np.ones(2), np.zeros(2, dtype=np.int64)))


# --- own reviews ------------------------------------------------------------------------------------------------
def own(text, **options):
    return read_reviews(io.BytesIO(text.encode()), **options)


def test_own_reviews_are_grouped_by_film_when_they_name_it():
    reviews = own(
        "stars,review,film\n2,fine,A\n-1,dull,B\n0.5,nice,A\n1,lone,\n1,alone,\n",
        rename={"stars": "rating", "review": "text"},
    )
    assert reviews.texts == ["fine", "dull", "nice", "lone", "alone"]
    assert reviews.labels.tolist() == [True, False, True, True, True]
    assert reviews.groups[0] == reviews.groups[2]
    assert len(set(reviews.groups)) == 4, "a review without a film belongs to no other"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text\nfine\n", "column rating missing; found text"),
        ("text,rating\n", "no reviews below the header"),
        ("text,rating\nfine,1\ndull,bad\n", "rating 'bad' of review 2"),
        ("text,rating\nfine,nan\n", "rating 'nan' of review 1"),
        ("text,rating\nfine,\n", "rating '' of review 1"),
        ("", "not a CSV table"),
        ('text,rating\n"a,1\n', "not a CSV table"),
    ],
)
def test_broken_tables_are_refused_with_the_place(text, message):
    with pytest.raises(DataInvalidError, match=message):
        own(text)


def test_other_encodings_and_missing_files_are_named(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_bytes("text,rating\nschön,1\n".encode("latin-1"))
    with pytest.raises(DataInvalidError, match=r"reviews\.csv is not utf-8 text: byte 0xf6"):
        read_reviews(path)
    assert read_reviews(path, encoding="latin-1").texts == ["schön"]
    with pytest.raises(DataMissingError, match="no file at"):
        read_reviews(tmp_path / "none.csv")
