"""The application: the page with its tabs, and a health check, on Starlette's interface."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from nicegui import app as pages
from nicegui import background_tasks, ui
from nicegui.element import Element
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from workshop.demo import chat, graph, images, movies, products, server, text, theme
from workshop.demo.parts import Tab, alert, in_thread, show_missing
from workshop.demo.services import Services
from workshop.errors import WorkshopError
from workshop.settings import Settings

TABS: tuple[Tab, ...] = (movies.TAB, products.TAB, text.TAB, images.TAB, chat.TAB, graph.TAB, server.TAB)
LOCAL_NAMES = ("127.0.0.1", "localhost")


def make_app(settings: Settings, hosts: Sequence[str] = LOCAL_NAMES) -> Starlette:
    """The demo of the servers that the settings name; once a process, as NiceGUI keeps its pages for the process.

    Args:
        settings: where the servers are.
        hosts: names under which a browser may ask; others are refused, so that a foreign page cannot reach it by a
            name of its own that leads here.
    """
    services = Services(settings)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await services.close()

    app = Starlette(
        routes=[Route("/health", _health)],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))],
        lifespan=lifespan,
    )
    ui.page("/", title="Workshop demo")(partial(_page, services))
    pages.add_exception_handler(AttributeError, _no_file)
    ui.run_with(app, language="en-GB", show_welcome_message=False, reconnect_timeout=10.0, unocss="mini")
    return app


class Panel:
    """A tab's place on one browser's page: what it lacks, or the tab itself."""

    def __init__(self, services: Services, tab: Tab, container: Element) -> None:
        self._services, self._tab, self._container = services, tab, container
        self._built = False

    async def show(self) -> None:
        """Draw the tab if all it needs is there; look again otherwise. A tab that was drawn keeps what is in it."""
        if self._built:
            return
        try:
            found = await in_thread(self._tab.missing, self._services)
            if self._built:  # by an earlier look that overlapped
                return
            self._built = not found
            self._container.clear()
            with self._container:
                if found:
                    await show_missing(self._services, found, self.show)
                else:
                    await self._tab.build(self._services)
        except WorkshopError as error:
            self._built = False
            self._container.clear()
            with self._container:
                alert(error)
                ui.button("Look again", icon="refresh", on_click=self.show)


async def _health(request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


async def _no_file(request: Request, error: Exception) -> JSONResponse:
    """Refuse a form without a file: NiceGUI's route for uploads takes every field for one, and fails."""
    if "/upload/" not in request.url.path:
        raise error
    return JSONResponse({"detail": "expected a file"}, status_code=400)


async def _page(services: Services, tab: str = "") -> None:
    dark = theme.apply()
    names = [each.name for each in TABS]
    first = tab if tab in names else names[0]
    with ui.header().classes("items-center justify-between no-wrap py-1"):
        with (
            ui.tabs()
            .props("dense inline-label mobile-arrows outside-arrows align=left no-caps")
            .classes("grow min-w-0") as tabs
        ):
            for each in TABS:
                ui.tab(each.name, icon=each.icon)
        switch = ui.button(icon="contrast").props('flat round aria-label="Light or dark"')
        switch.on_click(lambda: dark.set_value(not dark.value))
    panels: dict[str, Panel] = {}
    # not kept alive: ECharts fails on a graph whose place shrinks to nothing; what was typed is kept here anyway
    with ui.tab_panels(tabs, value=first, animated=False, keep_alive=False).classes("w-full"):
        for each in TABS:
            with ui.tab_panel(each.name), ui.column().classes("w-full gap-4") as container:
                ui.spinner(size="lg").props('aria-label="Looking at the servers"')
            panels[each.name] = Panel(services, each, container)
    tabs.on_value_change(lambda event: background_tasks.create(panels[event.value].show()))
    await ui.context.client.connected()  # the page is there at once, its contents when the servers have answered
    await panels[first].show()
