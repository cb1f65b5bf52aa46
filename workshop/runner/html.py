"""Executed notebooks as single HTML files that need no network: pictures inside, formulas as MathML."""

from __future__ import annotations

from pathlib import Path

import nbformat
from jinja2 import pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from workshop.files import write_text
from workshop.runner.reading import make_readable

# the usual template loads require.js, MathJax and Mermaid from a content network; nothing in the notebooks needs them
TEMPLATE = """{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- macro described(picture, cell) -%}
{%- set alt = cell.metadata.get('mystnb', {}).get('image', {}).get('alt', '') | escape_html -%}
{{ picture | replace('<img ', '<img alt="' ~ alt ~ '" ', 1) }}
{%- endmacro -%}
{%- block data_png -%}{{ described(super(), cell) }}{%- endblock -%}
{%- block data_svg -%}{{ described(super(), cell) }}{%- endblock -%}
"""


class MathMlRenderer(IPythonRenderer):
    """Markdown whose formulas browsers draw themselves."""

    def block_math(self, body: str) -> str:
        """A formula on lines of its own."""
        return convert(body, display="block")

    def inline_math(self, body: str) -> str:
        """A formula within a line."""
        return convert(body, display="inline")


class OfflineExporter(HTMLExporter):
    """nbconvert's HTML with everything in one file."""

    def __init__(self) -> None:
        super().__init__(raw_template=TEMPLATE, embed_images=True)

    @pass_context
    def markdown2html(self, context: dict, source: str) -> str:
        """As nbconvert's own, with formulas as MathML."""
        renderer = MathMlRenderer(
            escape=False,
            attachments=context.get("cell", {}).get("attachments", {}),
            embed_images=self.embed_images,
            path=context.get("resources", {}).get("metadata", {}).get("path", ""),
            anchor_link_text=self.anchor_link_text,
            exclude_anchor_links=self.exclude_anchor_links,
        )
        return MarkdownWithMath(renderer=renderer).render(source)


def export_html(notebook: Path, pictures: Path) -> Path:
    """Write an executed notebook as one HTML file beside it.

    Args:
        notebook: the executed copy.
        pictures: the folder that its links to pictures start from, where the committed notebook lies.

    Returns:
        The path of the file.
    """
    resources = {"metadata": {"name": notebook.stem, "path": str(pictures)}}
    executed = nbformat.read(notebook, as_version=4)
    make_readable(executed)
    body, _ = OfflineExporter().from_notebook_node(executed, resources)
    target = notebook.with_suffix(".html")
    write_text(target, body)
    return target
