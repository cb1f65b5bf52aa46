"""What a check found: what is right, what is wrong, and why."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

MEDIA_TYPE = "application/vnd.workshop.verdict+json"
"""Under it a verdict travels inside an executed notebook, beside the forms that people read."""

Status = Literal["open", "right", "not yet"]


@dataclass(frozen=True)
class Finding:
    """One thing that a check looked at. ``text`` says what it is, and if it is wrong, why; it may hold `code`."""

    right: bool
    text: str


Findings = Iterator[Finding]


def right(text: str) -> Finding:
    """Something that is as it should be."""
    return Finding(True, text)


def wrong(text: str) -> Finding:
    """Something that is not, and why."""
    return Finding(False, text)


@dataclass(frozen=True)
class Verdict:
    """The outcome of a check. JupyterLab shows it as a list, a terminal as text.

    Attributes:
        exercise: notebook and number, such as ``06.2``.
        findings: in the order in which they were looked at; none when there was no answer yet.
        start: how to begin, shown while there is no answer.
    """

    exercise: str
    findings: tuple[Finding, ...]
    start: str

    @property
    def status(self) -> Status:
        """``open`` without an answer, ``right`` when all findings are right, else ``not yet``."""
        if not self.findings:
            return "open"
        return "right" if all(finding.right for finding in self.findings) else "not yet"

    @property
    def passed(self) -> bool:
        """Whether the answer is right."""
        return self.status == "right"

    def __str__(self) -> str:
        if self.status == "open":
            return f"{self.exercise}: no answer yet. {self.start}"
        lines = [f"{'✓' if finding.right else '✗'} {finding.text}" for finding in self.findings]
        return "\n".join([f"{self.exercise}: {self.status}", *lines])

    __repr__ = __str__

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Mapping[str, object]:
        return {
            "text/plain": str(self),
            "text/html": self._html(),
            MEDIA_TYPE: {
                "exercise": self.exercise,
                "status": self.status,
                "findings": [[finding.right, finding.text] for finding in self.findings],
            },
        }

    def _html(self) -> str:
        if self.status == "open":
            return f"<p><b>{self.exercise}</b>: no answer yet. {inline(self.start)}</p>"
        items = [
            f'<li><span style="color: {"#0a7d33" if finding.right else "#b3261e"}">{"✓" if finding.right else "✗"}'
            f"</span> {inline(finding.text)}</li>"
            for finding in self.findings
        ]
        return (
            f"<p><b>{self.exercise}</b>: {self.status}</p>"
            f'<ul style="list-style: none; padding-left: 1em">{"".join(items)}</ul>'
        )


def inline(text: str) -> str:
    """Text as HTML, what stands between backticks as code, between asterisks elsewhere as emphasis."""
    plain, *rest = html.escape(text, quote=False).split("`")
    pieces = [_emphasised(plain)]
    for place, piece in enumerate(rest):
        pieces.append(_emphasised(piece) if place % 2 else f"<code>{piece}</code>")
    return "".join(pieces)


def _emphasised(text: str) -> str:
    return re.sub(r"\*([^*]+)\*", r"<em>\1</em>", text)
