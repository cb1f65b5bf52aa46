"""Numbers in a notebook's text that state a result and are written by hand.

A result written as digits stays in the text when data, machine or code change. It belongs into code, which prints it or
shows it as Markdown. ``literals`` lists what breaks that rule. What is no result may be written, and that is:

- a place: section 3, notebook 01, exercise 06.2, a heading; the row *Time*, which the index decides;
- a name, code, a formula, a link, a year (1900 to 2099);
- the ends and the middle of a scale, and a mask's values: -1, 0, 0.5, 1;
- a value that code of the same section, or the parameters, sets: text and code change together, or are listed;
- the task of an exercise, which asks and does not report;
- a fact that others have published: ``PUBLISHED``;
- a number word up to ten that counts things, as in "two ways": it is looked at only where it measures, as in "ten
  times" or "one in ten". Larger ones are always looked at, and of "hundreds" code cannot say how many.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat

PUBLISHED = (
    "TMDB 5000",  # the data set's name
    "4,803 films",  # its size
    "15,183 real grocery orders",
    "15,183 grocery orders of 593 customers",
    "10,605 movie-review snippets",  # with VADER (Hutto and Gilbert 2014)
    "10,605 snippets",
    "from -4 to 4, the mean of about 15 judges",  # how they were rated
    "2.4 million products",  # ogbn-products (Hu et al. 2020)
    "1,000 classes of ImageNet",
    "1,000 numbers",  # one a class
    "height x width x 3 bytes",  # red, green, blue
    "0..255 to -1..1",  # the scaling called INCEPTION in Triton's example client
    "largest absolute value divided by 127",  # symmetric int8
    "95 %",  # the level of every interval, a convention
    "TensorRT 11",  # a release
)
SCALE = {-1.0, 0.0, 0.5, 1.0}
COUNT_WORDS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
COUNTS = {word: float(number) for number, word in enumerate(COUNT_WORDS, start=2)}
TEEN_WORDS = ("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
TENS_WORDS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
LARGE = {
    **{word: float(number) for number, word in enumerate(TEEN_WORDS, start=11)},
    **{word: 10.0 * number for number, word in enumerate(TENS_WORDS, start=2)},
}
SIZES = {"dozen": 12.0, "hundred": 100.0, "thousand": 1_000.0, "million": 1_000_000.0}
RATIOS = {"twice": 2.0, "half": 0.5, "third": 1 / 3, "quarter": 0.25, "fifth": 0.2, "tenth": 0.1, "twentieth": 0.05}

DIGITS = r"(?<![\w.@/#])(?<![A-Za-z]-)[-−]?\d[\d,]*(?:\.\d+)*(?<!,)(?:\s?(?:%|per ?cent\b))?(?!\w|-[a-z])"
UNIT = r"(?:milliseconds?|seconds?|minutes?|hours?|days?|megabytes?|gigabytes?)"
MEASURE = rf"(?:\s+(?:times|per ?cent|{UNIT}|as\s+(?:many|much|fast|long|large))\b)"
LARGE_WORD = rf"(?:{'|'.join(LARGE)})(?:-(?:one|{'|'.join(COUNTS)}))?"
NUMBER = re.compile(
    rf"\b(?:one|two|three)\s+(?:[\w-]+\s+)?in\s+(?:{'|'.join(COUNTS)}|{LARGE_WORD}|a\s+hundred|\d+)\b(?!\s+\w+s\b)"
    rf"|{DIGITS}|\b(?:{'|'.join(COUNTS)}){MEASURE}|\b{LARGE_WORD}\b|\b(?:{'|'.join(SIZES)})s?\b"
    rf"|\bhalf\s+an?\s+{UNIT}\b|\b(?:twice|half)(?=\s+(?:as|of|the)\b)"
    rf"|\b(?:a|one|two|three)\s+(?:third|quarter|fifth|tenth|twentieth)s?\b",
    re.IGNORECASE,
)
"""Digits that are a word of their own (``int8``, ``recall@10`` and ``SHA-256`` are names), and words that measure."""
NO_TEXT = re.compile(
    r"```.*?```|^ {4}.*?$|`[^`]*`|\$\$.*?\$\$|\$[^$\n]*\$|\]\([^()\s]*(?:\([^()]*\)[^()\s]*)*\)|<[^>]+>|https?://\S+"
    r"|^\| Time \|.*?$|^#+ [\d.]+ ",
    re.DOTALL | re.MULTILINE,
)
PLACE = re.compile(r"\b(?:sections?|notebooks?|exercises?)\s(?:[\d.,]+\s?(?:,|and|to|or)?\s?)+", re.IGNORECASE)
YEAR = re.compile(r"\b(?:19|20)\d\d\b")
SECTION = re.compile(r"^## ", re.MULTILINE)
SHOWN = {"print", "Markdown", "set_title", "suptitle"}
TASK = re.compile(r"### \d\d\.\d ")


@dataclass(frozen=True)
class Literal:
    """A number written by hand.

    Attributes:
        cell: counts from 0.
        text: the number as it is written.
        context: what stands around it.
    """

    cell: int
    text: str
    context: str

    def __str__(self) -> str:
        return f"cell {self.cell}: {self.text!r} in '...{self.context}...'"


def literals(path: Path) -> list[Literal]:
    """The numbers in Markdown cells and in what code prints that state a result, by the rules above.

    Args:
        path: a notebook as committed.
    """
    cells = nbformat.read(path, as_version=4).cells
    sections = _sections(cells)
    everywhere, of_section = set(), {number: set() for section in sections for number in section}
    for cell, section in zip(cells, sections, strict=True):
        if cell.cell_type == "code":
            values = _values(cell.source)
            everywhere |= values if "parameters" in cell.metadata.get("tags", []) else set()
            for number in section:
                of_section[number] |= values
    found = []
    for place, (cell, section) in enumerate(zip(cells, sections, strict=True)):
        known = everywhere.union(*(of_section[number] for number in section))
        texts = _printed(cell.source) if cell.cell_type == "code" else [cell.source]
        if not TASK.match(cell.source):
            found += [Literal(place, *hit) for text in texts for hit in _hits(text, known)]
    return found


def _sections(cells: list[nbformat.NotebookNode]) -> list[set[int]]:
    """Numbers of the sections each cell belongs to: a text that ends one and begins the next belongs to both."""
    number, sections = 0, []
    for cell in cells:
        headings = len(SECTION.findall(cell.source)) if cell.cell_type == "markdown" else 0
        before = number + (1 if headings and SECTION.match(cell.source) else 0)
        number += headings
        sections.append(set(range(before, number + 1)))
    return sections


def _values(source: str) -> set[float]:
    """Numbers that code sets, also inside the queries that it holds as text."""
    constants = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    numbers = {float(value) for value in constants if isinstance(value, int | float)}
    queries = [value for value in constants if isinstance(value, str) and "\n" in value]
    return numbers | {float(number) for query in queries for number in re.findall(r"\b\d+(?:\.\d+)?\b", query)}


def _printed(source: str) -> Iterator[str]:
    """The constant parts of formatted strings and of what is printed; messages of assertions are no text."""
    tree = ast.parse(source)
    unread = {id(part) for node in ast.walk(tree) if isinstance(node, ast.Assert) for part in ast.walk(node)}
    specs = [node.format_spec for node in ast.walk(tree) if isinstance(node, ast.FormattedValue) and node.format_spec]
    unread |= {id(part) for spec in specs for part in ast.walk(spec)}
    for node in ast.walk(tree):
        if id(node) in unread:
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "`…`" for part in node.values)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in SHOWN:
            constants = [part.value for part in node.args if isinstance(part, ast.Constant)]
            yield from (value for value in constants if isinstance(value, str))


def _hits(text: str, known: set[float]) -> Iterator[tuple[str, str]]:
    text = NO_TEXT.sub("§", text)
    for allowed in PUBLISHED:
        text = text.replace(allowed, "§")
    text = YEAR.sub("§", PLACE.sub("§", text))
    for match in NUMBER.finditer(text):
        if not _set_by_code(match[0], known):
            yield match[0], " ".join(text[max(0, match.start() - 40) : match.end() + 40].split())


def _set_by_code(written: str, known: set[float]) -> bool:
    """Whether code sets the number, itself or as a share of 100, or sets the divisor of a fraction."""
    words = written.lower().replace("−", "-").split()
    last = words[-1]
    if last in {f"{size}s" for size in SIZES}:
        return False
    if "in" in words:
        value = _word_value(last) or float(last)
        same = {value, 1 / value}
    elif words[0][-1].isdigit() or words[0][-1] == "%":
        value = float(words[0].rstrip("%").replace(",", "").strip())
        known = known | SCALE
        same = {value, value / 100} if "%" in written or "cent" in written else {value}
    elif words[0] == "half" and len(words) > 1:
        same = {0.5}
    else:
        word = next((word.rstrip("s") for word in words if word.rstrip("s") in RATIOS), "")
        value = RATIOS[word] if word else _word_value(words[0])
        same = {value, 1 / value} if word else {value}
    return any(abs(value - number) < 1e-9 for value in same for number in known)


def _word_value(word: str) -> float:
    """The value of a number word such as ``ten`` or ``thirty-two``; 0 for any other."""
    tens, _, ones = word.partition("-")
    value = {**COUNTS, **LARGE, **SIZES}.get(tens, 0.0)
    return value + {"one": 1.0, **COUNTS}.get(ones, 0.0)
