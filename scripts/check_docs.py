#!/usr/bin/env python3
"""Open every page of the built site in a headless browser, and say what a reader would stumble over.

Raw TeX, pictures that do not show or that nothing describes, script errors, and anything fetched from a network; then
one search. Needs Chromium.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, Request, sync_playwright

from workshop.settings import PROJECT_ROOT

NO_BROWSER = "no chromium on PATH, so nothing was looked at: apt install chromium, or name one by --chromium"
RAW_TEX = re.compile(r"\$\$|\\[A-Za-z]{2,}|\$[^$\s\d][^$\n]*\$")  # no price: those begin with a digit
VISIBLE_TEXT = """() => {
    const body = document.body.cloneNode(true);
    body.querySelectorAll('pre, code, math, script, style').forEach(part => part.remove());
    return body.innerText;
}"""
BROKEN_IMAGES = """() => [...document.images].filter(image => image.complete && image.naturalWidth === 0)
    .map(image => image.getAttribute('src').slice(0, 80))"""
UNDESCRIBED_IMAGES = """() => [...document.images].filter(image => !image.alt || image.alt.startsWith('No description'))
    .map(image => image.getAttribute('src').slice(0, 80))"""


@contextmanager
def browsing(chromium: str) -> Iterator[Page]:
    """A page of a headless browser."""
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


def problems(site: Path, chromium: str) -> list[str]:
    """One line for each thing that is wrong with a page below ``site``."""
    lines: list[str] = []
    found: list[str] = []
    with browsing(chromium) as page:
        page.on("pageerror", lambda error: found.append(f"script error: {error}"))
        page.on("request", lambda request: found.extend(outside(request)))
        for path in sorted(site.resolve().rglob("*.html")):
            found.clear()
            page.goto(path.as_uri())
            found += [f"picture does not show: {source}" for source in page.evaluate(BROKEN_IMAGES)]
            found += [f"picture without a description: {source}" for source in page.evaluate(UNDESCRIBED_IMAGES)]
            found += [f"raw TeX: {match[0]}" for match in RAW_TEX.finditer(page.evaluate(VISIBLE_TEXT))]
            lines += [f"{path.relative_to(site.resolve())}: {problem}" for problem in found]
    return lines


def search_hits(site: Path, chromium: str, words: str) -> list[str]:
    """Titles that the site's own search finds for ``words``."""
    with browsing(chromium) as page:
        page.goto((site.resolve() / "search.html").as_uri() + f"?q={words}")
        page.get_by_text(re.compile("Search finished|did not match")).wait_for(timeout=20_000)
        return page.locator("#search-results li a").all_inner_texts()


def outside(request: Request) -> list[str]:
    """A line for a request that leaves this machine."""
    return [] if request.url.startswith(("file:", "data:", "blob:", "about:")) else [f"network: {request.url[:80]}"]


def main(arguments: list[str] | None = None) -> int:
    """Check the site; 1 when something is wrong, 2 when there is no browser or no site."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", nargs="?", type=Path, default=PROJECT_ROOT / "site" / "html", help="default: site/html")
    parser.add_argument("--chromium", default=find_chromium(), help="the browser's program; default: the one on PATH")
    parser.add_argument("--if-installed", action="store_true", help="without a browser say so, and give 0")
    options = parser.parse_args(arguments)
    if not options.chromium:
        print(NO_BROWSER, file=sys.stderr)
        return 0 if options.if_installed else 2
    if not (options.site / "search.html").is_file():
        print(f"{options.site}: no site here; make docs builds it", file=sys.stderr)
        return 2
    wrong = problems(options.site, options.chromium)
    hits = search_hits(options.site, options.chromium, "recall")
    print("\n".join([*wrong, f"{len(wrong)} problems; a search for 'recall' finds {len(hits)} pages"]))
    return 1 if wrong or not hits else 0


def find_chromium() -> str | None:
    """Chromium's program, by the names that distributions give it."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


if __name__ == "__main__":
    sys.exit(main())
