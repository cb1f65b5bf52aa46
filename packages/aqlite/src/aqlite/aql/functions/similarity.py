"""String similarity: edit distance, n-grams, Soundex, tokens. Source: "String functions" of ArangoDB 3.12."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sized
from typing import TYPE_CHECKING

from aqlite.aql.functions.registry import Registry, warn
from aqlite.aql.values import Number, Value, number_or_null, to_number, to_string
from aqlite.errors import ArangoError

if TYPE_CHECKING:
    from aqlite.aql.context import CallContext

FUNCTIONS = Registry()
MAX_CELLS = 4_000_000
MAX_SOUNDEX_CHARS = 10_000
Score = Callable[[str, str], float]

_SOUNDEX_CODES = {
    letter: code
    for code, letters in {"1": "BFPV", "2": "CGJKQSXZ", "3": "DT", "4": "L", "5": "MN", "6": "R"}.items()
    for letter in letters
}


@FUNCTIONS.define("LEVENSHTEIN_DISTANCE")
def levenshtein_distance(ctx: CallContext, left: Value, right: Value) -> int:
    """Damerau-Levenshtein distance: insertions, deletions, substitutions and transpositions, each 1."""
    return damerau_levenshtein(ctx, to_string(left), to_string(right))


def damerau_levenshtein(ctx: CallContext, left: str, right: str) -> int:
    """Unrestricted distance (Lowrance and Wagner 1975) in ``len(left) * len(right)`` steps.

    Raises:
        ArangoError: 32, for more than ``MAX_CELLS`` steps.
    """
    _check_size(left, right)
    unreachable = len(left) + len(right)
    previous = [[unreachable] * (len(right) + 2), [unreachable, *range(len(right) + 1)]]
    last_row_of: dict[str, int] = {}
    for row, char in enumerate(left, start=1):
        ctx.check()
        current = [unreachable, row]
        last_match = 0
        for column, other in enumerate(right, start=1):
            crossing_row, crossing_column = last_row_of.get(other, 0), last_match
            cost = char != other
            if not cost:
                last_match = column
            skipped = row - crossing_row + column - crossing_column - 1
            swapped = previous[crossing_row][crossing_column] + skipped
            deleted, inserted = previous[row][column + 1] + 1, current[column] + 1
            current.append(min(previous[row][column] + cost, inserted, deleted, swapped))
        previous.append(current)
        last_row_of[char] = row
    return previous[-1][-1]


def _check_size(left: Sized, right: Sized) -> None:
    if len(left) * len(right) > MAX_CELLS:
        raise ArangoError(32, f"strings of {len(left)} and {len(right)} characters are too long to be compared")


def _shared(left: str, right: str) -> float:
    return float(left == right)


def _positional(left: str, right: str) -> float:
    return sum(a == b for a, b in zip(left, right, strict=True)) / len(left)


def _longest_common(ctx: CallContext, source: list[str], target: list[str], score: Score) -> float:
    """Weight of the best common subsequence of n-grams (Kondrak 2005, "N-gram similarity and distance")."""
    _check_size(source, target)
    above = [0.0] * (len(target) + 1)
    for gram in source:
        ctx.check()
        row = [0.0]
        for column, other in enumerate(target):
            row.append(max(above[column] + score(gram, other), above[column + 1], row[column]))
        above = row
    return above[-1]


def _define_ngram(name: str, score: Score, *, by_longer: bool) -> None:
    @FUNCTIONS.define(name)
    def call(ctx: CallContext, source: Value, target: Value, size: Value) -> Number | None:
        width = int(to_number(size))
        if type(source) is not str or type(target) is not str or width < 1:
            return warn(ctx, name)
        grams, wanted = (
            [text[start : start + width] for start in range(len(text) - width + 1)] for text in (source, target)
        )
        if not grams or not wanted:
            return int(source == target)
        total = max(len(grams), len(wanted)) if by_longer else len(wanted)
        return number_or_null(_longest_common(ctx, grams, wanted, score) / total)


_define_ngram("NGRAM_SIMILARITY", _shared, by_longer=False)
_define_ngram("NGRAM_POSITIONAL_SIMILARITY", _positional, by_longer=True)


@FUNCTIONS.define("SOUNDEX")
def soundex(ctx: CallContext, text: Value) -> str:
    """American Soundex: the first letter and three digits; letters with the same code in a row count once."""
    letters = re.sub("[^A-Z]", "", to_string(text)[:MAX_SOUNDEX_CHARS].upper())
    if not letters:
        return ""
    code, last = letters[0], _SOUNDEX_CODES.get(letters[0])
    for letter in letters[1:]:
        digit = _SOUNDEX_CODES.get(letter)
        if digit and digit != last:
            code += digit
        if letter not in "HW":
            last = digit
    return code[:4].ljust(4, "0")


@FUNCTIONS.define("TOKENS")
def tokens(ctx: CallContext, text: Value, analyzer: Value = "identity") -> list[Value]:
    """Tokens of a string, or of each string of nested arrays; analyzers ``identity`` and ``text_en``.

    ``text_en`` lower-cases and drops accents but does not stem: aqlite carries no stemmer.

    Raises:
        ArangoError: 9, for another analyzer.
    """
    if analyzer not in ("identity", "text_en"):
        raise ArangoError(9, f"TOKENS() with the analyzer {to_string(analyzer)!r}: not supported by aqlite")
    if type(text) is list:
        return [tokens(ctx, member, analyzer) for member in text]
    if analyzer == "identity":
        return [to_string(text)]
    plain = "".join(char for char in unicodedata.normalize("NFKD", to_string(text)) if not unicodedata.combining(char))
    return re.findall(r"\w+(?:'\w+)*", plain.lower())
