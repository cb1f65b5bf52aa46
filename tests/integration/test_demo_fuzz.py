"""What stands behind the demo's fields, on inputs that nobody meant: an answer or a refusal in words, never a crash."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from demo_world import running_demo
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pictures import encoded, noise
from playwright.sync_api import Page, expect, sync_playwright

from scripts.check_docs import find_chromium
from workshop.demo import images, movies, products, text
from workshop.demo.services import Services
from workshop.errors import WorkshopError
from workshop.recommend.live_products import remove_product
from workshop.recommend.movie_terms import TERMS
from workshop.recommend.movies import MovieFilters
from workshop.recommend.products import ProductWeights

SLOWEST_MS = 20_000
"""What takes longer hangs."""
cases = settings(max_examples=30, deadline=SLOWEST_MS, suppress_health_check=list(HealthCheck), database=None)

ODD = st.sampled_from(["{}", "{}{}", "{0}", "{label}", "{{}}", "{!r}", "{}%s", "a, b", ",", "\0", "\n", "\ud800", ""])
WORDS = st.lists(ODD | st.text(st.characters(), max_size=20), max_size=3).map("".join)
"""Texts as a page may send them, halves of surrogate pairs among them."""
NUMBERS = st.floats() | st.floats(0, 2)
YEARS = st.none() | st.integers() | st.integers(1900, 2030)
PICTURES = [encoded(noise(), kind) for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP")]
BOUNDARY = b"BOUNDARY"


@pytest.fixture(scope="module")
def services(world) -> Iterator[Services]:
    services = Services(world)
    yield services
    services.triton.close()


def keys_of(services: Services, collection: str) -> list[str]:
    database = services.products_database if collection == "products" else services.database()
    return [document["_key"] for document in database.collection(collection).all(limit=20)]


def answers_or_refuses(call: Callable[..., object], *arguments: object) -> None:
    """What it raises is the library's own."""
    with suppress(WorkshopError):
        call(*arguments)


@st.composite
def mutated(draw: st.DrawFn, whole: list[bytes]) -> bytes:
    """One of them with up to three short pieces replaced, and sometimes cut off."""
    data = bytearray(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        data[start : start + draw(st.integers(0, 16))] = draw(st.binary(max_size=16))
    return bytes(data[: draw(st.just(len(data)) | st.integers(0, len(data)))])


@cases
@given(WORDS | st.just("A text"), WORDS | st.just("a, b"), WORDS)
@example("A text", "a, b", "{} {0} {label} {")
def test_text(services, said, labels, template):
    answers_or_refuses(text.classify, services, said, labels, template)


@cases
@given(st.data(), WORDS, st.builds(MovieFilters, YEARS, YEARS, st.none() | WORDS, st.none() | WORDS))
def test_films(services, data, wish, filters):
    films = st.dictionaries(st.sampled_from(keys_of(services, "movies")) | WORDS, WORDS, max_size=3)
    tab = movies.MoviesTab(services)
    tab.taste = movies.Taste(
        wish=wish,
        liked=data.draw(films),
        disliked=data.draw(films),
        filters=filters,
        weights=data.draw(st.dictionaries(st.sampled_from([*TERMS, "keyword_evidence"]), NUMBERS, max_size=2)),
    )
    answers_or_refuses(lambda: tab.ask()[1].options())


@cases
@given(st.data(), WORDS, NUMBERS, st.tuples(NUMBERS, NUMBERS, NUMBERS))
def test_products(services, data, part, graph_weight, weights):
    known = st.sampled_from(keys_of(services, "products")) | WORDS
    tab = products.ProductsTab(services)
    tab.graph_weight, tab.bought = graph_weight, data.draw(st.lists(known, max_size=3))

    def ask() -> None:
        tab.weights = ProductWeights(*weights)
        tab.ask(data.draw(known))[3].options()

    answers_or_refuses(ask)
    answers_or_refuses(lambda: services.products.find(part))


@cases
@given(st.data(), WORDS)
def test_new_products(services, data, title):
    partners = data.draw(st.lists(st.sampled_from(keys_of(services, "products")) | WORDS, max_size=3))
    before = services.products_database.collection("products").count()

    def add() -> None:
        live = products.add(services, title, partners)
        assert remove_product(services.products_database, live.key)

    answers_or_refuses(add)
    assert services.products_database.collection("products").count() == before


@settings(cases, max_examples=100)
@given(mutated(PICTURES) | st.binary(max_size=100))
def test_pictures(services, content):
    answers_or_refuses(images.classify, services, content)


# --- the address that a dropped picture goes to ------------------------------------------------------------------
@pytest.fixture(scope="module")
def upload(world) -> Iterator[tuple[Page, str]]:
    """A page on the tab of pictures, and where it sends what is dropped."""
    if not (chromium := find_chromium()):
        pytest.skip("Chromium is not installed here")
    with sync_playwright() as tools, running_demo(world) as demo:
        browser = tools.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with demo.page(browser, "Images") as page:
            chooser = page.locator("input[type=file]")
            expect(chooser).to_be_attached()
            with page.expect_request(lambda request: "/upload/" in request.url) as sent:
                chooser.set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": PICTURES[0]})
            yield page, sent.value.url
        browser.close()


def form(content: bytes, *, file: bool = True) -> bytes:
    """A form with one field, as a browser writes it."""
    kind = b'form-data; name="f"' + b'; filename="a.png"' * file
    return b"--%b\r\nContent-Disposition: %b\r\n\r\n%b\r\n--%b--\r\n" % (BOUNDARY, kind, content, BOUNDARY)


def status(address: str, body: bytes, kind: str) -> int:
    request = urllib.request.Request(address, data=body, headers={"Content-Type": kind}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=SLOWEST_MS / 1000) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@settings(cases, max_examples=60)
@given(
    mutated([*map(form, PICTURES), form(b"words", file=False), b"f=words"]),
    st.sampled_from([f"multipart/form-data; boundary={BOUNDARY.decode()}", "application/x-www-form-urlencoded", "a/b"]),
)
@example(form(b"words", file=False), f"multipart/form-data; boundary={BOUNDARY.decode()}")
@example(b"f=words", "application/x-www-form-urlencoded")
def test_uploads(upload, body, kind):
    assert status(upload[1], body, kind) < 500


def test_an_upload_past_the_browser_s_own_limit_is_not_taken(upload):
    page, address = upload
    body = form(bytes(images.LARGEST_BYTES + 1))
    assert status(address, body, f"multipart/form-data; boundary={BOUNDARY.decode()}") == 200
    expect(page.get_by_role("alert")).to_contain_text("expected one picture of at most 20 MB")


# --- events that a page sends ------------------------------------------------------------------------------------
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcdef_", max_size=6), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
LISTENERS = """() => Object.entries(mounted_app.elements).flatMap(([id, element]) =>
    element.events.map(event => ({ id: Number(id), client_id: window.clientId, listener_id: event.listener_id })))"""
SEND = "([kind, message]) => window.socket.emit(kind, message)"


@pytest.fixture(scope="module")
def eventful(upload) -> tuple[Page, list[dict]]:
    """The page on the tab of products, and how each of its elements is told of an event."""
    page, _ = upload
    page.get_by_role("tab", name="Products").click()
    expect(page.locator("[aria-label=Score]").first).to_be_visible()
    listeners = page.evaluate(LISTENERS)
    assert len(listeners) > 30
    return page, listeners


@settings(cases, max_examples=60)
@given(st.data(), st.sampled_from(["event", "event", "event", "javascript_response", "ack", "log", "handshake"]), JSON)
def test_events(eventful, data, kind, value):
    page, listeners = eventful
    message = {**data.draw(st.sampled_from(listeners)), "args": value} if kind == "event" else value
    page.evaluate(SEND, [kind, message])
    address = "/".join(page.url.split("/")[:3])
    with urllib.request.urlopen(f"{address}/health", timeout=SLOWEST_MS / 1000) as answer:
        assert answer.status == 200


def test_a_page_is_whole_after_events_of_all_kinds(eventful):
    page, _ = eventful
    page.goto(f"{'/'.join(page.url.split('/')[:3])}/?tab=Products")
    expect(page.locator("[aria-label=Score]").first).to_be_visible()
