"""The looks: colours, type and spacing of both modes, on the fonts that the reader's machine has."""

from __future__ import annotations

from nicegui import ui

KIND_COLOURS = {
    "start": "#c2703d",
    "movies": "#2f6f6a",
    "people": "#7a6aa8",
    "genres": "#b08a2e",
    "keywords": "#5b8cb8",
    "companies": "#8a6f5c",
    "countries": "#6d8f5a",
    "products": "#2f6f6a",
}
"""Of a node by the collection it lies in; others are grey."""
OTHER_COLOUR = "#8a9492"
SERIES = ("#2f6f6a", "#c2703d", "#5b8cb8", "#b08a2e", "#7a6aa8", "#6d8f5a")

_CSS = """
:root { --paper: #f7f5f0; --card: #ffffff; --ink: #22302f; --soft: #55625f; --line: #dcd8ce; --accent: #2f6f6a;
        --warn: #8a3d1f; --warn-paper: #fbeee6; }
.body--dark { --paper: #14191a; --card: #1d2425; --ink: #e6e9e6; --soft: #a7b2af; --line: #35403f; --accent: #7cc0b6;
              --warn: #f0b79b; --warn-paper: #33231b; }
body, .q-page-container, .nicegui-content { background: var(--paper); color: var(--ink);
    font-family: system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif; }
.nicegui-content { max-width: 68rem; margin: 0 auto; padding: 0 1rem 3rem; width: 100%; }
.q-header { background: var(--paper) !important; color: var(--ink) !important;
            border-bottom: 1px solid var(--line); box-shadow: none; }
.q-tab { text-transform: none; min-height: 44px; padding: 0 12px; }
.q-tab--active { color: var(--accent); }
.q-tab-panels { background: transparent !important; }
.q-tab-panel { padding: 1rem 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 0.9rem 1rem;
        width: 100%; }
.soft { color: var(--soft); font-size: 0.9rem; line-height: 1.45; }
.title { font-size: 1.05rem; font-weight: 600; line-height: 1.3; }
.heading { font-size: 1.25rem; font-weight: 600; }
.alert { background: var(--warn-paper); color: var(--warn); border: 1px solid currentColor; border-radius: 10px;
         padding: 0.75rem 1rem; width: 100%; overflow-wrap: anywhere; }
.wrap { overflow-wrap: anywhere; white-space: pre-wrap; }
.bar { background: var(--line); border-radius: 4px; height: 8px; width: 100%; overflow: hidden; }
.bar > div { background: var(--accent); height: 100%; }
.network { width: 100%; height: 26rem; }
.network text { fill: var(--ink) !important; stroke: none !important; }
.mono textarea, .mono { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 0.88rem; }
.json { max-height: 28rem; overflow: auto; width: 100%; white-space: pre-wrap; overflow-wrap: anywhere; }
.q-table__container { background: var(--card) !important; color: var(--ink); width: 100%; max-width: 100%; }
.q-table td { white-space: normal !important; overflow-wrap: break-word; min-width: 4.5rem; }
.q-table td:first-child { min-width: 2.5rem; }
.said { max-width: 40rem; padding: 0.6rem 0.9rem; border-radius: 10px; border: 1px solid var(--line); }
.said.user { background: var(--line); align-self: flex-end; }
.said.assistant { background: var(--card); }
.filters { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.2rem, 1fr)); gap: 0.75rem; width: 100%; }
.body--dark { --q-primary: #7cc0b6 !important; --q-secondary: #e0a37d !important; }
.body--dark .q-btn.bg-primary, .body--dark .q-uploader__header { color: #10201e !important; }
:focus-visible { box-shadow: 0 0 0 3px var(--accent); border-radius: 4px; }  /* Quasar forbids outlines */
.q-field--focused .q-field__control { box-shadow: 0 0 0 3px var(--accent); }
.q-field--focused :focus-visible { box-shadow: none; }
.q-btn { text-transform: none; min-height: 40px; }
@media (max-width: 600px) { .nicegui-content { padding: 0 0.6rem 2rem; } .network { height: 20rem; }
    .phone-hidden { display: none !important; } }
@media (prefers-reduced-motion: reduce) { * { transition: none !important; animation: none !important; } }
"""


def colour_of(kind: str) -> str:
    """Of a node by the collection it lies in; a prefix, as a catalogue of one's own has, changes nothing."""
    return next((colour for name, colour in KIND_COLOURS.items() if kind.endswith(name)), OTHER_COLOUR)


def apply() -> ui.dark_mode:
    """Dress the page that is being built; returns its switch of modes, which begins as the reader's system asks."""
    ui.add_css(_CSS)
    ui.colors(primary="#2f6f6a", secondary="#c2703d", accent="#7a6aa8", positive="#3f7d4f", negative="#a8452b")
    return ui.dark_mode(None)
