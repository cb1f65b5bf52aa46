"""The tab of a conversation with a served generator, word by word as it comes."""

from __future__ import annotations

import asyncio
import json

import numpy as np
from nicegui import background_tasks, ui

from workshop.demo.parts import Missing, Tab, alert, heading, in_thread, note
from workshop.demo.services import Services
from workshop.errors import DataInvalidError, WorkshopError
from workshop.text.generation.signatures import STREAM_SUFFIX
from workshop.text.generation.smollm2 import NAME
from workshop.triton.transport import ModelState

REMEDY = (
    "python scripts/create_repository.py  (places SmolLM2, as notebook 09 explains), then load its streaming twin below"
    f" or: make down, then make up. Its name is {NAME}{STREAM_SUFFIX}."
)
LONGEST_MESSAGE = 4_000
TURNS_KEPT = 8
MOST_TOKENS = 200


def _streaming(services: Services) -> list[ModelState]:
    return [each for each in services.models() if each.name.endswith(STREAM_SUFFIX)]


def generators(services: Services) -> list[str]:
    """Streaming models that are served.

    Raises:
        ServingError: the server does not answer.
    """
    return [each.name for each in _streaming(services) if each.state == "READY"]


def missing(services: Services) -> list[Missing]:
    """Any generator that streams."""
    placed = _streaming(services)
    if any(each.state == "READY" for each in placed):
        return []
    return [Missing("No generator is served that streams.", REMEDY, placed[0].name if placed else "")]


class ChatTab:
    """The tab on one browser's page."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._said: list[dict[str, str]] = []
        self._running: asyncio.Task | None = None

    async def build(self) -> None:
        """Draw it."""
        names = await in_thread(generators, self._services)
        with ui.column().classes("card gap-3"):
            heading("Talk to a small language model")
            note("It runs on this machine, knows little, and makes things up.")
            self._model = ui.select(names, value=names[0], label="Model").props("outlined dense").classes("w-full")
            self._lines = (
                ui.column().classes("w-full gap-2").props('role=log aria-live=polite aria-label="Conversation"')
            )
            with ui.row().classes("w-full items-center no-wrap gap-2"):
                self._message = ui.input("Your message").props("outlined").classes("grow")
                self._message.on("keydown.enter", self._send)
                self._send_button = ui.button("Send", icon="send", on_click=self._send)
                self._stop = ui.button("Stop", icon="stop", on_click=self._cancel).props("outline")
                self._stop.set_visibility(False)

    async def _send(self) -> None:
        if self._running and not self._running.done():
            return
        text = (self._message.value or "").strip()
        with self._lines:
            if not 1 <= len(text) <= LONGEST_MESSAGE:
                alert(DataInvalidError(f"the message has {len(text):,} characters, expected 1 to {LONGEST_MESSAGE:,}"))
                return
            ui.label(text).classes("said user wrap")
            answer = ui.label("…").classes("said assistant wrap")
        self._message.set_value("")
        self._said.append({"role": "user", "content": text})
        self._running = background_tasks.create(self._answer(answer))

    def _cancel(self) -> None:
        if self._running:
            self._running.cancel()

    async def _answer(self, line: ui.label) -> None:
        self._busy(True)
        said = ""
        try:
            inputs = {"text_input": np.array([json.dumps(self._said[-TURNS_KEPT:])], dtype=object)}
            parameters = {"prompt_format": "messages", "max_tokens": MOST_TOKENS, "temperature": 0.0}
            pieces = self._services.streams.stream(str(self._model.value), inputs, parameters=parameters)
            async for piece in pieces:
                said += piece["text_output"][0].decode("utf-8")
                line.set_text(said)
        except asyncio.CancelledError:
            line.set_text(f"{said} (stopped)")
        except WorkshopError as error:
            line.set_text(f"{said} (broken off)" if said else "(no answer)")
            with self._lines:
                alert(error)
        finally:
            self._busy(False)
            if said:
                self._said.append({"role": "assistant", "content": said})
            else:
                self._said.pop()

    def _busy(self, busy: bool) -> None:
        self._stop.set_visibility(busy)
        self._send_button.set_visibility(not busy)


TAB = Tab("Chat", "chat", missing, lambda services: ChatTab(services).build())
