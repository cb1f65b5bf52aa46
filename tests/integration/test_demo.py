"""The demo in headless Chromium, on the real tritonserver and the real store."""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.request

import pytest
from demo_world import PHONE, running_demo, screen
from movie_world import fresh_database
from pictures import encoded, noise
from playwright.sync_api import Page, expect, sync_playwright

from scripts.check_docs import find_chromium
from workshop.data.images import sample_photos
from workshop.data.movies import load_movies
from workshop.data.products import load_products
from workshop.graph.checkpoint import save_model
from workshop.graph.product_training import CONFIGS, about_training
from workshop.graph.sampling import CSRGraph
from workshop.graph.served import trace_checkpoint
from workshop.graph.signature import GRAPHSAGE_PRODUCTS
from workshop.graph.training import fit
from workshop.recommend.movie_graph import MOVIES, load_movie_graph
from workshop.recommend.product_graph import embed_catalogue, load_product_graph
from workshop.settings import load_settings
from workshop.store.embeddings import embed_collection
from workshop.text.embedder import TextEmbedder
from workshop.text.prepare import prepare_sentence_bert, prepare_zero_shot
from workshop.triton.artefact import served_sidecar
from workshop.triton.client import TritonClient
from workshop.vision.prepare import prepare_image_classifier

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed here")

DATABASE = "demo"
MODELS = (
    *("sentence_bert", "zero_shot_tokenizer", "zero_shot", "zero_shot_text"),
    *("image_classifier", GRAPHSAGE_PRODUCTS.name),
)
TABS = ("Movies", "Products", "Text", "Images", "Chat", "Graph", "Server")
SCRIPT = '<img src=x onerror="window.hacked=1;alert(1)"><script>window.hacked=1;alert(1)</script>\'"{{7*7}}'
LONG = "winter " * 1430  # 10,010 characters
RESULT = "[aria-label=Score]"
WAIT_MS = 60_000
FOCUS_RING = """() => {
    const focused = document.activeElement;
    return getComputedStyle(focused.closest('.q-field__control') || focused).boxShadow;
}"""
expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="module")
def world(local_stack, local_store, hub, tmp_path_factory):
    """Settings of servers with every model and collection that the demo shows, on tiny data."""
    settings = local_stack.model_copy(
        update={
            "stack_dir": local_store.stack_dir,
            "arango_port": local_store.arango_port,
            "arango_database": DATABASE,
            "data_size": "tiny",
            "data_dir": load_settings().data_dir,
        }
    )
    prepare_sentence_bert(settings), prepare_zero_shot(settings), prepare_image_classifier(settings)
    products = load_products(load_settings(data_dir=tmp_path_factory.mktemp("data")), "tiny")
    model = fit(products.to_data(), CONFIGS["tiny"].__class__(**{**vars(CONFIGS["tiny"]), "max_epochs": 2})).model
    checkpoint = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_model(checkpoint, model, about_training(products, {}, 2))
    csr = CSRGraph.from_edge_index(products.edge_index, products.num_products)
    version = trace_checkpoint(checkpoint, products.x, csr, settings.model_repository).version_name
    with TritonClient.from_settings(settings) as client:
        for name in MODELS:
            client.load_model(name)
        client.wait_ready(*MODELS)
        films = fresh_database(settings, DATABASE)
        load_movie_graph(films, load_movies(settings, "tiny"))
        embed = TextEmbedder(client)
        name = served_sidecar(settings.model_repository, embed.model).version_name
        embed_collection(films, MOVIES, embed, model_version=name, dimension=embed.width)
        goods = fresh_database(settings, f"{DATABASE}_tiny")
        load_product_graph(goods, products)
        embed_catalogue(goods, client, products, model_version=version)
    return settings


@pytest.fixture(scope="module")
def demo(world):
    with running_demo(world) as demo:
        yield demo


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def nothing_runs_that_was_typed(request):
    """After each test: no page ran a script that came in as text, and none asked another machine for anything."""
    demo = request.getfixturevalue("demo") if "demo" in request.fixturenames else None
    yield
    if demo:
        said, demo.said = demo.said, []
        assert said == []
        assert {each.partition(":")[0] for each in demo.requests} <= {"127.0.0.1", ""}


def titles(page: Page) -> list[str]:
    """Titles of the films that are shown."""
    return page.locator(".card .title.wrap").all_inner_texts()


def wish(page: Page, words: str) -> None:
    page.get_by_label("A wish in plain words").fill(words)


# --- each tab's main action -----------------------------------------------------------------------------------
def test_movies_answer_a_wish_filter_learn_and_explain_themselves(demo, browser):
    with demo.page(browser, "Movies") as page:
        expect(page.locator(RESULT).first).to_be_visible()
        before = titles(page)
        wish(page, "robots and spaceships in the far future")
        expect(page.locator(".card .title.wrap").first).not_to_have_text(before[0])
        expect(page.locator(".card", has_text="similarity").first).to_be_visible()
        page.get_by_label("From year").fill("2009")
        expect(page.locator(".card .title.wrap", has_text=re.compile(r"\((19|200[0-8])"))).to_have_count(0)
        first = titles(page)[0].rpartition(" (")[0]
        page.get_by_role("button", name=f"Like {first}", exact=True).click()
        expect(page.locator(".q-chip", has_text=first)).to_be_visible()
        expect(page.locator(".card", has_text=re.compile("era|actor|keyword|genre")).first).to_be_visible()
        expect(page.locator(".card .title.wrap", has_text=re.compile(rf"^{re.escape(first)} \("))).to_have_count(0)
        disliked = titles(page)[0].rpartition(" (")[0]
        page.get_by_role("button", name=f"Dislike {disliked}", exact=True).click()
        expect(page.locator(".soft", has_text="Disliked")).to_be_visible()
        expect(page.locator(".card .title.wrap", has_text=re.compile(rf"^{re.escape(disliked)} \("))).to_have_count(0)
        screen(page, "movies")
        drawn = page.get_by_text(re.compile(r"^\d+ nodes, \d+ links"))
        expect(drawn).to_contain_text("click a node")
        page.locator(".network path[fill='#2f6f6a']").nth(1).click(force=True)
        expect(drawn).to_contain_text(re.compile(r"\d+ new"))


def test_a_weight_that_is_moved_changes_the_score(demo, browser):
    with demo.page(browser, "Movies") as page:
        first = page.locator(RESULT).first
        expect(first).to_be_visible()
        before = first.inner_text()
        page.get_by_text("How much each reason counts").click()
        for _ in range(4):
            page.locator("[aria-label='Weight of liking'] [tabindex='0']").press("ArrowRight")
        expect(first).not_to_have_text(before)


def test_products_show_what_goes_together_and_a_new_one_is_recommended_at_once(demo, browser):
    with demo.page(browser, "Products") as page:
        expect(page.locator(RESULT).first).to_be_visible()
        chosen = page.locator("main .title.wrap, .title.wrap").first.inner_text()
        page.get_by_role("button", name=f"Link the new product to {chosen}", exact=True).click()
        page.get_by_label("Title of the new product").fill("A thing nobody has seen")
        page.get_by_role("button", name="Add it").click()
        said = page.get_by_text(re.compile("recommended after"))
        expect(said).to_be_visible()
        assert float(re.search(r"after ([\d.]+) s", said.inner_text())[1]) < 5, (
            "a second on a quiet machine, which the benchmark measures"
        )
        expect(page.locator(".title.wrap").first).to_have_text("A thing nobody has seen")
        expect(page.get_by_role("button", name=chosen, exact=True).last).to_be_visible()
        screen(page, "products")
        page.get_by_label("Part of a product's title").fill("nobody has seen")
        expect(page.get_by_role("button", name="A thing nobody has seen")).to_be_visible()
        page.get_by_role("button", name="Remove it again").click()
        expect(page.get_by_role("button", name="A thing nobody has seen")).to_have_count(0)


def test_texts_are_classified_by_labels_of_the_moment(demo, browser):
    with demo.page(browser, "Text") as page:
        page.get_by_label("A text").fill("Two goals in the last minute won us the cup")
        page.get_by_label("Your labels").fill("cooking, football, astronomy")
        page.get_by_label("Your labels").press("Enter")
        expect(page.locator(".card .title.wrap").first).to_have_text("football")
        screen(page, "text")


def test_a_picture_is_classified_and_what_is_none_is_refused(demo, browser, tmp_path):
    cat = next(photo for photo in sample_photos() if photo.name == "cat")
    broken = tmp_path / "broken.png"
    broken.write_bytes(encoded(noise())[:200])
    words = tmp_path / "words.png"
    words.write_bytes(b"not a picture at all")
    with demo.page(browser, "Images") as page:
        chooser = page.locator("input[type=file]")
        expect(chooser).to_be_attached()
        chooser.set_input_files(cat.path)
        expect(page.locator(".card .title.wrap").first).to_have_text(re.compile("|".join(cat.labels)))
        screen(page, "images")
        for file, said in ((words, "not a picture"), (broken, "damaged or truncated")):
            chooser.set_input_files(file)
            expect(page.get_by_role("alert")).to_contain_text(said)
        chooser.set_input_files(cat.path)
        expect(page.get_by_role("alert")).to_have_count(0)


def test_a_conversation_comes_piece_by_piece_and_can_be_stopped(demo, browser):
    with demo.page(browser, "Chat") as page:
        page.get_by_label("Your message").fill("Hello")
        page.get_by_label("Your message").press("Enter")
        answer = page.locator(".said.assistant").first
        expect(page.locator(".said.user")).to_have_text("Hello")
        expect(answer).not_to_have_text("…")
        page.locator("button", has_text="Stop").dispatch_event("click")  # also where the answer has just ended
        expect(page.get_by_role("button", name="Send")).to_be_visible()
        said = answer.inner_text()
        page.get_by_label("Your message").fill("And now?")
        page.get_by_role("button", name="Send").click()
        expect(page.locator(".said.assistant").nth(1)).not_to_have_text("…")
        assert answer.inner_text() == said, "an answer that was stopped stays as it is"


def test_the_console_shows_tables_json_and_pictures(demo, browser):
    with demo.page(browser, "Graph") as page:
        page.get_by_label("An example").click()
        page.get_by_role("option", name="Everything around one film, as a graph").click()
        page.get_by_role("button", name="Run").click()
        drawn = page.get_by_text(re.compile(r"^\d+ nodes, \d+ links"))
        expect(drawn).to_be_visible()
        page.locator(".network").scroll_into_view_if_needed()
        screen(page, "graph")
        page.get_by_role("tab", name="JSON").click()
        expect(page.locator(".json")).to_contain_text('"_id": "movies/')
        expect(page.locator(".json")).to_contain_text("384 numbers")
        page.get_by_label("AQL", exact=True).fill("FOR i IN 1..3 RETURN { i, square: i * i }")
        page.get_by_label("AQL", exact=True).press("Control+Enter")
        expect(page.locator(".q-table tbody tr").last).to_contain_text("9")
        page.get_by_label("AQL", exact=True).fill("FOR m IN movies REMOVE m IN movies")
        page.get_by_role("button", name="Run").click()
        expect(page.get_by_role("alert")).to_contain_text("may read only")
        page.get_by_label("AQL", exact=True).fill("FOR i IN 1..1000 RETURN i")
        page.get_by_role("button", name="Run").click()
        expect(page.get_by_text("200 rows, the first 200 of more")).to_be_visible()


def test_the_server_is_watched_live(demo, browser, world):
    with demo.page(browser, "Server") as page, TritonClient.from_settings(world) as client:
        row = page.locator("tr", has_text="sentence_bert").first
        expect(row).to_contain_text("READY")
        embed = TextEmbedder(client)
        answered = int(row.locator("td").nth(7).inner_text().replace(",", ""))
        embed(["one", "two"])
        expect(row.locator("td").nth(7)).to_have_text(f"{answered + 1:,}", timeout=10_000)
        screen(page, "server")


# --- bad input ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("typed", [SCRIPT, LONG, ""], ids=["script", "long", "empty"])
def test_hostile_input_in_every_field_gets_a_clear_answer(demo, browser, typed):
    with demo.page(browser, "Movies") as page:
        expect(page.locator(RESULT).first).to_be_visible()
        wish(page, typed)
        answers = {SCRIPT: "results|near this wish|similarity", LONG: "characters", "": "Describe a film"}
        expect(page.get_by_text(re.compile(answers[typed])).first).to_be_visible()

        page.get_by_role("tab", name="Products").click()
        page.get_by_label("Part of a product's title").fill(typed or " ")
        if typed:
            expect(page.get_by_text("No product's title holds this")).to_be_visible()
        page.get_by_label("Title of the new product").fill(typed)
        page.get_by_role("button", name="Add it").click()
        expect(page.get_by_role("alert")).to_contain_text("no links" if typed == SCRIPT else "characters, expected")

        page.get_by_role("tab", name="Text").click()
        for label in ("A text", "Your labels"):
            page.get_by_label(label).fill(typed)
        page.get_by_role("button", name="Classify").click()
        if typed == SCRIPT:
            expect(page.locator(".title.wrap", has_text="window.hacked").last).to_be_visible()
        else:
            expect(page.get_by_role("alert").last).to_contain_text("expected")

        page.get_by_role("tab", name="Chat").click()
        page.get_by_label("Your message").fill(typed)
        page.get_by_role("button", name="Send").click()
        if typed == SCRIPT:
            expect(page.locator(".said.user")).to_have_text(SCRIPT)
        else:
            expect(page.get_by_role("alert").last).to_contain_text("characters, expected 1 to")

        page.get_by_role("tab", name="Graph").click()
        page.get_by_label("AQL", exact=True).fill(typed)
        page.get_by_role("button", name="Run").click()
        expect(page.get_by_role("alert").last).to_contain_text(re.compile("blank|error 15"))
        assert page.evaluate("window.hacked") is None


def test_texts_of_the_store_are_shown_as_texts(demo, browser):
    with demo.page(browser, "Graph") as page:
        page.get_by_label("AQL", exact=True).fill(
            f"RETURN {{ _id: 'x/1', title: {SCRIPT.replace(chr(39), '')!r}, `{'<b>name</b>'}`: 1 }}"
        )
        page.get_by_role("button", name="Run").click()
        expect(page.locator(".q-table tbody")).to_contain_text("<script>window.hacked=1")
        page.get_by_role("tab", name="Picture").click()
        page.locator(".network path[fill='#8a9492']").first.hover(force=True)
        assert page.evaluate("window.hacked") is None


# --- several, small, by keyboard ------------------------------------------------------------------------------
def test_two_browsers_do_not_mix(demo, browser):
    with demo.page(browser, "Movies") as one, demo.page(browser, "Movies") as other:
        for page in (one, other):
            expect(page.locator(RESULT).first).to_be_visible()
        shown = titles(other)
        wish(one, "a boxer fights for his title")
        expect(one.locator(".card .title.wrap").first).not_to_have_text(shown[0])
        first = titles(one)[0].rpartition(" (")[0]
        one.get_by_role("button", name=f"Like {first}", exact=True).click()
        expect(one.locator(".q-chip")).to_have_count(1)
        assert titles(other) == shown
        expect(other.locator(".q-chip")).to_have_count(0)


@pytest.mark.parametrize("tab", TABS)
def test_a_phone_shows_all_of_it_in_both_modes(demo, browser, tab):
    with demo.page(browser, tab, viewport=PHONE, color_scheme="dark", has_touch=True) as page:
        expect(page.locator(".heading").first).to_be_visible()
        if tab in ("Movies", "Products"):
            expect(page.locator(RESULT).first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        expect(page.locator("body")).to_have_class(re.compile("body--dark"))
        screen(page, f"phone_dark_{tab.lower()}")


def test_the_keyboard_suffices(demo, browser):
    with demo.page(browser, "Text") as page:
        expect(page.get_by_label("A text")).to_be_visible()
        page.get_by_role("tab", name="Text").focus()
        rings = []
        for _ in range(5):  # to the last field and the button
            page.keyboard.press("Tab")
            rings.append(page.evaluate(FOCUS_RING))
        assert "none" not in rings, "where the focus is can be seen"
        page.get_by_role("button", name="Classify").focus()
        page.keyboard.press("Enter")
        expect(page.locator(".card .title.wrap").first).to_be_visible()


# --- servers that are away ------------------------------------------------------------------------------------
def test_what_is_missing_is_named_with_what_makes_it(demo, browser, world):
    with TritonClient.from_settings(world) as client:
        client.unload_model("image_classifier")
        with demo.page(browser, "Images") as page:
            expect(page.get_by_text("Model image_classifier is not served")).to_be_visible()
            expect(page.get_by_text('make run NOTEBOOKS="08"')).to_be_visible()
            page.get_by_role("button", name="Load image_classifier").click()
            expect(page.locator("input[type=file]")).to_be_attached()


def test_a_server_that_stops_under_way_is_said_and_its_return_noticed(demo, browser):
    with demo.page(browser, "Server") as watched, demo.page(browser, "Chat") as page:
        expect(watched.locator("tr", has_text="sentence_bert").first).to_be_visible()
        page.get_by_label("Your message").fill("Hello")
        page.get_by_label("Your message").press("Enter")
        expect(page.locator(".said.assistant").first).not_to_have_text("…")
        demo.lines["triton"].cut(), demo.lines["metrics"].cut()
        try:
            expect(watched.get_by_role("alert")).to_be_visible()
            expect(page.get_by_role("button", name="Send")).to_be_visible()
            page.get_by_label("Your message").fill("Are you there?")
            page.get_by_role("button", name="Send").click()
            expect(page.get_by_role("alert").last).to_contain_text("Try:")
            for tab in ("Movies", "Products", "Text", "Images"):
                page.goto(f"{demo.url}/?tab={tab}")
                expect(page.get_by_role("alert")).to_be_visible()
                expect(page.get_by_role("button", name="Look again")).to_be_visible()
            screen(page, "triton_away")
        finally:
            demo.lines["triton"].mend(), demo.lines["metrics"].mend()
        expect(watched.get_by_role("alert")).to_have_count(0)
        chooser, again = page.locator("input[type=file]"), page.locator("button", has_text="Look again")
        deadline = time.monotonic() + WAIT_MS / 1000
        while not chooser.count() and time.monotonic() < deadline:  # gRPC waits a moment before it connects again
            for button in again.all():
                button.dispatch_event("click")
            page.wait_for_timeout(500)
        expect(page.locator("input[type=file]")).to_be_attached()


def test_a_store_that_is_away_is_said_in_each_tab_that_needs_it(demo, browser):
    with demo.page(browser, "Graph") as page, demo.page(browser, "Movies") as films:
        expect(page.get_by_role("button", name="Run")).to_be_visible()
        expect(films.locator(RESULT).first).to_be_visible()
        demo.lines["store"].cut()
        try:
            page.get_by_role("button", name="Run").click()
            expect(page.get_by_role("alert")).to_contain_text("make up")
            wish(films, "a dog finds its way home")
            expect(films.get_by_role("alert")).to_contain_text("make up")
            for tab in ("Movies", "Products", "Graph"):
                page.goto(f"{demo.url}/?tab={tab}")
                expect(page.get_by_role("alert")).to_contain_text("make up")
        finally:
            demo.lines["store"].mend()
        page.get_by_role("button", name="Look again").click()
        expect(page.get_by_role("button", name="Run")).to_be_visible()
        wish(films, "robots and spaceships in the far future")  # which the small catalogue has
        expect(films.locator(RESULT).first).to_be_visible()


def test_a_foreign_name_that_leads_here_is_refused(demo):
    request = urllib.request.Request(f"{demo.url}/", headers={"Host": "elsewhere.example"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request, timeout=10)
