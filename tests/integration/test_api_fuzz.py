"""The API on what clients should not send: a right answer or a 4xx, never a 500, never a hang.

It has no OpenAPI document to generate from, so bodies are valid ones with parts exchanged, and bytes that are none.
"""

from __future__ import annotations

import copy
import json
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from workshop.api.app import make_app
from workshop.recommend.connections import Connections

BODIES = {
    "/v1/completions": {"model": "tiny-llama", "prompt": ["a", "b"], "max_tokens": 2, "temperature": 0.5, "stop": "x"},
    "/v1/chat/completions": {
        "model": "tiny-llama",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}],
        "max_tokens": 2,
        "stream": False,
        "stream_options": {"include_usage": True},
        "n": 2,
        "seed": 1,
        "top_p": 0.9,
    },
    "/v1/embeddings": {"model": "text_embedding", "input": ["a text"], "encoding_format": "float"},
    "/rerank": {"model": "m", "query": "q", "documents": ["d"]},
}
TEXTS = st.text(max_size=20) | st.sampled_from(["", "tiny-llama", "tiny-bert", "add_subtract", "../x", "a/b", "\ud800"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)
UNICODE = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LIMIT_SECONDS = 30


@pytest.fixture(scope="module")
def api(local_stack, hub):
    """The application in this process, in front of the real server."""
    with TestClient(make_app(local_stack)) as api:  # what a route does not catch is raised here
        yield api


def places(value: object, path: tuple = ()) -> list[tuple]:
    """Where something can be exchanged in a body."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in inner for place in places(part, (*path, key)))]


@st.composite
def changed(draw, bodies: dict[str, object] = BODIES) -> tuple[str, object]:
    """A route and a body with one or two parts exchanged, left out or added."""
    route = draw(st.sampled_from(sorted(bodies)))
    body = copy.deepcopy(bodies[route])
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from([place for place in places(body) if place]))
        target = body
        for key in way:
            target = target[key]
        if isinstance(target, dict) and draw(st.booleans()):
            del target[last]
        else:
            target[last] = draw(VALUES)
    return route, body


def check(answer) -> None:
    assert answer.status_code < 500 or answer.status_code in (501, 503), answer.text
    if answer.status_code >= 400 and answer.headers["content-type"] == "application/json":
        assert answer.json()["error"]["message"]


@pytest.mark.timeout(240)
@settings(max_examples=150, deadline=LIMIT_SECONDS * 1000, suppress_health_check=list(HealthCheck))
@given(changed())
def test_a_body_with_exchanged_parts(api, case):
    route, body = case
    check(api.post(route, content=json.dumps(body).encode(), headers={"content-type": "application/json"}))


@settings(max_examples=60, deadline=LIMIT_SECONDS * 1000, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(BODIES)), st.binary(max_size=60), st.sampled_from(["application/json", "text/plain", ""]))
def test_a_body_that_is_no_json(api, route, content, kind):
    check(api.post(route, content=content, headers={"content-type": kind}))


@settings(max_examples=30, deadline=LIMIT_SECONDS * 1000, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS"]), UNICODE, UNICODE)
def test_a_path_that_is_none(api, method, path, query):
    for start in ("/v1/models/", "/v1/", "/"):
        check(api.request(method, start + quote(path), params={"q": query}))


# --- what recommends ----------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def recommending(shop):
    """The application in front of a real catalogue, and bodies that it answers, by name."""
    with Connections(shop) as own:
        liked = [film.key for film in own.movies.recommend("a heist", limit=2)]
        basket = [product["key"] for product in own.products.find("", limit=2)]
    filters = {"year_from": 1950, "year_to": 2020, "language": "en", "genre": "Drama"}
    bodies = {
        "wish": {"wish": "a heist", "filters": filters, "k": 3},
        "liked": {"liked": liked, "filters": filters, "k": 3},
        "key": {"key": basket[0], "k": 3},
        "basket": {"basket": basket, "k": 3},
    }
    with TestClient(make_app(shop)) as api:
        yield api, bodies


@pytest.mark.timeout(240)
@settings(max_examples=150, deadline=LIMIT_SECONDS * 1000, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_wish_a_like_or_a_basket_with_exchanged_parts(recommending, data):
    api, bodies = recommending
    name, body = data.draw(changed(bodies))
    route = "films" if name in ("wish", "liked") else "products"
    answer = api.post(f"/v1/recommend/{route}", content=json.dumps(body).encode())
    assert answer.status_code in (200, 400, 404), answer.text
    if answer.status_code == 200:
        assert len(answer.json()["data"]) <= int(body.get("k", 10))
    else:
        assert answer.json()["error"]["message"]
