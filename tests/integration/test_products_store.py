"""Product graph, queries and sampling against the real store, on a catalogue small enough to check by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from workshop.data.products import ProductGraph, load_products
from workshop.errors import DataInvalidError, StoreSchemaError, UnknownKeyError
from workshop.recommend.live_products import NewProduct, insert_product, remove_product, sample_in_store
from workshop.recommend.product_graph import (
    BOUGHT_TOGETHER,
    PRODUCTS,
    ProductCollections,
    check_catalogue,
    load_product_graph,
)
from workshop.recommend.products import CANDIDATES, ProductRecommender, ProductWeights
from workshop.settings import load_settings
from workshop.store.bulk import upsert
from workshop.store.connection import connect

# Coffee things are bought together; the lamp goes with the machine only; nobody ever bought the vase with anything.
TITLES = ["Espresso machine", "Espresso beans", "Milk frother", "Coffee mug", "Desk lamp", "Vase", "Tea kettle"]
CATEGORY = [0, 1, 0, 0, 2, 2, 0]
LINKS = [(0, 1), (0, 2), (0, 3), (1, 2), (2, 3), (0, 4), (3, 6)]
ANGLES = [0, 20, 12, 40, 90, 5, 30]
M, BEANS, FROTHER, MUG, LAMP, VASE, KETTLE = (f"p{i}" for i in range(7))
PLAIN = ProductWeights(popularity=0, category_share=0)


def catalogue() -> ProductGraph:
    edges = torch.tensor(LINKS).T
    return ProductGraph(
        name="by hand",
        synthetic=True,
        x=torch.arange(700, dtype=torch.float32).reshape(7, 100) / 100,
        edge_index=torch.cat([edges, edges.flip(0)], dim=1),
        y=torch.tensor(CATEGORY),
        split={"train": torch.tensor([0, 1]), "valid": torch.tensor([2]), "test": torch.tensor([3, 4, 5, 6])},
        category_names=["Kitchen", "Grocery", "Decor"],
        keys=[f"p{i}" for i in range(7)],
        titles=TITLES,
        topics=[],
    )


def vector(angle: float) -> list[float]:
    return [float(np.cos(np.radians(angle))), float(np.sin(np.radians(angle)))]


def fresh(settings, name: str):
    """An empty database."""
    system = connect(settings, database="_system")
    if system.has_database(name):
        system.delete_database(name)
    return connect(settings, database=name)


@pytest.fixture(scope="module")
def database(local_store):
    """Holds the catalogue with embeddings; tests that change it use another one."""
    database = fresh(local_store, "products_by_hand")
    load_product_graph(database, catalogue())
    upsert(database, PRODUCTS, [{"_key": f"p{i}", "embedding": vector(angle)} for i, angle in enumerate(ANGLES)])
    return database


@pytest.fixture
def scratch(local_store):
    database = fresh(local_store, "products_scratch")
    load_product_graph(database, catalogue())
    return database


@pytest.fixture
def recommender(database):
    return ProductRecommender(database)


def keys(found):
    return [item.key for item in found]


# --- loading ----------------------------------------------------------------------------------------------------
def test_documents_and_edges_as_stored(database):
    machine = database.collection(PRODUCTS).get(M)
    assert (machine["title"], machine["category"], machine["split"]) == ("Espresso machine", "Kitchen", "train")
    assert machine["co_purchases"] == 4
    assert machine["synthetic"] is True
    assert machine["features"] == pytest.approx(np.arange(100) / 100)
    edges = {(edge["_from"], edge["_to"]) for edge in database.collection(BOUGHT_TOGETHER)}
    assert edges == {(f"products/p{a}", f"products/p{b}") for a, b in LINKS}, "each co-purchase once"


def test_arangodbs_adapter_reads_the_graph_into_pyg(database):
    adapter = pytest.importorskip("adbpyg_adapter", reason="make setup installs it: requirements-no-deps.txt")
    metagraph = {
        "vertexCollections": {PRODUCTS: {"x": "features", "embedding": "embedding"}},
        "edgeCollections": {BOUGHT_TOGETHER: {}},
    }
    read = adapter.ADBPyG_Adapter(database).arangodb_to_pyg("product_graph", metagraph, preserve_adb_keys=True)
    number = [int(key.removeprefix("p")) for key in read["_v_key"]]
    assert sorted(number) == list(range(7))
    torch.testing.assert_close(read.x, catalogue().x[number])
    assert read.embedding.shape == (7, 2)
    assert {(number[a], number[b]) for a, b in read.edge_index.T.tolist()} == set(LINKS)


def test_loading_again_changes_nothing_and_keeps_embeddings(database):
    reports = load_product_graph(database, catalogue())
    assert {name: (report.created, report.updated) for name, report in reports.items()} == {
        PRODUCTS: (0, 7),
        BOUGHT_TOGETHER: (0, 7),
    }
    assert database.collection(PRODUCTS).get(M)["embedding"] == [1, 0]


def test_progress_counts_every_document(local_store):
    seen = []
    load_product_graph(fresh(local_store, "products_scratch"), catalogue(), progress=lambda *state: seen.append(state))
    assert seen == [(7, 14), (14, 14)]


def test_weights_of_orders_are_stored_and_rank(scratch):
    graph = catalogue()
    weight = torch.ones(graph.edge_index.shape[1])
    weight[5] = weight[12] = 9.0  # machine and lamp
    load_product_graph(scratch, graph, edge_weight=weight)
    found = ProductRecommender(scratch).co_purchased(M)
    assert [(item.key, item.terms["weight"]) for item in found][:2] == [(LAMP, 9.0), (FROTHER, 1.0)]


def test_edges_to_unknown_products_write_nothing(local_store):
    database = fresh(local_store, "products_scratch")
    broken = replace(catalogue(), edge_index=torch.tensor([[0], [7]]))
    with pytest.raises(DataInvalidError, match="outside the 7 nodes"):
        load_product_graph(database, broken)
    assert not database.has_collection(PRODUCTS)


# --- recommenders -----------------------------------------------------------------------------------------------
def test_similar_ranks_by_cosine_without_the_product_itself(recommender):
    found = recommender.similar(M, limit=3)
    assert keys(found) == [VASE, FROTHER, BEANS]
    assert [item.terms["similarity"] for item in found] == pytest.approx(np.cos(np.radians([5, 12, 20])), abs=1e-3)


def test_similar_within_a_category(recommender):
    assert keys(recommender.similar(M, category="Decor")) == [VASE, LAMP]


def test_similar_passes_over_products_without_embedding(scratch):
    upsert(scratch, PRODUCTS, [{"_key": key, "embedding": vector(0)} for key in (M, MUG)])
    assert keys(ProductRecommender(scratch).similar(M)) == [MUG]
    with pytest.raises(DataInvalidError, match="'p1' has no embedding yet"):
        ProductRecommender(scratch).similar(BEANS)


def test_co_purchased_puts_the_best_connected_first(recommender):
    found = recommender.co_purchased(M)
    assert [(item.key, item.terms["shared"]) for item in found] == [(FROTHER, 2), (BEANS, 1), (MUG, 1), (LAMP, 0)]
    assert recommender.co_purchased(VASE) == []


def test_graph_alone_ranks_co_purchases_first_and_finds_two_hops(recommender):
    found = recommender.recommend(M, graph_weight=1.0, weights=PLAIN)
    assert set(keys(found[:4])) == {BEANS, FROTHER, MUG, LAMP}
    assert found[0].key == FROTHER, "bought with the beans and the mug too"
    assert all(item.facts["bought_together"] for item in found[:4])
    kettle = next(item for item in found if item.key == KETTLE)
    assert 0 < kettle.terms["graph_score"] < 0.5, "reached through the mug"
    assert M not in keys(found)


def test_embedding_alone_is_the_cosine(recommender):
    found = recommender.recommend(M, graph_weight=0.0, weights=PLAIN)
    assert keys(found) == [VASE, FROTHER, BEANS, KETTLE, MUG, LAMP]
    assert [item.score for item in found] == pytest.approx([item.terms["similarity"] for item in found])


def test_hybrid_adds_both_parts(recommender):
    for item in recommender.recommend(M, graph_weight=0.3, weights=PLAIN):
        assert item.score == pytest.approx(0.3 * item.terms["graph_score"] + 0.7 * item.terms["similarity"])
        assert 0 <= item.terms["graph_score"] <= 1


@pytest.mark.parametrize("weights", [None, PLAIN, ProductWeights(0.7, 0.4, 0.1)], ids=str)
def test_every_term_counts_and_is_a_reason(recommender, database, weights):
    counted = weights or ProductWeights()
    found = recommender.recommend(M, weights=weights, bought=[FROTHER, "no such product"])
    documents = {document["_key"]: document for document in database.collection("products")}
    best_selling = max(documents[item.key]["co_purchases"] for item in found)
    partners = [documents[item.key]["category"] for item in found if item.facts["bought_together"]]
    for item in found:
        known = documents[item.key]
        popularity = np.log1p(known["co_purchases"]) / np.log1p(best_selling)
        category_share = partners.count(known["category"]) / len(partners)
        assert item.terms["popularity"] == pytest.approx(popularity)
        assert item.terms["category_share"] == pytest.approx(category_share)
        assert item.terms["repetition"] == (item.key == FROTHER)
        assert item.score == pytest.approx(
            (item.terms["graph_score"] + item.terms["similarity"]) / 2
            + counted.popularity * popularity
            + counted.category_share * category_share
            - counted.repetition * (item.key == FROTHER)
        )
        assert sum(reason.weight for reason in item.reasons) == pytest.approx(item.score)


def test_what_was_bought_already_comes_last(recommender):
    first = keys(recommender.recommend(M))[0]
    assert keys(recommender.recommend(M, bought=[first]))[-1] == first
    assert keys(recommender.recommend(M, bought=[first], weights=ProductWeights(repetition=0)))[0] == first
    for value in (-1, float("nan"), None):
        with pytest.raises(DataInvalidError, match="weights: popularity is"):
            ProductWeights(popularity=value)


def test_isolated_product_is_served_by_its_embedding(recommender):
    assert keys(recommender.recommend(VASE, limit=2)) == [M, FROTHER]


def test_product_without_embedding_is_served_by_the_graph(scratch):
    found = ProductRecommender(scratch).recommend(M, limit=4)
    assert set(keys(found)) == {BEANS, FROTHER, MUG, LAMP}
    assert all(item.terms["similarity"] == 0 for item in found)


def test_variety_caps_each_category_and_keeps_the_order(recommender):
    plain = recommender.recommend(M)
    varied = recommender.recommend(M, per_category=1)
    assert sorted(item.facts["category"] for item in varied) == ["Decor", "Grocery", "Kitchen"]
    assert [item.score for item in varied] == sorted((item.score for item in varied), reverse=True)
    for item in varied:
        assert item == next(other for other in plain if other.facts["category"] == item.facts["category"]), (
            "the best of its category"
        )


def test_explanation_names_what_links_two_products(recommender):
    reason = recommender.explain(M, KETTLE)
    assert reason.shared == ("Coffee mug",)
    assert not reason.bought_together
    assert "Tea kettle: 1 product is bought with both: Coffee mug" in str(reason)
    assert str(recommender.explain(M, FROTHER)).startswith("Milk frother: the two are bought together; 2 products")
    assert recommender.explain(VASE, LAMP).shared_count == 0


def test_find_is_case_insensitive_and_best_connected_first(recommender):
    assert [item["key"] for item in recommender.find("ESPRESSO")] == [M, BEANS]
    assert recommender.find("no such thing") == []


@pytest.mark.parametrize("ask", ["similar", "co_purchased", "recommend"])
def test_unknown_product(recommender, ask):
    with pytest.raises(DataInvalidError, match="no product has the key 'p99'"):
        getattr(recommender, ask)("p99")


@pytest.mark.parametrize("options", [{"graph_weight": 1.5}, {"limit": 0}, {"per_category": 0}])
def test_senseless_numbers(recommender, options):
    with pytest.raises(DataInvalidError, match="expected graph_weight from 0 to 1 and positive limits"):
        recommender.recommend(M, **options)


@pytest.mark.parametrize("key", ["..", "%2e%2e", "a/b", "p1?x=1", "p1#", "", "../../version"])
def test_a_key_is_no_address(recommender, key):
    with pytest.raises(UnknownKeyError):
        recommender.product(key)


def test_a_basket_of_one_is_that_product(recommender):
    assert recommender.recommend_for_basket([M, M], limit=5) == recommender.recommend(M, limit=5)


def test_a_basket_gets_the_mean_of_what_goes_with_each_of_it(recommender):
    basket = [M, KETTLE]
    found = recommender.recommend_for_basket(basket)
    beside = [{item.key: item.score for item in recommender.recommend(key, limit=CANDIDATES)} for key in basket]
    every = {*beside[0], *beside[1]} - set(basket)
    expected = {key: sum(scores.get(key, 0) for scores in beside) / 2 for key in every}
    assert {item.key: item.score for item in found} == pytest.approx(expected)
    assert keys(found) == sorted(expected, key=lambda key: (-expected[key], key))
    for item in found:
        assert sum(reason.weight for reason in item.reasons) == pytest.approx(item.score)


def test_a_basket_is_products_and_not_empty(recommender):
    with pytest.raises(UnknownKeyError, match="no product has the key 'p99'"):
        recommender.recommend_for_basket([M, "p99"])
    with pytest.raises(DataInvalidError, match="the basket is empty"):
        recommender.recommend_for_basket([])
    with pytest.raises(DataInvalidError, match="positive limits"):
        recommender.recommend_for_basket([M], limit=0)


# --- sampling by AQL --------------------------------------------------------------------------------------------
def test_whole_neighbourhood_when_the_fan_out_is_large(database):
    x, edges = sample_in_store(database, MUG, (50, 50, 50), seed=0)
    assert x.dtype == np.float32
    products = (x[:, 0] + 0.5).astype(int)  # the first feature of product i is i
    assert products[0] == 3, "the product comes first"
    assert sorted(products) == [0, 1, 2, 3, 4, 6]
    found = {(products[a], products[b]) for a, b in edges.T}
    assert found == {(a, b) for a, b in LINKS} | {(b, a) for a, b in LINKS}


def test_fan_out_bounds_every_hop_and_the_seed_repeats_the_draw(database):
    draws = {}
    for seed in range(12):
        x, edges = sample_in_store(database, M, (2, 1, 1), seed=seed)
        assert np.bincount(edges[1], minlength=len(x)).max() == 2
        assert (edges[1] == 0).sum() == 2
        assert edges.max() < len(x)
        again = sample_in_store(database, M, (2, 1, 1), seed=seed)
        assert np.array_equal(edges, again[1])
        assert np.array_equal(x, again[0])
        draws[seed] = tuple(sorted((x[1:3, 0] + 0.5).astype(int)))
    assert len(set(draws.values())) > 1


def test_sampling_is_close_to_uniform(database):
    """Each of the machine's four neighbours is in half of the draws of two."""
    count = np.zeros(7)
    for seed in range(200):
        x, edges = sample_in_store(database, M, (2, 1, 1), seed=seed)
        count[(x[edges[0][edges[1] == 0], 0] + 0.5).astype(int)] += 1
    assert count[[0, 5, 6]].sum() == 0
    assert np.all(np.abs(count[1:5] - 100) < 3.5 * np.sqrt(200 * 0.25))


def test_isolated_product_is_its_own_neighbourhood(database):
    x, edges = sample_in_store(database, VASE, (15, 10, 5), seed=0)
    assert x.shape == (1, 100)
    assert edges.shape == (2, 0)


def test_sampling_an_unknown_product(database):
    with pytest.raises(DataInvalidError, match="no product 'p99' with features"):
        sample_in_store(database, "p99", (15, 10, 5), seed=0)


def test_neighbour_without_features_is_named(scratch):
    scratch.collection(PRODUCTS).update({"_key": LAMP, "features": None})
    with pytest.raises(StoreSchemaError, match="1 products around 'p0' have no features, the first is products/p4"):
        sample_in_store(scratch, M, (15, 10, 5), seed=0)


# --- inserting --------------------------------------------------------------------------------------------------
FEATURES = np.linspace(-1, 1, 100, dtype=np.float32)


def test_inserted_product_is_linked_and_counted(scratch):
    insert_product(scratch, NewProduct("new", "Latte glass", FEATURES, (M, FROTHER, M, "new")))
    assert scratch.collection(PRODUCTS).get("new")["co_purchases"] == 2, "repeated and own keys are ignored"
    assert scratch.collection(PRODUCTS).get(M)["co_purchases"] == 5
    assert sorted(keys(ProductRecommender(scratch).co_purchased("new"))) == [M, FROTHER]
    before = scratch.collection(BOUGHT_TOGETHER).count()
    insert_product(scratch, NewProduct("new", "Latte glass", FEATURES, (FROTHER, M)))
    assert scratch.collection(BOUGHT_TOGETHER).count() == before, "inserting again adds nothing"


def test_product_that_nobody_bought_yet(scratch):
    insert_product(scratch, NewProduct("new", "Latte glass", FEATURES))
    x, edges = sample_in_store(scratch, "new", (15, 10, 5), seed=0)
    assert x[0] == pytest.approx(FEATURES, abs=0.0051)
    assert edges.shape == (2, 0)


def test_removed_product_takes_its_co_purchases_along(scratch):
    insert_product(scratch, NewProduct("new", "Latte glass", FEATURES, (M, FROTHER)))
    assert remove_product(scratch, "new")
    assert not scratch.collection(PRODUCTS).has("new")
    assert scratch.collection(BOUGHT_TOGETHER).count() == 7
    assert scratch.collection(PRODUCTS).get(M)["co_purchases"] == 4
    assert not remove_product(scratch, "new")


def test_links_among_products(recommender):
    pairs = {frozenset(pair) for pair in recommender.links_among([M, BEANS, LAMP, KETTLE])}
    assert pairs == {frozenset((M, BEANS)), frozenset((M, LAMP))}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bought_with": (M, "p98", "p99")}, "bought with unknown products: p98, p99"),
        ({"features": FEATURES[:99]}, r"expected float32 \[nodes, 100\], received float32 \[1, 99\]"),
        ({"features": np.full(100, np.nan, dtype=np.float32)}, "NaN or infinite"),
        ({"key": "a/b"}, "product key 'a/b' cannot be stored"),
        ({"key": ""}, "product key '' cannot be stored"),
        ({"title": "half a character \ud800"}, "document 'new': str is not valid UTF-8: surrogates not allowed"),
    ],
)
def test_bad_new_product_writes_nothing(scratch, change, message):
    product = replace(NewProduct("new", "Latte glass", FEATURES, (M,)), **change)
    before = [scratch.collection(name).count() for name in (PRODUCTS, BOUGHT_TOGETHER)]
    with pytest.raises(DataInvalidError, match=message):
        insert_product(scratch, product)
    assert [scratch.collection(name).count() for name in (PRODUCTS, BOUGHT_TOGETHER)] == before


def test_sample_agrees_with_the_graph_on_generated_data(local_store, tmp_path):
    graph = load_products(load_settings(data_dir=tmp_path), "tiny")
    database = fresh(local_store, "products_tiny")
    load_product_graph(database, graph)
    linked = set(map(tuple, graph.edge_index.T.tolist()))
    position = {tuple(np.round(row, 2)[:10]): i for i, row in enumerate(graph.x.numpy().astype(np.float64))}
    hub = int(graph.edge_index[0].bincount().argmax())
    x, edges = sample_in_store(database, graph.keys[hub], (15, 10, 5), seed=1)
    nodes = [position[tuple(np.round(row, 2)[:10])] for row in x.astype(np.float64)]
    assert nodes[0] == hub
    assert len(set(nodes)) == len(nodes)
    assert all((nodes[a], nodes[b]) in linked for a, b in edges.T)
    into = np.bincount(edges[1], minlength=len(nodes))
    assert into[0] == 15
    assert into.max() == 15


def test_several_catalogues_live_in_one_database(scratch):
    other = ProductCollections("things", "goes_with", "thing_graph")
    titles = [f"Other {title}" for title in TITLES]
    load_product_graph(scratch, replace(catalogue(), name="another", titles=titles), collections=other)
    insert_product(scratch, NewProduct("new", "Latte glass", FEATURES, (M,)), collections=other)
    assert scratch.collection("things").get(M)["co_purchases"] == 5
    assert scratch.collection(PRODUCTS).get(M)["co_purchases"] == 4
    recommender = ProductRecommender(scratch, collections=other)
    assert recommender.find("espresso", limit=1)[0]["title"] == "Other Espresso machine"
    assert keys(recommender.recommend(BEANS, limit=2))
    assert recommender.explain(M, FROTHER).bought_together
    x, _ = sample_in_store(scratch, M, (5, 5), seed=0, collections=other)
    assert len(x) == 7, "the new one, and all but the vase, which nothing links"
    assert remove_product(scratch, "new", collections=other)
    assert not ProductRecommender(scratch).find("Other Espresso")


def test_two_catalogues_of_one_name_are_not_mixed(scratch):
    before = scratch.collection(PRODUCTS).get(M)
    for change in ({"titles": TITLES[::-1]}, {"edge_index": torch.tensor([[0], [1]])}):
        with pytest.raises(StoreSchemaError, match="holds another catalogue called by hand, 7 products, of other"):
            load_product_graph(scratch, replace(catalogue(), **change))
    assert scratch.collection(PRODUCTS).get(M) == before
    check_catalogue(scratch, catalogue())
    scratch.collection(PRODUCTS).update({"_key": M, "data_set_contents": None})
    with pytest.raises(StoreSchemaError, match="delete_graph"):
        check_catalogue(scratch, catalogue())


def test_catalogues_are_not_mixed(scratch):
    with pytest.raises(StoreSchemaError, match=r"holds by hand, 7 products; another, 7 products cannot be mixed"):
        load_product_graph(scratch, replace(catalogue(), name="another"))
