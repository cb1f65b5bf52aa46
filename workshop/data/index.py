"""One file of a package index, by pip's own settings and without pip: nothing of what is downloaded is run.

``pip download`` asks a source archive for its metadata, which runs the archive's ``setup.py``. This reads the index's
page of the project (https://packaging.python.org/en/latest/specifications/simple-repository-api/), and copies the file.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import requests

PYPI = "https://pypi.org/simple"
_CONNECT_SECONDS = 30.0
_BLOCK = 1 << 20


class IndexFileError(Exception):
    """No index has the file, or it cannot be read; the message says what was tried."""


@dataclass(frozen=True)
class IndexSettings:
    """Where pip looks for packages, and how it gets there.

    Attributes:
        indexes: addresses of package indexes.
        links: folders, and addresses of pages, that hold files of any project.
        certificates: PEM file of the authorities to trust, empty for the usual ones.
        proxy: address of a proxy, empty for the environment's.
    """

    indexes: tuple[str, ...]
    links: tuple[str, ...] = ()
    certificates: str = ""
    proxy: str = ""

    @classmethod
    def of_pip(cls) -> IndexSettings:
        """The settings of ``pip`` in this environment: its files, and variables ``PIP_...``."""
        command = [sys.executable, "-m", "pip", "config", "list"]
        listed = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL).stdout
        settings = _effective(listed.splitlines())
        indexes = [settings.get("index-url", PYPI), *settings.get("extra-index-url", "").split()]
        return cls(
            indexes=() if settings.get("no-index", "").lower() in ("1", "true", "yes", "on") else tuple(indexes),
            links=tuple(settings.get("find-links", "").split()),
            certificates=settings.get("cert", ""),
            proxy=settings.get("proxy", ""),
        )


def _effective(lines: list[str]) -> Mapping[str, str]:
    """Options of ``pip config list`` by name; variables win over the section of a command, and that over the rest."""
    found: dict[str, dict[str, str]] = {"global": {}, "download": {}, ":env:": {}}
    for line in lines:
        name, separator, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if separator and section in found:
            found[section][option] = str(ast.literal_eval(value))
    return {**found["global"], **found["download"], **found[":env:"]}


def download(project: str, filename: str, target: Path, settings: IndexSettings, *, seconds: float) -> None:
    """Copy a file of a project to ``target``; whoever calls checks its hash.

    Args:
        project: normalised name of the project.
        filename: of its file.
        target: written to; parts are left behind when the copy breaks off.
        settings: where to look.
        seconds: longest time that all of it may take.

    Raises:
        IndexFileError: the file is nowhere to be had.
        TimeoutError: it took longer.
    """
    deadline = time.monotonic() + seconds
    tried = []
    with requests.Session() as session:
        session.verify = settings.certificates or True
        if settings.proxy:
            session.proxies = {"http": settings.proxy, "https": settings.proxy}
        for place in _places(project, settings):
            try:
                if _copy(session, place, filename, target, deadline):
                    return
                tried.append(f"{_shown(place)} has no {filename}")
            except (requests.RequestException, OSError) as error:
                if isinstance(error, TimeoutError):
                    raise
                tried.append(f"{_shown(place)}: {type(error).__name__}")
    raise IndexFileError("; ".join(tried) or "pip is told to ask no index, and to look nowhere else")


def _places(project: str, settings: IndexSettings) -> Iterator[str]:
    yield from settings.links
    for index in settings.indexes:
        yield f"{index.rstrip('/')}/{project}/"


def _copy(session: requests.Session, place: str, filename: str, target: Path, deadline: float) -> bool:
    """Copy the file from a folder or a page; false where it is not there."""
    if not place.startswith(("http://", "https://")):
        folder = _path(place) if place.startswith("file:") else Path(place).resolve()
        if (folder / filename).is_file():
            target.write_bytes((folder / filename).read_bytes())
            return True
        index = folder / "index.html"
        text, base = (index.read_text(encoding="utf-8"), index.as_uri()) if index.is_file() else ("", "")
    else:
        page = session.get(place, headers={"Accept": "text/html"}, timeout=_CONNECT_SECONDS)
        if page.status_code == requests.codes.not_found:
            return False
        page.raise_for_status()
        text, base = page.text, page.url
    links = _Links()
    links.feed(text)
    for link in links.found:
        address = urldefrag(urljoin(base, link)).url
        if unquote(urlsplit(address).path).rpartition("/")[2] == filename:
            _stream(session, address, target, deadline)
            return True
    return False


def _path(address: str) -> Path:
    return Path(unquote(urlsplit(address).path))


def _stream(session: requests.Session, address: str, target: Path, deadline: float) -> None:
    if address.startswith("file:"):
        target.write_bytes(_path(address).read_bytes())
        return
    with session.get(address, stream=True, timeout=_CONNECT_SECONDS) as answer, target.open("wb") as file:
        answer.raise_for_status()
        for block in answer.iter_content(_BLOCK):
            if time.monotonic() > deadline:
                raise TimeoutError
            file.write(block)


def _shown(place: str) -> str:
    """An address without the name and password that it may hold."""
    parts = urlsplit(place)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


class _Links(HTMLParser):
    """Collects what a page links to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See :class:`HTMLParser`."""
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]
