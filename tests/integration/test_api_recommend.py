"""The routes that recommend, over HTTP, against the real tritonserver and the real store."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import pytest
import requests
from api_world import serving
from movie_world import fresh_database
from proxies import Relay, until

from workshop import stack
from workshop.api.recommend import LARGEST_K, MOST_KEYS, THREADS, Filters
from workshop.api.requests import LARGEST_BODY
from workshop.recommend import connections
from workshop.recommend.connections import Connections
from workshop.recommend.movie_graph import MOVIE_GRAPH
from workshop.recommend.movies import LONGEST_WISH, MovieFilters
from workshop.recommend.product_graph import PRODUCT_GRAPH, PRODUCTS
from workshop.stack.private import free_ports
from workshop.store.schema import ensure_schema
from workshop.text.signatures import SENTENCE_BERT
from workshop.triton.client import TritonClient

FILMS, GOODS = "/v1/recommend/films", "/v1/recommend/products"
WISH = "a heist that goes wrong in winter"


@pytest.fixture(scope="module")
def url(shop):
    with serving(shop) as url:
        yield url


@pytest.fixture(scope="module")
def own(shop):
    """The recommenders, without the API between."""
    with Connections(shop) as own:
        yield own


@pytest.fixture(scope="module")
def liked(own) -> list[str]:
    """Keys of two films that others share people and keywords with."""
    return [film.key for film in own.movies.recommend(WISH, limit=2)]


@pytest.fixture(scope="module")
def bought(own) -> list[str]:
    """Keys of three products that are bought with many."""
    return [product["key"] for product in own.products.find("", limit=3)]


def ask(url: str, route: str, **body: object) -> requests.Response:
    return requests.post(f"{url}{route}", json=body, timeout=60)


def refusal(answer: requests.Response) -> dict:
    """The error of an answer, which has the form of the OpenAI API."""
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == ("invalid_request_error" if answer.status_code < 500 else "server_error")
    return error


def said(found) -> list[dict]:
    """What the API is to answer for recommendations."""
    return [
        {
            "key": item.key,
            "title": item.title,
            "score": pytest.approx(item.score),
            "why": [
                {
                    "said": str(reason),
                    "kind": reason.kind,
                    "name": reason.name,
                    "weight": pytest.approx(reason.weight),
                    "number": reason.number,
                }
                for reason in item.reasons
            ],
        }
        for item in found
    ]


# --- answers ------------------------------------------------------------------------------------------------------
def test_films_for_a_wish_are_the_recommender_s(url, own):
    answer = ask(url, FILMS, wish=WISH, k=7)
    assert answer.status_code == 200
    assert answer.json() == {"object": "list", "data": said(own.movies.recommend(WISH, limit=7))}
    assert len(answer.json()["data"]) == 7


def test_films_for_liked_ones_say_what_they_share(url, own, liked):
    found = ask(url, FILMS, liked=liked).json()["data"]
    assert found == said(own.movies.recommend(liked=liked))
    shared = [reason for film in found for reason in film["why"] if reason["number"]]
    assert {"has_keyword", "acted_in", "directed"} & {reason["kind"] for reason in shared}
    for film in found:
        assert sum(reason["weight"] for reason in film["why"]) == pytest.approx(film["score"])


def test_filters_are_the_recommender_s(url, own):
    assert list(Filters.model_fields) == [field.name for field in fields(MovieFilters)]
    filters = {"year_from": 1990, "year_to": 2005, "language": "en", "genre": "Drama"}
    found = ask(url, FILMS, wish=WISH, filters=filters, k=5).json()["data"]
    assert found == said(own.movies.recommend(WISH, filters=MovieFilters(**filters), limit=5))
    assert found != ask(url, FILMS, wish=WISH, k=5).json()["data"]


def test_a_wish_that_nothing_comes_near_gets_an_empty_list(url):
    answer = ask(url, FILMS, wish=WISH, filters={"year_from": 9999})
    assert (answer.status_code, answer.json()["data"]) == (200, [])


def test_products_for_a_product_and_for_a_basket_are_the_recommender_s(url, own, bought):
    first = ask(url, GOODS, key=bought[0], k=6).json()["data"]
    assert first == said(own.products.recommend(bought[0], limit=6))
    assert len(first) == 6
    basket = ask(url, GOODS, basket=bought, k=6).json()["data"]
    assert basket == said(own.products.recommend_for_basket(bought, limit=6))
    assert not {item["key"] for item in basket} & set(bought)


def test_the_most_that_may_be_asked_for_is_answered(url, liked, bought):
    assert ask(url, FILMS, liked=[liked[0]] * MOST_KEYS, k=LARGEST_K).status_code == 200
    assert ask(url, GOODS, basket=[bought[0]] * MOST_KEYS, k=LARGEST_K).status_code == 200
    assert ask(url, FILMS, wish="a" * LONGEST_WISH, k=1).status_code == 200


# --- refusals -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("route", "body", "status", "message"),
    [
        (FILMS, {}, 400, "exactly one of wish and liked"),
        (FILMS, {"wish": "a", "liked": ["1"]}, 400, "exactly one of wish and liked"),
        (FILMS, {"wish": "  "}, 400, "neither a wish nor a liked movie"),
        (FILMS, {"wish": "a" * (LONGEST_WISH + 1)}, 400, "wish: .*at most 2000"),
        (FILMS, {"wish": "\ud800"}, 400, "wish: expected Unicode"),
        (FILMS, {"wish": "a", "k": 0}, 400, "k: .*greater than or equal to 1"),
        (FILMS, {"wish": "a", "k": LARGEST_K + 1}, 400, "k: .*less than or equal to 100"),
        (FILMS, {"wish": "a", "filters": {"year": 1990}}, 400, "filters.year: "),
        (FILMS, {"wish": "a", "filters": {"\ud800": 1}}, 400, "filters: .*unicode"),
        (FILMS, {"liked": []}, 400, "liked: "),
        (FILMS, {"liked": ["1"] * (MOST_KEYS + 1)}, 400, "liked: .*at most 20"),
        (FILMS, {"liked": ["no such film"]}, 404, "no movie has the key 'no such film'"),
        (GOODS, {}, 400, "exactly one of key and basket"),
        (GOODS, {"key": "1", "basket": ["1"]}, 400, "exactly one of key and basket"),
        (GOODS, {"key": "1", "k": "many"}, 400, "k: "),
        (GOODS, {"key": "1", "wish": "a"}, 400, "wish: Extra inputs"),
        (GOODS, {"basket": []}, 400, "basket: "),
        (GOODS, {"key": "no such product"}, 404, "no product has the key 'no such product'"),
        (GOODS, {"basket": ["../../version"]}, 404, "no product has the key '../../version'"),
    ],
)
def test_a_request_that_cannot_be_answered_is_told_why(url, route, body, status, message):
    answer = ask(url, route, **body)
    assert answer.status_code == status
    error = refusal(answer)
    assert re.search(message, error["message"])
    assert error["code"] == ("unknown_key" if status == 404 else None)


@pytest.mark.parametrize("route", [FILMS, GOODS])
@pytest.mark.parametrize(
    ("body", "status", "message"),
    [(b"{", 400, "not JSON"), (b"[]", 400, "dictionary"), (b"x" * (LARGEST_BODY + 1), 413, "more than")],
)
def test_a_body_of_another_form_is_refused(url, route, body, status, message):
    answer = requests.post(f"{url}{route}", data=body, timeout=30)
    assert answer.status_code == status
    assert message in refusal(answer)["message"]


def test_a_catalogue_that_is_not_loaded_names_the_notebook_that_loads_it(shop, local_store):
    settings = shop.model_copy(update={"arango_database": "bare"})
    with serving(settings) as url:
        for loaded in (False, True):
            if loaded:  # without vectors, as between the two steps of a notebook
                for name, graph, documents in (
                    ("bare", MOVIE_GRAPH, [{"_key": "1", "genres": [], "vote_count": 1}]),
                    ("bare_tiny", PRODUCT_GRAPH, [{"_key": "1", "title": "a"}]),
                ):
                    database = fresh_database(settings, name)
                    ensure_schema(database, graph)
                    database.collection(graph.vertices[0]).insert_many(documents)
            for route, body, notebook in (
                (FILMS, {"wish": WISH}, "06"),
                (FILMS, {"liked": ["1"]}, "06"),
                (GOODS, {"key": "1"}, "07"),
                (GOODS, {"basket": ["2"]}, "07"),
            ):
                answer = ask(url, route, **body)
                error = refusal(answer)
                assert (answer.status_code, error["code"]) == (503, "catalogue_not_loaded"), (loaded, body, error)
                assert ("has no embeddings yet" if loaded else "holds nothing yet") in error["message"]
                assert f'make run NOTEBOOKS="{notebook}"' in error["message"]


# --- servers that go away -----------------------------------------------------------------------------------------
def test_without_triton_what_needs_no_wish_is_answered(shop, liked, bought):
    (port,) = free_ports(1)
    with (
        Relay(shop.triton_grpc_port, at=port) as way,
        serving(shop.model_copy(update={"triton_grpc_port": port})) as url,
    ):
        assert ask(url, FILMS, wish=WISH).status_code == 200
        way.__exit__()
        answer = ask(url, FILMS, wish=WISH)
        assert answer.status_code == 503
        assert "no Triton server answers" in (message := refusal(answer)["message"])
        assert "Try: make up" in message
        assert ask(url, FILMS, liked=liked).status_code == ask(url, GOODS, key=bought[0]).status_code == 200


def test_a_sentence_model_that_is_not_loaded_is_named(url, shop):
    with TritonClient.from_settings(shop) as client:
        client.unload_model(SENTENCE_BERT.name)
        try:
            answer = ask(url, FILMS, wish=WISH)
        finally:
            client.load_model(SENTENCE_BERT.name)
    assert answer.status_code == 503
    assert f"{SENTENCE_BERT.name!r}" in (message := refusal(answer)["message"])
    assert "Try: " in message
    assert ask(url, FILMS, wish=WISH).status_code == 200


def test_a_store_that_is_stopped_under_way(url, shop, liked, bought):
    """Every request is answered or told that the store is away; with the store back, all are answered."""
    bodies = [
        (FILMS, {"wish": WISH}),
        (FILMS, {"liked": liked}),
        (GOODS, {"key": bought[0]}),
        (GOODS, {"basket": bought}),
    ]
    over = threading.Event()

    def keep_asking(number: int) -> list[tuple[int, str]]:
        route, body = bodies[number % len(bodies)]
        seen = []
        while not over.is_set():
            answer = ask(url, route, **body)
            seen.append((answer.status_code, "" if answer.ok else refusal(answer)["message"]))
        return seen

    with ThreadPoolExecutor(len(bodies)) as clients:
        asked = [clients.submit(keep_asking, number) for number in range(len(bodies))]
        try:
            time.sleep(0.5)
            assert stack.down(shop, ["aqlite"]) == ["aqlite"]
            time.sleep(0.5)
        finally:
            over.set()
            with stack.running(shop, ["aqlite"]):  # not `up`: with the last of its users it is to end
                pass
    seen = [each for one in asked for each in one.result()]
    assert {status for status, _ in seen} == {200, 503}
    assert any("Try: make up" in message for status, message in seen if status == 503)
    assert [ask(url, route, **body).status_code for route, body in bodies] == [200] * len(bodies)


def test_a_store_that_hangs_holds_up_no_other_route(shop, bought, monkeypatch):
    monkeypatch.setattr(connections, "ANSWER_SECONDS", 5)
    silence = threading.Event()
    with (
        Relay(shop.arango_port, back=until(silence)) as way,
        serving(shop.model_copy(update={"arango_url": f"http://{way.url}"})) as url,
        ThreadPoolExecutor(2 * THREADS) as clients,
    ):
        assert ask(url, GOODS, key=bought[0]).status_code == 200
        silence.set()
        hung = [clients.submit(ask, url, GOODS, key=bought[0]) for _ in range(2 * THREADS)]
        time.sleep(1)
        assert requests.get(f"{url}/v1/models", timeout=3).status_code == 200
        assert not any(one.done() for one in hung)
        answers = [one.result() for one in hung]
    assert {answer.status_code for answer in answers} == {504}
    assert "no answer in time" in refusal(answers[0])["message"]


def test_the_collections_are_where_the_services_look(shop):
    assert Connections(shop).products_database.collection(PRODUCTS).count() > 0
