"""Sphinx's configuration of the site, see ``scripts/build_docs.py``, which gathers the pages and calls Sphinx."""

from __future__ import annotations

import sys
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

sys.path.append(str(Path(__file__).parent))  # the extension below

project = "Text, graphs and Triton"
author = "The workshop's authors"
extensions = ["myst_nb", "sphinx.ext.apidoc", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "mathml"]
root_doc = "docs/index"
html_theme = "furo"
html_title = project
html_show_sourcelink = False
html_copy_source = False
exclude_patterns = ["library", "reference/modules.rst"]

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the pages show what a run of the notebooks has left
nb_merge_streams = True
html_math_renderer = "mathml"

apidoc_modules = [
    {
        "path": "../library/workshop",
        "destination": "reference",
        "exclude_patterns": ["../library/workshop/text/generation/served", "../library/workshop/stack/backends"],
        "automodule_options": {"members", "show-inheritance", "ignore-module-all"},
    }
]
napoleon_use_ivar = True  # a dataclass says its fields twice otherwise
autodoc_typehints = "description"
# nicegui: autodoc imports with TYPE_CHECKING set, under which the models of its web framework cannot be built
autodoc_mock_imports = ["nicegui", "triton_python_backend_utils"]
suppress_warnings = ["mystnb.unknown_mime_type", "ref.python", "autodoc.mocked_object"]


def setup(app: Sphinx) -> None:
    """Show the diagram of the rooms as the text it is: what would draw it comes from the network."""
    app.add_lexer("mermaid", TextLexer)
