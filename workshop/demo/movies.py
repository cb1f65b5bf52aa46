"""The tab of films: a wish or films that are liked, filters, weights, results with reasons, and the reasons' graph."""

from __future__ import annotations

from dataclasses import dataclass, field

from nicegui import ui

from workshop.demo.neighbours import around, kind_of
from workshop.demo.network import Link, Network, NetworkView, Node
from workshop.demo.parts import (
    TYPING_PAUSE_MS,
    Latest,
    Missing,
    Tab,
    answered,
    heading,
    in_thread,
    missing_models,
    newest_answered,
    note,
    show_reasons,
    weight_slider,
    without_vectors,
)
from workshop.demo.services import Services
from workshop.recommend.connections import MOVIES_REMEDY
from workshop.recommend.movie_terms import TERMS, WISH_WEIGHTS, Weights
from workshop.recommend.movies import MovieFilters
from workshop.recommend.recommendation import Recommendation
from workshop.store.queries import run_query
from workshop.text.signatures import SENTENCE_BERT

EXAMPLE = "a heist that goes wrong in winter"
REASONS_DRAWN = 3
WISH_NODE = "wish"
_HIGHEST_WEIGHT, _MOST_EVIDENCE = 2.0, 20.0


def missing(services: Services) -> list[Missing]:
    """The films with their vectors, and the model that reads the wish."""
    traced = 'make run NOTEBOOKS="01"  (notebook 01 traces it)'
    return [
        *without_vectors(services.database(), services.movie_collections.movies, MOVIES_REMEDY),
        *missing_models(services, [SENTENCE_BERT.name], traced),
    ]


@dataclass
class Taste:
    """What one browser asked: title by key of what was liked and disliked, and the weights once they were moved."""

    wish: str = ""
    liked: dict[str, str] = field(default_factory=dict)
    disliked: dict[str, str] = field(default_factory=dict)
    filters: MovieFilters = field(default_factory=MovieFilters)
    weights: dict[str, float] = field(default_factory=dict)

    def all_weights(self) -> Weights:
        """The defaults that fit, and what was moved."""
        usual = Weights() if self.liked else WISH_WEIGHTS
        return Weights(**{**vars(usual), **self.weights})


class MoviesTab:
    """The tab on one browser's page."""

    def __init__(self, services: Services) -> None:
        self._services, self._collections = services, services.movie_collections
        self.taste = Taste(wish=EXAMPLE)
        self._latest, self._moved = Latest(), Latest()
        self._sliders: dict[str, ui.slider] = {}

    async def build(self) -> None:
        """Draw it with the example's results."""
        facets = (await in_thread(self._collections.query, self._services.database(), "movie_facets"))[0]
        with ui.column().classes("card gap-3"):
            heading("What would you like to watch?")
            wish = ui.input("A wish in plain words", value=EXAMPLE, on_change=self._wished)
            wish.props(f"outlined clearable debounce={TYPING_PAUSE_MS}").classes("w-full").on(
                "keydown.enter", self.search
            )
            with ui.element("div").classes("filters"):
                self._filter("Genre", "genre", facets["genres"])
                self._filter("Language", "language", facets["languages"])
                self._year("From year", "year_from")
                self._year("To year", "year_to")
            with ui.expansion("How much each reason counts", icon="tune").classes("w-full"):
                note("0 switches a reason off. Most of them need a film that you like.")
                with ui.row().classes("w-full gap-x-6 gap-y-0"):
                    for name in TERMS:
                        self._slider(name, _HIGHEST_WEIGHT)
                note("Keyword evidence: so many films must have a keyword before it counts half.")
                self._slider("keyword_evidence", _MOST_EVIDENCE)
            self._tastes = ui.column().classes("w-full gap-1")
        self._results = ui.column().classes("w-full gap-3").props('aria-live=polite aria-label="Results"')
        await self.search()

    # --- what is asked ------------------------------------------------------------------------------------------
    def _filter(self, label: str, name: str, options: list[str]) -> None:
        choice = ui.select({"": "any", **{each: each for each in options}}, label=label, value="")
        choice.props("outlined dense options-dense")
        choice.on_value_change(lambda event: self._restrict(name, event.value or None))

    def _year(self, label: str, name: str) -> None:
        year = ui.number(label, min=1880, max=2100, precision=0, format="%d")
        year.props(f"outlined dense clearable debounce={TYPING_PAUSE_MS}")
        year.on_value_change(lambda event: self._restrict(name, None if event.value is None else int(event.value)))

    def _slider(self, name: str, highest: float) -> None:
        usual = getattr(WISH_WEIGHTS, name)
        self._sliders[name] = weight_slider(name, usual, highest, lambda value: self._weigh(name, value))

    async def _restrict(self, name: str, value: str | int | None) -> None:
        self.taste.filters = MovieFilters(**{**vars(self.taste.filters), name: value})
        await self.search()

    async def _weigh(self, name: str, value: float) -> None:
        if value == getattr(self.taste.all_weights(), name):  # set to what it weighs anyway, as after a like
            return
        self.taste.weights[name] = value
        if await self._moved.rests():
            await self.search()

    async def _wished(self, event: ui.events.ValueChangeEventArguments) -> None:
        self.taste.wish = event.value or ""
        await self.search()

    async def _judge(self, movie: Recommendation, into: dict[str, str]) -> None:
        self.taste.liked.pop(movie.key, None), self.taste.disliked.pop(movie.key, None)
        into[movie.key] = movie.title
        await self.search()

    async def _forget(self, key: str) -> None:
        self.taste.liked.pop(key, None), self.taste.disliked.pop(key, None)
        await self.search()

    # --- what is found ------------------------------------------------------------------------------------------
    async def search(self) -> None:
        """Ask again, and show the answer unless something newer was asked meanwhile."""
        taste, is_newest = self.taste, self._latest.begin()
        self._show_taste()
        if not taste.wish.strip() and not taste.liked:
            self._results.clear()
            with self._results:
                note("Describe a film in a few words, or like one, and results appear here.")
            return
        found = await newest_answered(is_newest, self._results, self.ask)
        if found is not None:
            self._results.clear()
            with self._results:
                self._show(*found)

    def ask(self) -> tuple[list[Recommendation], Network]:
        """The films for the taste, and what they share; blocks.

        Raises:
            WorkshopError: as :meth:`workshop.recommend.movies.MovieRecommender.recommend`.
        """
        taste = self.taste
        found = self._services.movies.recommend(
            taste.wish,
            liked=list(taste.liked),
            disliked=list(taste.disliked),
            filters=taste.filters,
            weights=taste.all_weights(),
        )
        return found, self._network(found)

    def _show_taste(self) -> None:
        for name, slider in self._sliders.items():
            slider.set_value(getattr(self.taste.all_weights(), name))
        self._tastes.clear()
        with self._tastes:
            for said, films in (("Liked", self.taste.liked), ("Disliked", self.taste.disliked)):
                if films:
                    with ui.row().classes("items-center gap-2"):
                        ui.label(said).classes("soft")
                        for key, title in films.items():
                            chip = ui.chip(title, removable=True, color="transparent").props("outline")
                            chip.on("remove", lambda _, key=key: self._forget(key))

    def _show(self, found: list[Recommendation], network: Network) -> None:
        if not found:
            note("Nothing that passes the filters comes near this wish. Say it in other words, or relax a filter.")
            return
        with ui.row().classes("w-full items-start gap-4"):
            with ui.column().classes("gap-3 grow").style("flex-basis: 24rem"):
                for movie in found:
                    self._card(movie)
            with ui.column().classes("card gap-1 grow").style("flex-basis: 24rem; position: sticky; top: 4.5rem"):
                heading("Why these")
                self._graph_errors = ui.column().classes("w-full")
                NetworkView(network, self._around)

    def _card(self, movie: Recommendation) -> None:
        with ui.row().classes("card items-start no-wrap gap-3"):
            with ui.column().classes("gap-1 grow min-w-0"):
                ui.label(f"{movie.title} ({movie.facts['year'] or 'year unknown'})").classes("title wrap")
                note(f"{', '.join(movie.facts['genres']) or 'no genre'} · {movie.facts['language']}")
                show_reasons(movie)
            with ui.column().classes("gap-1 items-end"):
                ui.label(f"{movie.score:.2f}").classes("title").props('aria-label="Score"')
                for icon, said, into in (
                    ("thumb_up", "Like", self.taste.liked),
                    ("thumb_down", "Dislike", self.taste.disliked),
                ):
                    button = ui.button(icon=icon, on_click=lambda into=into: self._judge(movie, into))
                    button.props("flat round dense").props["aria-label"] = f"{said} {movie.title}"

    def _network(self, found: list[Recommendation]) -> Network:
        """What the results share, with what was liked or among themselves; the wish leads to all of them."""
        films = {self._id(key): title for key, title in self.taste.liked.items()}
        network = Network()
        network.add([Node(film, title, "start") for film, title in films.items()], [])
        results = [Node(self._id(movie.key), movie.title, self._collections.movies) for movie in found]
        network.add(results, [])
        if wish := self.taste.wish.strip():
            network.add([Node(WISH_NODE, wish, "start")], [Link(WISH_NODE, node.id, "by text") for node in results])
        shared = {reason.name for movie in found for reason in movie.shared[:REASONS_DRAWN]}
        names = shared or {genre for movie in found for genre in movie.facts["genres"]}
        bind_vars = {"movies": [*films, *(node.id for node in results)], "names": sorted(names)}
        rows = run_query(
            self._services.database(), "movie_reason_links", {**bind_vars, "graph": self._collections.graph}
        )
        things = [Node(row["id"], row["name"], kind_of(row["id"])) for row in rows]
        network.add(things, [Link(row["movie"], row["id"]) for row in rows])
        return network

    async def _around(self, node_id: str) -> tuple[list[Node], list[Link]] | None:
        if node_id == WISH_NODE:
            return [], []
        database, graph = self._services.database(), self._collections.graph
        return await answered(self._graph_errors, around, database, graph, node_id)

    def _id(self, key: str) -> str:
        return f"{self._collections.movies}/{key}"


TAB = Tab("Movies", "movie", missing, lambda services: MoviesTab(services).build())
