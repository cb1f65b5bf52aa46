"""The catalogue and new products embedded by the real Triton and kept in the real store."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from workshop.data.products import load_products
from workshop.errors import DataInvalidError, ServingError
from workshop.graph.checkpoint import save_model
from workshop.graph.inference import infer_layerwise
from workshop.graph.product_training import CONFIGS, about_training
from workshop.graph.sampling import CSRGraph
from workshop.graph.served import trace_checkpoint
from workshop.graph.signature import GRAPHSAGE_PRODUCTS
from workshop.graph.training import fit
from workshop.recommend.live_products import NewProduct, add_product, remove_product, sample_in_store
from workshop.recommend.product_graph import PRODUCTS, embed_catalogue, load_product_graph
from workshop.recommend.products import ProductRecommender
from workshop.settings import load_settings
from workshop.store.connection import connect
from workshop.store.vector_index import ensure_vector_index
from workshop.triton.client import TritonClient


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return load_products(load_settings(data_dir=tmp_path_factory.mktemp("data")), "tiny")


@pytest.fixture(scope="module")
def model(graph):
    return fit(graph.to_data(), replace(CONFIGS["tiny"], max_epochs=4), progress=False).model


@pytest.fixture(scope="module")
def version(graph, model, model_repository, tmp_path_factory):
    """Traces the model into the served repository."""
    checkpoint = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_model(checkpoint, model, about_training(graph, {}, 4))
    csr = CSRGraph.from_edge_index(graph.edge_index, graph.num_products)
    return trace_checkpoint(checkpoint, graph.x, csr, model_repository).version_name


@pytest.fixture(scope="module")
def client(local_stack, version):
    with TritonClient.from_settings(local_stack) as client:
        client.load_model(GRAPHSAGE_PRODUCTS.name)
        client.wait_ready(GRAPHSAGE_PRODUCTS.name)
        yield client


@pytest.fixture(scope="module")
def database(local_store, graph):
    database = connect(local_store, database="products_live")
    load_product_graph(database, graph)
    return database


@pytest.fixture(scope="module")
def embedded(database, client, graph, version):
    """The database once the whole catalogue has embeddings."""
    embed_catalogue(database, client, graph, model_version=version)
    return database


class BreaksAfter:
    """A client that fails after some requests, as a server that is stopped meanwhile."""

    def __init__(self, client, requests):
        self.client, self.left = client, requests

    def infer_many(self, *arguments):
        if self.left == 0:
            raise ServingError("the server went away")
        self.left -= 1
        return self.client.infer_many(*arguments)


def test_interrupted_embedding_continues_with_what_is_missing(database, client, graph, version, monkeypatch):
    monkeypatch.setitem(embed_catalogue.__globals__["PRODUCTS_PER_STEP"], "small", 300)
    with pytest.raises(ServingError, match="went away"):
        embed_catalogue(database, BreaksAfter(client, 2), graph, model_version=version)
    seen = []
    report = embed_catalogue(database, client, graph, model_version=version, progress=lambda *state: seen.append(state))
    assert report.stored + report.already_there == 1_000
    assert report.already_there in (300, 600), "acknowledged steps stay"
    assert seen[-1] == (report.stored, report.stored)
    again = embed_catalogue(database, client, graph, model_version=version)
    assert (again.stored, again.already_there) == (0, 1_000)


def test_stored_embeddings_and_categories_are_the_model_s(embedded, graph, model, version):
    csr = CSRGraph.from_edge_index(graph.edge_index, graph.num_products)
    vectors, logits = infer_layerwise(model, graph.x, csr)
    stored = {document["_key"]: document for document in embedded.collection(PRODUCTS)}
    matrix = np.array([stored[key]["embedding"] for key in graph.keys])
    assert np.linalg.norm(matrix, axis=1) == pytest.approx(1, abs=1e-2)
    unit = torch.nn.functional.normalize(vectors).numpy()
    few = csr.in_degree <= 5  # sampling keeps most of what they see
    assert np.median((matrix * unit).sum(axis=1)[few]) > 0.99
    exact = [graph.category_names[c] for c in logits.argmax(dim=1)]
    agree = np.mean([stored[key]["predicted_category"] == name for key, name in zip(graph.keys, exact, strict=True)])
    assert agree > 0.9
    document = stored[graph.keys[0]]
    assert document["embedding_model"] == version
    assert document["predictions"][0]["probability"] == document["probability"]
    assert 0 < sum(item["probability"] for item in document["predictions"]) <= 1.001


def similar_product(graph, topic, key, count=4):
    """A new product of a topic, described in words, bought with the topic's best connected products."""
    degree = graph.edge_index[0].bincount(minlength=graph.num_products)
    members = sorted(
        (i for i, name in enumerate(graph.topics) if name == topic), key=lambda i: int(degree[i]), reverse=True
    )
    text = " ".join(graph.titles[i] for i in members)
    return NewProduct(key, "New thing", graph.text_features([text])[0], tuple(graph.keys[i] for i in members[:count]))


def test_new_product_is_embedded_like_the_local_model_does(embedded, client, graph, model, version):
    product = similar_product(graph, "crime novels", "new-1")
    live = add_product(embedded, client, product, graph.category_names, model_version=version, seed=5)
    x, edge_index = sample_in_store(embedded, "new-1", (15, 10, 5), seed=5)
    assert live.neighbourhood == (len(x), edge_index.shape[1])
    with torch.no_grad():
        expected = model.encode(torch.from_numpy(x), torch.from_numpy(edge_index))[0]
    stored = embedded.collection(PRODUCTS).get("new-1")
    assert stored["embedding"] == pytest.approx((expected / expected.norm()).tolist(), abs=1e-3)
    assert (live.category, live.probability) == (stored["predicted_category"], stored["probability"])
    assert live.category == "Books"


def test_a_category_that_is_known_is_kept_and_counts_where_it_is_recommended(embedded, client, graph, version):
    product = replace(similar_product(graph, "crime novels", "new-known"), category="Books")
    add_product(embedded, client, product, (), model_version=version)
    try:
        listed = ProductRecommender(embedded).recommend(product.bought_with[0], limit=200)
        item = next(item for item in listed if item.key == product.key)
        assert item.facts["category"] == "Books"
        assert item.terms["category_share"] > 0
    finally:
        remove_product(embedded, product.key)


def test_new_product_is_recommended_from_and_to_at_once(embedded, client, graph, version):
    product = similar_product(graph, "crime novels", "new-2")
    live = add_product(embedded, client, product, graph.category_names, model_version=version)
    assert set(product.bought_with) & {item.key for item in live.recommendations}
    assert list(live.seconds) == ["insert", "sample", "embed", "store", "recommend"]
    recommender = ProductRecommender(embedded)
    partner = recommender.recommend(product.bought_with[0], graph_weight=0.9, limit=100)
    assert "new-2" in {item.key for item in partner}
    assert "new-2" in {item.key for item in recommender.similar("new-1")}


def test_isolated_new_product_gets_an_embedding_and_recommendations(embedded, client, graph, version):
    product = replace(similar_product(graph, "crime novels", "new-3"), bought_with=())
    live = add_product(embedded, client, product, graph.category_names, model_version=version)
    assert live.neighbourhood == (1, 0)
    assert len(live.recommendations) == 10
    assert not any(item.facts["bought_together"] for item in live.recommendations)


def test_adding_again_replaces_and_a_failure_can_be_repeated(embedded, client, graph, version):
    product = similar_product(graph, "crime novels", "new-4")
    with pytest.raises(ServingError, match="went away"):
        add_product(embedded, Unreachable(), product, graph.category_names, model_version=version)
    first = add_product(embedded, client, product, graph.category_names, model_version=version)
    before = embedded.collection("bought_together").count()
    second = add_product(embedded, client, product, graph.category_names, model_version=version)
    assert embedded.collection("bought_together").count() == before
    assert second.recommendations == first.recommendations


class Unreachable:
    """A client whose server went away."""

    def infer(self, *_):
        raise ServingError("the server went away")


def test_refused_product_leaves_no_trace(embedded, client, graph, version):
    product = replace(similar_product(graph, "crime novels", "new-5"), features=np.zeros(3, dtype=np.float32))
    with pytest.raises(DataInvalidError, match=r"expected float32 \[nodes, 100\]"):
        add_product(embedded, client, product, graph.category_names, model_version=version)
    assert not embedded.collection(PRODUCTS).has("new-5")


def test_vector_index_finds_what_exact_search_finds(embedded, graph):
    search = ensure_vector_index(embedded, PRODUCTS)
    assert search.approximate, search.reason
    exact, approximate = ProductRecommender(embedded), ProductRecommender(embedded, search)
    shared = [
        len({item.key for item in exact.similar(key)} & {item.key for item in approximate.similar(key)})
        for key in graph.keys[:20]
    ]
    assert np.mean(shared) >= 8, "of ten"
    own = graph.category_names[int(graph.y[0])]
    assert {item.facts["category"] for item in approximate.similar(graph.keys[0], category=own)} == {own}
