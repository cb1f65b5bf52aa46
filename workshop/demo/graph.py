"""The tab of the graph: a console for AQL that reads only, with its answer as table, JSON and picture."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from nicegui import ui

from workshop.demo.neighbours import around, graph_of, kind_of
from workshop.demo.network import Link, Network, NetworkView, Node
from workshop.demo.parts import Latest, Missing, Tab, answered, heading, newest_answered, note
from workshop.demo.services import Services
from workshop.recommend.movie_graph import MovieCollections
from workshop.store.connection import server_name
from workshop.store.read_only import Found, Limits, read_only_query

LIMITS = Limits()
LONGEST_CELL, LONGEST_JSON, LONGEST_LIST = 160, 50_000, 8
EXAMPLES = {
    "What is in this database": "RETURN COLLECTIONS()[* FILTER LEFT(CURRENT.name, 1) != '_' RETURN CURRENT.name]",
    "The films that most people voted for": """FOR movie IN @@movies
  SORT movie.vote_count DESC
  LIMIT 10
  RETURN { title: movie.title, year: movie.year, votes: movie.vote_count }""",
    "Everything around one film, as a graph": """FOR movie IN @@movies
  SORT movie.vote_count DESC
  LIMIT 1
  FOR neighbour, link IN 1..1 ANY movie GRAPH "@@movie_graph"
    LIMIT 40
    RETURN { neighbour, link, movie }""",
    "Actors who played together most often": """FOR movie IN @@movies
  LET cast = (FOR person IN 1..1 INBOUND movie @@acted_in SORT person._key LIMIT 8 RETURN person.name)
  FOR one IN cast
    FOR other IN cast
      FILTER one < other
      COLLECT pair = [one, other] WITH COUNT INTO films
      SORT films DESC
      LIMIT 10
      RETURN { pair, films }""",
    "Films per decade": """FOR movie IN @@movies
  FILTER movie.year != null
  COLLECT decade = 10 * FLOOR(movie.year / 10) WITH COUNT INTO films
  SORT decade
  RETURN { decade, films }""",
    "Products bought together, two steps from the best connected": """FOR product IN products
  SORT product.co_purchases DESC
  LIMIT 1
  FOR neighbour, link IN 1..2 ANY product bought_together
    LIMIT 40
    RETURN { neighbour, link, product }""",
}
"""``@@`` stands before what a catalogue of films has under a name of its own."""


def missing(services: Services) -> list[Missing]:
    """Nothing but a store that answers; an empty one is a fine place for ``RETURN 1``."""
    server_name(services.database())
    return []


def examples(films: MovieCollections) -> dict[str, str]:
    """The queries to begin with, on the films of these collections."""
    return {name: re.sub(r"@@(\w+)", lambda part: films.name(part[1]), text) for name, text in EXAMPLES.items()}


# --- answers as they are shown ----------------------------------------------------------------------------------
def shortened(value: Any) -> Any:
    """A value with long lists of numbers, such as embeddings, cut to their first few."""
    if isinstance(value, dict):
        return {name: shortened(part) for name, part in value.items()}
    if isinstance(value, list):
        if len(value) > LONGEST_LIST and all(isinstance(part, int | float) for part in value):
            return [*value[:LONGEST_LIST], f"... {len(value)} numbers"]
        return [shortened(part) for part in value]
    return value


def table_of(rows: list[Any]) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of texts; results that are no objects go into one column."""
    objects = [row if isinstance(row, dict) else {"value": row} for row in shortened(rows)]
    names = list(dict.fromkeys(name for row in objects for name in row))
    return names, [
        {"#": str(number), **{name: _cell(row.get(name, "")) for name in names}}
        for number, row in enumerate(objects, start=1)
    ]


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_CELL else f"{text[:LONGEST_CELL]}…"


def network_of(rows: list[Any]) -> Network:
    """The vertices and edges anywhere in the results, and the ends of the edges."""
    network = Network()
    documents = list(_documents(rows))
    edges = [document for document in documents if "_from" in document and "_to" in document]
    network.add(
        (
            Node(each["_id"], str(each.get("title") or each.get("name") or each["_id"]), kind_of(each["_id"]))
            for each in documents
            if "_from" not in each
        ),
        [],
    )
    ends = [end for edge in edges for end in (edge["_from"], edge["_to"])]
    network.add((Node(end, end, kind_of(end)) for end in ends), [])
    network.add([], (Link(edge["_from"], edge["_to"], kind_of(edge["_id"])) for edge in edges))
    return network


def _documents(value: Any) -> Iterator[dict[str, Any]]:
    """Every object with a text as ``_id``; a query may call anything by these names."""
    if isinstance(value, dict):
        if all(isinstance(value.get(name, ""), str) for name in ("_id", "_from", "_to")) and value.get("_id"):
            yield value
        for part in value.values():
            yield from _documents(part)
    elif isinstance(value, list):
        for part in value:
            yield from _documents(part)


# --- the tab --------------------------------------------------------------------------------------------------
class GraphTab:
    """The tab on one browser's page."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._latest = Latest()

    async def build(self) -> None:
        """Draw it."""
        with ui.column().classes("card gap-3"):
            heading("Ask the store in AQL")
            note(
                f"Queries read and change nothing, run for at most {LIMITS.seconds:g} s, and show up to {LIMITS.rows} "
                "rows. The store itself sees to that."
            )
            queries = examples(self._services.movie_collections)
            example = ui.select(list(queries), label="An example", value=next(iter(queries)))
            example.props("outlined dense").classes("w-full")
            self._query = ui.textarea("AQL", value=queries[example.value])
            self._query.props("outlined autogrow spellcheck=false").classes("w-full mono")
            example.on_value_change(lambda event: self._query.set_value(queries[event.value]))
            self._query.on("keydown.ctrl.enter", self._run)
            with ui.row().classes("items-center gap-3"):
                self._button = ui.button("Run", icon="play_arrow", on_click=self._run)
                note("or Ctrl+Enter")
        self._results = ui.column().classes("w-full gap-3").props("aria-live=polite")

    async def _run(self) -> None:
        is_newest = self._latest.begin()  # Ctrl+Enter runs it again while the button is off
        self._button.disable()
        try:
            database, query = self._services.database(), self._query.value or ""
            found = await newest_answered(is_newest, self._results, read_only_query, database, query, limits=LIMITS)
        finally:
            self._button.enable()
        if found is None:
            return
        self._results.clear()
        with self._results, ui.column().classes("card gap-3"):
            self._show(found)

    def _show(self, found: Found) -> None:
        more = f", the first {LIMITS.rows} of more" if found.more else ""
        note(f"{len(found.rows)} rows{more}; {1000 * found.seconds:.0f} ms")
        network = network_of(found.rows)
        with ui.tabs().props("dense align=left no-caps") as views:
            ui.tab("Table"), ui.tab("JSON"), ui.tab("Picture")
        with ui.tab_panels(
            views, value="Picture" if network.links else "Table", animated=False, keep_alive=False
        ).classes("w-full"):
            with ui.tab_panel("Table"):
                names, rows = table_of(found.rows)
                columns = [{"name": name, "label": name, "field": name, "align": "left"} for name in ["#", *names]]
                ui.table(rows=rows, columns=columns, row_key="#", pagination=20).props("flat bordered dense").classes(
                    "w-full"
                )
            with ui.tab_panel("JSON"):
                text = json.dumps(shortened(found.rows), indent=2, ensure_ascii=False)
                ui.label(text if len(text) <= LONGEST_JSON else f"{text[:LONGEST_JSON]}\n... cut").classes("mono json")
            with ui.tab_panel("Picture"):
                if network.nodes:
                    self._errors = ui.column().classes("w-full")
                    NetworkView(network, self._around)
                else:
                    note("No documents with an _id are in the answer, so there is nothing to draw.")

    async def _around(self, node_id: str) -> tuple[list[Node], list[Link]] | None:
        return await answered(self._errors, self._look_around, node_id)

    def _look_around(self, node_id: str) -> tuple[list[Node], list[Link]]:
        database = self._services.database()
        graph = graph_of(database, node_id)
        return around(database, graph, node_id) if graph else ([], [])


TAB = Tab("Graph", "hub", missing, lambda services: GraphTab(services).build())
