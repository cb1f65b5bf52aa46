"""What the tabs share: errors in words, what is missing, bars, and calls that leave the event loop free."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from arango.database import StandardDatabase
from nicegui import run, ui
from nicegui.element import Element

from workshop.demo.services import Services
from workshop.errors import WorkshopError, hint_for_here
from workshop.recommend.connections import missing_vectors
from workshop.recommend.recommendation import Reason, Recommendation

Result = TypeVar("Result")

TYPING_PAUSE_MS = 250
SLIDING_PAUSE_SECONDS = 0.15
REASONS_SHOWN = 5


@dataclass(frozen=True)
class Missing:
    """Something a tab needs that is not there.

    Attributes:
        what: in words.
        remedy: what makes it, as a command.
        model: a model that lies in the server's repository and could be loaded now; empty: none.
    """

    what: str
    remedy: str
    model: str = ""


@dataclass(frozen=True)
class Tab:
    """One tab of the page.

    Attributes:
        name: its title.
        icon: of Material's set.
        missing: what it lacks, asked each time it is opened; blocks.
        build: draws it, once for each browser; what it awaits must not block.
    """

    name: str
    icon: str
    missing: Callable[[Services], list[Missing]]
    build: Callable[[Services], Awaitable[None]]


async def in_thread(call: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
    """Await a call that blocks; the event loop serves the other browsers meanwhile."""
    return await run.io_bound(partial(call, *arguments, **options))


class Latest:
    """Tells the newest of several overlapping requests, so that a slow old answer never replaces a new one."""

    def __init__(self) -> None:
        self._number = 0

    def begin(self) -> Callable[[], bool]:
        """Begin a request; the result says whether it is still the newest."""
        self._number += 1
        return lambda mine=self._number: mine == self._number

    async def rests(self) -> bool:
        """Begin one, wait for a moment, and say whether it is the newest still: a slider is moved in many steps."""
        is_newest = self.begin()
        await asyncio.sleep(SLIDING_PAUSE_SECONDS)
        return is_newest()


# --- words ----------------------------------------------------------------------------------------------------
def heading(text: str) -> None:
    """The heading of a part of a tab."""
    ui.label(text).classes("heading").props("role=heading aria-level=2")


def note(text: str) -> ui.label:
    """A line that explains."""
    return ui.label(text).classes("soft")


def elided(text: str, limit: int = 40) -> str:
    """A text of at most ``limit`` characters; a longer one ends in dots."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def alert(error: Exception) -> None:
    """An error, in the words of the library."""
    message, _, hint = str(error).partition("\nTry: ")
    with ui.column().classes("alert gap-1").props("role=alert"):
        ui.label(_short(message)).classes("wrap")
        if hint:
            ui.label(f"Try: {hint}").classes("wrap mono")


def _short(text: str, limit: int = 600) -> str:
    return text if len(text) <= limit else f"{text[:limit]} ..."


def bar(share: float, label: str) -> None:
    """A bar from 0 to 1, and what it stands for to those who do not see it."""
    width = 100 * min(max(share, 0.0), 1.0)
    with ui.element("div").classes("bar").props(f'role=img aria-label="{label}"'):
        ui.element("div").style(f"width: {width:.1f}%")


class Slider(ui.slider):
    """A slider that stands where its reader moved it.

    NiceGUI's own is put where the server heard of it last: on a slow way that is a step or more ago, and the next press
    of a key goes on from there.
    """

    LOOPBACK = False


def weight_slider(name: str, value: float, highest: float, moved: Callable[[float], Awaitable[None]]) -> ui.slider:
    """A slider from 0 on for one weight of a recommender; ``moved`` is told where it stands."""
    with ui.row().classes("items-center no-wrap gap-3").style("width: 19rem; max-width: 100%"):
        said = name.replace("_", " ")
        ui.label(said).classes("soft").style("width: 5.5rem")
        slider = Slider(min=0, max=highest, step=highest / 40, value=value)
        slider.props(f'label aria-label="Weight of {said}"').classes("grow")
        slider.on_value_change(lambda event: moved(float(event.value)))
    return slider


def show_reasons(item: Recommendation) -> None:
    """The parts of an item's score, heaviest first; the lighter ones unfold, and all of them add up to it."""
    _reason_lines(item.reasons[:REASONS_SHOWN])
    rest = item.reasons[REASONS_SHOWN:]
    if not rest:
        return
    with ui.expansion(f"{len(rest)} more, together {sum(reason.weight for reason in rest):+.2f}") as more:
        more.props("dense").classes("soft w-full")

    def unfold() -> None:  # drawn when they are asked for: a film may share dozens of things
        if not more.default_slot.children:
            with more:
                _reason_lines(rest)

    more.on_value_change(unfold)


def _reason_lines(reasons: Iterable[Reason]) -> None:
    for reason in reasons:
        ui.label(f"{reason.weight:+.2f}  {reason}").classes("soft wrap reason")


async def answered(container: Element, call: Callable[..., Result], *arguments: Any, **options: Any) -> Result | None:
    """Await a blocking call of the library; its error is shown in ``container`` and gives None."""
    return await newest_answered(lambda: True, container, call, *arguments, **options)


async def newest_answered(
    is_newest: Callable[[], bool], container: Element, call: Callable[..., Result], *arguments: Any, **options: Any
) -> Result | None:
    """As :func:`answered`, for a request of :class:`Latest`: None, and no error is shown, once a newer one began."""
    try:
        answer = await in_thread(call, *arguments, **options)
    except WorkshopError as error:
        if is_newest():
            container.clear()
            with container:
                alert(error)
        return None
    return answer if is_newest() else None


# --- what is missing ------------------------------------------------------------------------------------------
def missing_models(services: Services, names: Iterable[str], remedy: str) -> list[Missing]:
    """Those of some models that are not served.

    Raises:
        ServingError: the server does not answer.
    """
    listed = services.models()
    known, ready = {each.name for each in listed}, {each.name for each in listed if each.state == "READY"}
    return [
        Missing(f"Model {name} is not served.", remedy, name if name in known else "")
        for name in names
        if name not in ready
    ]


def without_vectors(database: StandardDatabase, collection: str, remedy: str) -> list[Missing]:
    """The collection, if it is absent, empty or without embeddings.

    Raises:
        StoreError: the store does not answer.
    """
    what = missing_vectors(database, collection)
    return [Missing(what, remedy)] if what else []


async def show_missing(services: Services, found: list[Missing], again: Callable[[], Awaitable[None]]) -> None:
    """Say what is missing and what makes it; the button looks again."""

    async def load(model: str, container: Element) -> None:
        if await answered(container, _load, services, model):
            await again()

    with ui.column().classes("card").props("role=status"):
        heading("Not here yet")
        for missing in found:
            ui.label(missing.what).classes("wrap")
            ui.label(hint_for_here(missing.remedy)).classes("mono wrap")
            if missing.model:
                answer = ui.column().classes("w-full")
                ui.button(f"Load {missing.model}", on_click=partial(load, missing.model, answer)).props("outline")
        ui.button("Look again", icon="refresh", on_click=again)


def _load(services: Services, model: str) -> bool:
    services.triton.load_model(model)
    return True
