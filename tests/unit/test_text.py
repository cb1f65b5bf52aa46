"""Tokenising, padding, and grouping by length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workshop.text.embedder import batches_by_length
from workshop.text.sources import minilm_source
from workshop.text.tokenization import LENGTH_MULTIPLE, MAX_TOKENS, encode, load_tokenizer, pad, tokenize


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(str(minilm_source().tokenizer_file))


def test_a_text_has_its_known_ids(tokenizer):
    assert encode(tokenizer, ["hello world"]) == [[101, 7592, 2088, 102]]


def test_an_empty_text_is_its_two_marker_tokens(tokenizer):
    assert encode(tokenizer, [""]) == [[101, 102]]


def test_a_long_text_is_cut(tokenizer):
    assert len(encode(tokenizer, ["word " * 10_000])[0]) == MAX_TOKENS


def test_a_text_that_is_not_valid_unicode_is_tokenised_all_the_same(tokenizer):
    ids, mask = tokenize(tokenizer, ["half a pair \ud83d of surrogates"])
    assert ids.shape == mask.shape
    assert mask.sum() > 6


@given(st.lists(st.lists(st.integers(1, 30_000), min_size=1, max_size=40), min_size=1), st.sampled_from([1, 8, 16]))
def test_padding_keeps_every_token_and_marks_nothing_else(token_ids, multiple):
    ids, mask = pad(token_ids, multiple)
    assert ids.dtype == mask.dtype == np.int64
    assert ids.shape[1] % multiple == 0
    assert ids.shape[1] - max(map(len, token_ids)) < multiple
    assert [row[seen.astype(bool)].tolist() for row, seen in zip(ids, mask, strict=True)] == token_ids
    assert not ids[mask == 0].any()


@given(
    st.lists(st.integers(0, 256)),
    st.integers(1, 128),
    st.integers(1, 4096),
)
def test_groups_hold_every_position_once_and_respect_both_limits(lengths, rows, tokens):
    groups = list(batches_by_length(lengths, rows, tokens))
    assert sorted(int(i) for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        longest = max(lengths[i] for i in group)
        padded = max(1, -(-longest // LENGTH_MULTIPLE)) * LENGTH_MULTIPLE
        assert len(group) <= rows
        assert len(group) == 1 or len(group) * padded <= tokens
