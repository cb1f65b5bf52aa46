#!/usr/bin/env python3
"""Go through the slides in a headless browser, and say what a room would stumble over.

Pictures that do not show, text or pictures that leave their slide, raw TeX, script errors, and anything fetched from a
network. Needs Chromium.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from scripts.check_docs import NO_BROWSER, RAW_TEX, browsing, find_chromium, outside
from workshop.settings import PROJECT_ROOT

# Sizes are those of the layout, before reveal.js scales the whole deck to the window.
LOOK = """() => {
    const {width, height} = Reveal.getConfig();
    const slide = Reveal.getCurrentSlide();
    const heading = slide.querySelector('h1, h2, h3');
    const text = slide.cloneNode(true);
    text.querySelectorAll('pre, code, math, aside').forEach(part => part.remove());
    return {
        title: heading ? heading.innerText : '(no heading)',
        text: text.textContent,
        broken: [...slide.querySelectorAll('img')]
            .filter(image => image.complete && image.naturalWidth === 0).map(image => image.getAttribute('src')),
        over: [slide.scrollWidth - width, slide.scrollHeight - height],
        last: Reveal.isLastSlide(),
    };
}"""
NEXT = """() => new Promise(done => { Reveal.on('slidechanged', function seen() {
    Reveal.off('slidechanged', seen); done(true); }); Reveal.next(); })"""
PICTURES_LOADED = "() => [...Reveal.getCurrentSlide().querySelectorAll('img')].every(image => image.complete)"


def slide_problems(page_of_slides: Path, chromium: str) -> tuple[int, list[str]]:
    """The number of slides, and a line for each thing that is wrong with one."""
    found: list[str] = []
    lines: list[str] = []
    count = 0
    with browsing(chromium) as page:
        page.set_viewport_size({"width": 1280, "height": 720})
        page.on("pageerror", lambda error: found.append(f"script error: {error}"))
        page.on("request", lambda request: found.extend(outside(request)))
        page.goto(page_of_slides.resolve().as_uri())
        page.wait_for_function("() => window.Reveal && Reveal.isReady()")
        while True:
            count += 1
            page.wait_for_function(PICTURES_LOADED)
            seen = page.evaluate(LOOK)
            found += [f"picture does not show: {source}" for source in seen["broken"]]
            found += [f"raw TeX: {match[0]}" for match in RAW_TEX.finditer(seen["text"])]
            for side, over in zip(("wide", "high"), seen["over"], strict=True):
                if over > 0:
                    found.append(f"{over} pixels too {side}")
            lines += [f"slide {count}, {seen['title']}: {problem}" for problem in found]
            found.clear()
            if seen["last"]:
                return count, lines
            page.evaluate(NEXT)


def main(arguments: list[str] | None = None) -> int:
    """Check the slides; 1 when something is wrong, 2 when there is no browser or there are no slides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = PROJECT_ROOT / "site" / "slides" / "index.html"
    parser.add_argument("slides", nargs="?", type=Path, default=default, help="default: site/slides/index.html")
    parser.add_argument("--chromium", default=find_chromium(), help="the browser's program; default: the one on PATH")
    parser.add_argument("--if-installed", action="store_true", help="without a browser say so, and give 0")
    options = parser.parse_args(arguments)
    if not options.chromium:
        print(NO_BROWSER, file=sys.stderr)
        return 0 if options.if_installed else 2
    if not options.slides.is_file():
        print(f"{options.slides}: no slides here; make slides builds them", file=sys.stderr)
        return 2
    count, wrong = slide_problems(options.slides, options.chromium)
    print("\n".join([*wrong, f"{count} slides, {len(wrong)} problems"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
