"""Held-out co-purchases: the cut hides what it asks for, and scores are those worked out by hand."""

import numpy as np
import pytest
import scipy.sparse as sp

from workshop.errors import DataInvalidError
from workshop.evaluate.links import (
    HeldOutLinks,
    by_links,
    by_popularity,
    by_terms,
    by_vectors,
    catalogue_coverage,
    evaluate_links,
    evaluate_mixtures,
    hold_out_links,
)
from workshop.recommend.products import ProductWeights

PRODUCTS = 200


@pytest.fixture(scope="module")
def edges():
    drawn = np.random.default_rng(0).integers(0, PRODUCTS, (2, 1_500))
    return np.concatenate([drawn, drawn[::-1]], axis=1)


@pytest.fixture(scope="module")
def held_out(edges):
    return hold_out_links(edges, PRODUCTS, share=0.2, seed=1)


def known_graph():
    """0 is linked to 1 and 2; 1 to 0, 3; 2 to 0, 3, 4; whoever is asked about 0 should find 3, then 4."""
    known = np.zeros((6, 6))
    for low, high in ((0, 1), (0, 2), (1, 3), (2, 3), (2, 4)):
        known[low, high] = known[high, low] = 1
    return sp.csr_matrix(known)


def test_the_cut_loses_no_link_and_shows_none_that_it_asks_for(edges, held_out):
    distinct = {tuple(sorted(edge)) for edge in edges.T.tolist() if edge[0] != edge[1]}
    known = {tuple(sorted(edge)) for edge in held_out.edge_index.T.tolist()}
    rows, partners = held_out.wanted.nonzero()
    wanted = {tuple(sorted(pair)) for pair in zip(held_out.asked[rows].tolist(), partners.tolist(), strict=True)}
    assert not known & wanted
    assert known | wanted <= distinct
    assert len(distinct) - len(known) == pytest.approx(0.2 * len(distinct), rel=0.25)
    assert held_out.edge_index.shape[1] == 2 * len(known)
    assert (np.diff(held_out.known.indptr)[held_out.asked] > 0).all()
    assert (np.diff(held_out.wanted.indptr) > 0).all()


def test_the_same_seed_gives_the_same_cut(edges, held_out):
    again, other = (hold_out_links(edges, PRODUCTS, share=0.2, seed=seed) for seed in (1, 2))
    assert np.array_equal(again.asked, held_out.asked)
    assert (again.known != held_out.known).nnz == 0
    assert (other.known != held_out.known).nnz > 0


def test_halves_share_no_product_and_the_known_links(held_out):
    first, second = held_out.halves()
    assert np.array_equal(np.concatenate([first.asked, second.asked]), held_out.asked)
    assert not set(first.asked) & set(second.asked)
    assert (sp.vstack([first.wanted, second.wanted]) != held_out.wanted).nnz == 0


def test_shared_neighbours_count_less_the_more_links_they_have():
    score = by_links(known_graph())(np.array([0, 5]))
    expected = np.array([0, 0, 0, 1 / 2 + 1 / 3, 1 / 3, 0])
    assert score[0] == pytest.approx(expected / expected.max())
    assert (score[1] == 0).all(), "a product without links"


def test_popularity_and_vectors():
    assert by_popularity(known_graph())(np.array([5])).tolist() == [[2, 2, 3, 2, 1, 0]]
    vectors = np.array([[1.0, 0], [0, 2], [3, 3], [1, 0], [0, 0], [-1, 0]])
    cosine = by_vectors(vectors)(np.array([0]))
    assert cosine[0] == pytest.approx([1, 0, np.sqrt(0.5), 1, 0, -1])


def test_who_knows_the_answer_finds_it_and_known_links_are_no_answer(held_out):
    position = {product: row for row, product in enumerate(held_out.asked)}
    wanted = held_out.wanted.toarray()

    def oracle(asked):
        return wanted[[position[product] for product in asked]] + 9 * held_out.known[asked].toarray()

    quality = evaluate_links(oracle, held_out, k=20)
    assert quality.num_cases == len(held_out.asked)
    assert quality.recall == 1
    assert quality.ndcg == pytest.approx(1)


def test_recall_by_hand():
    known = known_graph()
    wanted = sp.csr_matrix(np.array([[0, 0, 0, 1.0, 0, 1.0]]))
    held_out = HeldOutLinks(known, np.array([0]), wanted)
    assert evaluate_links(by_links(known), held_out, k=1).recall == 0.5
    assert evaluate_links(by_links(known), held_out, k=3).recall == 1
    with pytest.raises(DataInvalidError, match=r"k: expected 1 to 3, .* received 4"):
        evaluate_links(by_links(known), held_out, k=4)


def test_mixtures_are_those_of_the_query(held_out):
    vectors = np.random.default_rng(2).normal(size=(PRODUCTS, 4))
    links, near = by_links(held_out.known), by_vectors(vectors)
    mixtures = evaluate_mixtures(links, near, (0, 0.3, 1), held_out, k=5)
    for weight, scorer in {0: near, 0.3: lambda asked: 0.15 * links(asked) + 0.7 * near(asked), 1: links}.items():
        assert np.array_equal(mixtures[weight].recalls, evaluate_links(scorer, held_out, k=5).recalls)


def test_a_graph_of_which_nothing_can_be_held_out_is_refused():
    with pytest.raises(DataInvalidError, match="none of 4 products has a link that is held out and another"):
        hold_out_links(np.array([[0], [1]]), 4)


def test_all_terms_of_the_query_add_up():
    """0 is linked to 1 and 2, which are of categories 1 and 0; 3 has most links among the products left."""
    known, category = known_graph(), np.array([0, 1, 0, 1, 0, 1])
    asked, zeros = np.array([0]), by_vectors(np.zeros((6, 2)))
    weights = ProductWeights(popularity=0.5, category_share=0.25)
    scores = by_terms(by_links(known), zeros, known, category, weights)(asked)[0]
    links = by_links(known)(asked)[0] / 4
    degree = np.array([2, 2, 3, 2, 1, 0])
    expected = links + 0.5 * np.log1p(degree) / np.log1p(3) + 0.25 * np.full(6, 0.5)
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    nothing = by_terms(by_links(known), zeros, known, category, ProductWeights(0, 0))(asked)[0]
    np.testing.assert_allclose(nothing, links, rtol=1e-6)


def test_coverage_counts_each_product_once_that_is_recommended_with_any():
    """By popularity 0 gets 3 and then 4, and 5, which has no links, gets 2."""
    held_out = HeldOutLinks(known_graph(), np.array([0, 5, 5]), sp.csr_matrix((3, 6)))
    scorer = by_popularity(held_out.known)
    assert catalogue_coverage(scorer, held_out, k=1) == pytest.approx(2 / 6)
    assert catalogue_coverage(scorer, HeldOutLinks(held_out.known, np.array([0]), sp.csr_matrix((1, 6))), k=2) == 2 / 6
    with pytest.raises(DataInvalidError, match="k: expected 1 to 3"):
        catalogue_coverage(scorer, held_out, k=4)
