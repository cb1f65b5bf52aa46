"""The tab of products: what goes with one, why, and a new product that is recommended at once."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from nicegui import ui

from workshop.demo.neighbours import around
from workshop.demo.network import Link, Network, NetworkView, Node
from workshop.demo.parts import (
    TYPING_PAUSE_MS,
    Latest,
    Missing,
    Slider,
    Tab,
    answered,
    bar,
    elided,
    heading,
    missing_models,
    newest_answered,
    note,
    show_reasons,
    weight_slider,
    without_vectors,
)
from workshop.demo.services import Services
from workshop.errors import DataInvalidError
from workshop.graph.signature import PRODUCTS_MODEL
from workshop.recommend.connections import PRODUCTS_REMEDY
from workshop.recommend.live_products import LiveProduct, NewProduct, add_product, remove_product
from workshop.recommend.product_graph import PRODUCT_COLLECTIONS
from workshop.recommend.products import Explanation, ProductWeights
from workshop.recommend.recommendation import Recommendation
from workshop.triton.artefact import served_sidecar

FOUND, SHOWN, EXPLAINED = 8, 8, 4
LONGEST_TITLE = 200
KEY_PREFIX = "demo-"
_HIGHEST_WEIGHT = 1.0


def missing(services: Services) -> list[Missing]:
    """The catalogue with its vectors, and the graph model."""
    traced = 'make run NOTEBOOKS="03 04"  (notebook 04 traces it)'
    return [
        *without_vectors(services.products_database, PRODUCT_COLLECTIONS.products, PRODUCTS_REMEDY),
        *missing_models(services, [PRODUCTS_MODEL.name], traced),
    ]


def category_of(product: Mapping[str, Any]) -> str | None:
    """The category of a product's document, or the one that the model gives it; None: it has neither."""
    return product.get("category") or product.get("predicted_category")


def new_product(services: Services, title: str, bought_with: list[str]) -> NewProduct:
    """A product of a title and some co-purchases; its features are the mean of theirs, its category that of most.

    Raises:
        DataInvalidError: no title, too long a one, or no co-purchase.
    """
    title = title.strip()
    if not 1 <= len(title) <= LONGEST_TITLE:
        raise DataInvalidError(f"the title has {len(title):,} characters, expected 1 to {LONGEST_TITLE}")
    if not bought_with:
        raise DataInvalidError("the new product has no links", hint="choose at least one product it is bought with")
    partners = [services.products.product(key) for key in bought_with]
    features = np.array([each["features"] for each in partners], dtype=np.float32).mean(axis=0)
    [(category, _)] = Counter(map(category_of, partners)).most_common(1)
    return NewProduct(f"{KEY_PREFIX}{uuid.uuid4().hex[:12]}", title, features, tuple(bought_with), category)


def add(services: Services, title: str, bought_with: list[str]) -> LiveProduct:
    """Add a product and recommend with it.

    Raises:
        WorkshopError: as :func:`new_product` and :func:`workshop.recommend.live_products.add_product`.
    """
    product = new_product(services, title, bought_with)
    version = served_sidecar(services.settings.model_repository, PRODUCTS_MODEL.name).version_name
    return add_product(services.products_database, services.triton, product, (), model_version=version)


class ProductsTab:
    """The tab on one browser's page."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._latest, self._latest_search, self._moved = Latest(), Latest(), Latest()
        self._key = ""
        self.graph_weight, self.weights = 0.5, ProductWeights()
        self._titles: dict[str, str] = {}  # of everything that was on the page
        self._partners: list[str] = []
        self.bought: list[str] = []

    async def build(self) -> None:
        """Draw it with the best connected product."""
        with ui.column().classes("card gap-3"):
            heading("Bought together with this")
            self._asked = ui.input("Part of a product's title", on_change=self._search)
            self._asked.props(f"outlined clearable debounce={TYPING_PAUSE_MS}").classes("w-full")
            self._asked.on("keydown.enter", self._search)
            self._found = ui.row().classes("w-full gap-2").props('aria-label="Products found"')
            with ui.row().classes("w-full items-center no-wrap gap-3"):
                ui.label("alike").classes("soft")
                slider = Slider(min=0, max=1, step=0.05, value=self.graph_weight)
                slider.props('label aria-label="From likeness of vectors to co-purchases"').classes("grow")
                slider.on_value_change(lambda event: self._weigh(float(event.value)))
                ui.label("bought together").classes("soft")
            with ui.expansion("How much each other reason counts", icon="tune").classes("w-full"):
                note("0 switches a reason off. Repetition is taken off for what you have already.")
                with ui.row().classes("w-full gap-x-6 gap-y-0"):
                    for name, value in vars(self.weights).items():
                        weight_slider(name, value, _HIGHEST_WEIGHT, partial(self._weigh_term, name))
            self._have = ui.row().classes("w-full items-center gap-2")
        with ui.row().classes("w-full items-start gap-4"):
            self._results = ui.column().classes("gap-3 grow").style("flex-basis: 24rem").props("aria-live=polite")
            with ui.column().classes("gap-4 grow").style("flex-basis: 22rem"):
                self._form()
                self._graph = ui.column().classes("w-full gap-1")
        await self._search()
        best = await answered(self._found, self._services.products.find, "", limit=1)
        if best:
            await self._choose(best[0]["key"])

    def _form(self) -> None:
        with ui.column().classes("card gap-2"):
            heading("Add a product")
            note("Link it to some products by the chain beside each; its features and category come from them.")
            title = ui.input("Title of the new product").props("outlined dense").classes("w-full")
            self._chosen = ui.row().classes("w-full gap-1")
            button = ui.button("Add it", icon="add", on_click=lambda: self._add(title.value or "", button))
            title.on("keydown.enter", lambda: self._add(title.value or "", button))
            self._added = ui.column().classes("w-full gap-1").props("aria-live=polite")
        self._show_partners()

    # --- a product and what goes with it ------------------------------------------------------------------------
    async def _search(self) -> None:
        is_newest, text = self._latest_search.begin(), self._asked.value or ""
        rows = await newest_answered(is_newest, self._found, self._services.products.find, text, limit=FOUND)
        if rows is None:
            return
        self._found.clear()
        with self._found:
            if not rows:
                note("No product's title holds this.")
            for row in rows:
                self._titles[row["key"]] = row["title"]
                button = ui.button(elided(row["title"]), on_click=lambda key=row["key"]: self._choose(key))
                button.props("outline dense")

    async def _weigh(self, weight: float) -> None:
        self.graph_weight = weight
        await self._ask_again()

    async def _weigh_term(self, name: str, weight: float) -> None:
        self.weights = replace(self.weights, **{name: weight})
        await self._ask_again()

    async def _ask_again(self) -> None:
        if await self._moved.rests() and self._key:
            await self._choose(self._key)

    async def _own(self, key: str, *, owned: bool) -> None:
        self.bought = [each for each in self.bought if each != key] + [key] * owned
        self._show_bought()
        await self._choose(self._key)

    def _show_bought(self) -> None:
        self._have.clear()
        with self._have:
            if self.bought:
                ui.label("I have").classes("soft")
            for each in self.bought:
                chip = ui.chip(elided(self._titles[each]), removable=True, color="transparent").props("outline")
                chip.on("remove", lambda _, key=each: self._own(key, owned=False))

    async def _choose(self, key: str) -> None:
        self._key, is_newest = key, self._latest.begin()
        found = await newest_answered(is_newest, self._results, self.ask, key)
        if found is None:
            return
        product, recommended, why, network = found
        self._results.clear()
        with self._results:
            self._show(product, recommended, why)
        self._graph.clear()
        with self._graph, ui.column().classes("card gap-1"):
            heading("Its surroundings")
            self._graph_errors = ui.column().classes("w-full")
            NetworkView(network, self._around)

    def ask(self, key: str) -> tuple[dict[str, Any], list[Recommendation], dict[str, Explanation], Network]:
        """A product, what goes with it, why, and their links; blocks.

        Raises:
            WorkshopError: as :meth:`workshop.recommend.products.ProductRecommender.recommend`.
        """
        recommender = self._services.products
        product = recommender.product(key)
        found = recommender.recommend(
            key, graph_weight=self.graph_weight, weights=self.weights, bought=self.bought, limit=SHOWN
        )
        why = {item.key: recommender.explain(key, item.key) for item in found[:EXPLAINED]}
        network = Network()
        ids = PRODUCT_COLLECTIONS.id
        network.add([Node(ids(key), product["title"], "start")], [])
        network.add([Node(ids(item.key), item.title, "products") for item in found], [])
        pairs = recommender.links_among([key, *(item.key for item in found)])
        network.add([], [Link(ids(one), ids(other), "bought together") for one, other in pairs])
        return product, found, why, network

    def _show(self, product: dict[str, Any], found: list[Recommendation], why: dict[str, Explanation]) -> None:
        self._titles[product["_key"]] = product["title"]
        with ui.column().classes("card gap-1"):
            with ui.row().classes("w-full items-start no-wrap"):
                ui.label(product["title"]).classes("title wrap grow")
                self._link_button(product["_key"])
            note(f"{category_of(product) or 'no category'} · {product['co_purchases']} co-purchases")
            if product["_key"].startswith(KEY_PREFIX):
                ui.button("Remove it again", icon="delete", on_click=lambda: self._remove(product["_key"])).props(
                    "flat"
                )
        for item in found:
            self._titles[item.key] = item.title
            with ui.column().classes("card gap-1"):
                with ui.row().classes("w-full items-start no-wrap gap-2"):
                    with ui.column().classes("gap-1 grow min-w-0"):
                        ui.button(item.title, on_click=lambda key=item.key: self._choose(key)).props(
                            "flat dense align=left"
                        ).classes("title")
                        note(item.facts["category"] or "no category")
                    ui.label(f"{item.score:.2f}").classes("title").props('aria-label="Score"')
                    self._have_button(item.key)
                    self._link_button(item.key)
                bar(item.score / max(1.0, found[0].score), f"Score {item.score:.2f}")
                show_reasons(item)
                if item.key in why:
                    note(str(why[item.key]).partition(": ")[2]).classes("wrap")

    def _have_button(self, key: str) -> None:
        if key not in self.bought:
            button = ui.button("I have it", on_click=lambda: self._own(key, owned=True)).props("flat dense no-wrap")
            button.props["aria-label"] = f"I have {self._titles[key]}"

    def _link_button(self, key: str) -> None:
        button = ui.button(icon="add_link", on_click=lambda: self._link(key)).props("flat round dense")
        button.props["aria-label"] = f"Link the new product to {self._titles[key]}"

    async def _around(self, node_id: str) -> tuple[list[Node], list[Link]] | None:
        database, graph = self._services.products_database, PRODUCT_COLLECTIONS.graph
        return await answered(self._graph_errors, around, database, graph, node_id)

    # --- a new product ------------------------------------------------------------------------------------------
    def _link(self, key: str) -> None:
        if key not in self._partners:
            self._partners.append(key)
        self._show_partners()

    def _unlink(self, key: str) -> None:
        self._partners.remove(key)
        self._show_partners()

    def _show_partners(self) -> None:
        self._chosen.clear()
        with self._chosen:
            for key in self._partners:
                chip = ui.chip(elided(self._titles[key]), removable=True, color="transparent").props("outline")
                chip.on("remove", lambda _, key=key: self._unlink(key))
            if not self._partners:
                note("No links yet.")

    async def _add(self, title: str, button: ui.button) -> None:
        if not button.enabled:  # Enter in the field comes by another way
            return
        button.disable()
        partners = list(self._partners)
        try:
            live = await answered(self._added, add, self._services, title, partners)
        finally:
            button.enable()
        if live is None:
            return
        self._titles[live.key] = title.strip()
        self._added.clear()
        with self._added:
            seconds = sum(live.seconds.values())
            note(f"Embedded from {live.neighbourhood[0]} products around it; recommended after {seconds:.2f} s.")
            for partner in partners:
                button = ui.button(f"What goes with {elided(self._titles[partner])}?")
                button.on_click(partial(self._choose, partner)).props("outline dense")
        await self._choose(live.key)

    async def _remove(self, key: str) -> None:
        gone = await answered(self._added, remove_product, self._services.products_database, key)
        if gone is None:
            return
        self._added.clear()
        self._partners = [each for each in self._partners if each != key]
        self.bought = [each for each in self.bought if each != key]
        self._show_partners()
        self._show_bought()
        await self._search()
        if best := await answered(self._results, self._services.products.find, "", limit=1):
            await self._choose(best[0]["key"])


TAB = Tab("Products", "shopping_basket", missing, lambda services: ProductsTab(services).build())
