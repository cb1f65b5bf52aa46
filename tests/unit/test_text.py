"""Tokenising, padding, and grouping by length."""

from copy import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workshop.text.embedder import batches_by_length
from workshop.text.signatures import MINILM
from workshop.text.sources import minilm_source
from workshop.text.tokenization import LENGTH_MULTIPLE


@pytest.fixture(scope="module")
def tokenizer():
    return minilm_source().tokenizer()


def test_a_text_has_its_known_ids(tokenizer):
    assert tokenizer.encode(["hello world"]) == [[101, 7592, 2088, 102]]


def test_an_empty_text_is_its_two_marker_tokens(tokenizer):
    assert tokenizer.encode([""]) == [[101, 102]]


def test_a_long_text_is_cut(tokenizer):
    assert len(tokenizer.encode(["word " * 10_000])[0]) == MINILM.max_tokens == 256


def test_a_text_that_is_not_valid_unicode_is_tokenised_all_the_same(tokenizer):
    ids, mask = tokenizer(["half a pair \ud83d of surrogates"])
    assert ids.shape == mask.shape
    assert mask.sum() > 6


def test_what_the_committed_configurations_say_is_true_of_the_installed_model():
    assert minilm_source().encoding == MINILM


@given(st.lists(st.lists(st.integers(1, 30_000), min_size=1, max_size=40), min_size=1), st.integers(40, 64))
def test_padding_keeps_every_token_marks_nothing_else_and_stays_within_the_longest_input(tokenizer, token_ids, longest):
    other = copy(tokenizer)
    other.max_tokens, other.pad_token_id = longest, 7
    ids, mask = other.pad(token_ids)
    assert ids.dtype == mask.dtype == np.int64
    assert ids.shape[1] % LENGTH_MULTIPLE == 0 or ids.shape[1] == longest
    assert ids.shape[1] - max(map(len, token_ids)) < LENGTH_MULTIPLE
    assert [row[seen.astype(bool)].tolist() for row, seen in zip(ids, mask, strict=True)] == token_ids
    assert (ids[mask == 0] == 7).all()


@given(
    st.lists(st.integers(0, 256)),
    st.integers(1, 128),
    st.integers(1, 4096),
)
def test_groups_hold_every_position_once_and_respect_both_limits(lengths, rows, tokens):
    def padded(longest):
        return max(1, -(-longest // LENGTH_MULTIPLE)) * LENGTH_MULTIPLE

    groups = list(batches_by_length(lengths, rows, padded, tokens))
    assert sorted(int(i) for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) <= rows
        assert len(group) == 1 or len(group) * padded(max(lengths[i] for i in group)) <= tokens
