"""The synthetic product graph has the traits it promises and is worth learning."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

from workshop.data.products_mini import SIZES, Recipe, generate, load_catalogue, split_by_sales_rank


@pytest.fixture(scope="module")
def mini():
    return generate(SIZES["default"])


def adjacency(products):
    n = len(products.y)
    return sp.csr_matrix((np.ones(products.edge_index.shape[1]), tuple(products.edge_index)), shape=(n, n))


def own_category_share(products):
    """Of every product with five links or more: the share of its neighbours in its own category."""
    source, target = products.edge_index
    degree = np.bincount(source, minlength=len(products.y))
    same = np.bincount(source, products.y[source] == products.y[target], minlength=len(products.y))
    return same[degree >= 5] / degree[degree >= 5], degree[degree >= 5]


def test_catalogue_is_consistent():
    catalogue = load_catalogue()
    assert len(catalogue.category_names) == 47
    assert catalogue.category_names[4] == "Books"
    assert catalogue.category_names[46] == "#508510"
    assert set(catalogue.topic_category) == set(range(47))
    for topic, partners in enumerate(catalogue.complements):
        assert topic not in partners
        assert len(partners) >= 1
        assert all(topic in catalogue.complements[partner] for partner in partners)


def test_edges_are_symmetric_without_loops_or_duplicates(mini):
    matrix = adjacency(mini)
    assert matrix.data.max() == 1
    assert (matrix != matrix.T).nnz == 0
    assert matrix.diagonal().sum() == 0


def test_traits_of_ogbn_products(mini):
    degree = np.bincount(mini.edge_index[0], minlength=len(mini.y))
    same_category = (mini.y[mini.edge_index[0]] == mini.y[mini.edge_index[1]]).mean()
    assert mini.x.shape == (20_000, 100)
    assert mini.x.dtype == np.float32
    assert np.isfinite(mini.x).all()
    assert set(mini.y) == set(range(47))
    assert 0.75 <= same_category <= 0.81, "a little below the 0.81 of ogbn-products"
    assert degree.max() > 20 * degree.mean(), "there are hubs"
    assert np.mean(degree) > 1.7 * np.median(degree), "the tail is heavy"
    assert np.bincount(mini.y).max() > 30 * np.bincount(mini.y).min(), "category sizes are uneven"


def test_share_of_neighbours_in_the_own_category_runs_from_none_to_all(mini):
    share, degree = own_category_share(mini)
    even, _ = own_category_share(generate(SIZES["default"], recipe=replace(Recipe(), breadth=(200.0, 1_040.0))))
    by_chance = np.sqrt((share.mean() * (1 - share.mean()) / degree).mean())
    assert share.std() > 1.7 * by_chance, "products differ more than a draw of neighbours would make them"
    assert share.std() > even.std() + 0.04, "and more than with one breadth for all"
    assert (share < 0.25).mean() > 0.05
    assert (share == 1).mean() > 0.25
    assert (even == 1).mean() < 0.25


def test_links_between_slow_sellers_are_seldom_seen(mini):
    """The same draw of links, all of which show, is what the observed links are held against."""
    complete = generate(SIZES["default"], recipe=replace(Recipe(), observation=1e-6))
    slow = mini.sales_rank > len(mini.y) // 2
    pairs, seen = (set(map(tuple, products.edge_index.T)) for products in (complete, mini))
    assert seen < pairs
    edges = np.array(sorted(pairs))
    shows = np.array([tuple(edge) in seen for edge in edges])
    slow_ends = slow[edges].sum(axis=1)
    both_fast, one_slow, both_slow = (shows[slow_ends == count].mean() for count in range(3))
    assert both_slow < 0.45 < 0.55 < both_fast
    assert both_slow < one_slow < both_fast


def test_isolated_products_are_mostly_slow_sellers(mini):
    isolated = np.bincount(mini.edge_index[0], minlength=len(mini.y)) == 0
    assert 0.04 <= isolated.mean() <= 0.09
    assert isolated[mini.split["test"]].mean() > 3 * isolated[mini.split["train"]].mean()


def test_split_by_sales_rank(mini):
    parts = [mini.split[name] for name in ("train", "valid", "test")]
    assert [len(part) for part in parts] == [1_600, 400, 18_000]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(20_000))
    best, next_best, others = (mini.sales_rank[part] for part in parts)
    assert best.max() < next_best.min()
    assert next_best.max() < others.min()


def test_split_of_few_products_keeps_every_product():
    split = split_by_sales_rank(np.array([3, 1, 2]))
    assert np.concatenate(list(split.values())).tolist() == [1, 2, 0]


def test_same_seed_same_products_and_other_seed_others():
    one, again, other = generate(300, seed=1), generate(300, seed=1), generate(300, seed=2)
    assert np.array_equal(one.x, again.x)
    assert np.array_equal(one.edge_index, again.edge_index)
    assert one.titles == again.titles
    assert one.titles != other.titles


def test_titles_name_a_product_of_the_topic(mini):
    catalogue = load_catalogue()
    nouns = dict(zip(catalogue.topic_names, catalogue.topic_nouns, strict=True))
    for title, topic in zip(mini.titles[:200], mini.topics[:200], strict=True):
        assert any(noun in title.lower() for noun in nouns[topic]), title


def test_neighbours_help_far_more_than_features_alone_yet_not_completely(mini):
    """Logistic regression with and without averaged neighbours (the linear part of what GraphSAGE sees)."""
    matrix = adjacency(mini)
    mean = sp.diags(1 / np.maximum(np.asarray(matrix.sum(axis=1)).ravel(), 1)) @ matrix
    one_hop = mean @ mini.x
    both = np.hstack([mini.x, one_hop, mean @ one_hop])
    train, test = mini.split["train"], mini.split["test"]
    scores = [
        LogisticRegression(C=0.03, max_iter=300).fit(features[train], mini.y[train]).score(features[test], mini.y[test])
        for features in (mini.x, both)
    ]
    assert 0.5 < scores[0] < 0.75
    assert scores[0] + 0.10 < scores[1] < 0.97


def test_text_features_place_a_text_near_products_of_its_topic(mini):
    vector = mini.text_features(["Espresso beans and a decaf roast, chai too"])[0]
    topics = np.array(mini.topics)
    centre = {topic: mini.x[topics == topic].mean(axis=0) for topic in ("coffee and tea", "car parts", "lenses")}
    nearest = max(centre, key=lambda topic: centre[topic] @ vector / np.linalg.norm(centre[topic]))
    assert nearest == "coffee and tea"


def test_text_without_known_words_gives_a_finite_vector(mini):
    vectors = mini.text_features(["", "zzz qqq"])
    assert vectors.shape == (2, 100)
    assert np.isfinite(vectors).all()
    assert np.array_equal(vectors[0], vectors[1])
