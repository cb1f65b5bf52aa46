"""Sphinx's configuration of the slides, see ``scripts/build_slides.py``, which writes their text."""

from __future__ import annotations

project = "Text, graphs and Triton"
author = "The workshop's authors"
extensions = ["myst_parser", "sphinx_revealjs", "mathml"]
root_doc = "index"
html_show_sourcelink = False
html_copy_source = False
html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath"]

revealjs_style_theme = "white"
revealjs_static_path = ["_static"]
revealjs_css_files = ["deck.css"]
revealjs_script_plugins = [{"src": "revealjs/plugin/notes/notes.js", "name": "RevealNotes"}]
revealjs_notes_from_comments = True
revealjs_script_conf = {
    "width": 1280,
    "height": 720,
    "margin": 0.04,
    "slideNumber": "c/t",
    "hash": True,
    "transition": "none",
}
