"""String order: a small stand-in for ICU's root collation, which ArangoDB uses to compare strings.

ArangoDB compares strings with ICU in the server language (``en_US`` by default). aqlite follows the three levels of
the Unicode collation algorithm for what European text needs, without ICU's 2 MB of data:

1. *primary*: white space < punctuation < symbols < digits < letters, letters without case and accents;
2. *secondary*: accents, unaccented first;
3. *tertiary*: lower case before upper case; and last the code points, so that the order is total.

Deviations from ICU: scripts other than Latin come in code point order after Latin, and symbols that are not listed
in ``_ORDER`` come after the letters. Source: https://www.unicode.org/reports/tr10/ and CLDR's root chart.
"""

from __future__ import annotations

import unicodedata

_ORDER = (
    "\t\n\v\f\r _-‐–—,;:!¡?¿.·'‘’‚‹›\"“”„«»()[]{}§¶@*/\\&#%‰†‡•`^°©®+±÷×<=>|¦~¬¤¢$£¥€"
    "0123456789"
    "abcdefghijklmnopqrstuvwxyz"
)
_EXPANSIONS = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ł": "l", "ħ": "h", "ŧ": "t"}


def _primary_table() -> dict[int, str | None]:
    """Code point -> primary weight. Weights stay below 128 so that ``str.translate`` keeps its ASCII fast path."""
    table: dict[int, str | None] = dict.fromkeys([*range(32), 127])
    for weight, char in enumerate(_ORDER, start=1):
        table[ord(char)] = chr(weight)
        if char.islower():
            table[ord(char.upper())] = chr(weight)
    for char, expansion in _EXPANSIONS.items():
        weights = "".join(str(table[ord(letter)]) for letter in expansion)
        table[ord(char)] = weights
        if len(char.upper()) == 1:
            table[ord(char.upper())] = weights
    return table


_PRIMARY = _primary_table()


def collation_key(text: str) -> tuple[str, ...]:
    """Key whose order is aqlite's string order; two keys are equal only for the same string.

    Keys of different strings compare without looking at the strings: ``(primary, accents, case[, code points])``.
    """
    if text.isascii():
        if text.isprintable():
            return text.translate(_PRIMARY), "", text.swapcase()
        return text.translate(_PRIMARY), "", text.swapcase(), text
    return _accented_key(text)


def _accented_key(text: str) -> tuple[str, ...]:
    base: list[str] = []
    marks: list[str] = []
    has_marks = False
    for char in unicodedata.normalize("NFKD", text):
        if unicodedata.combining(char):
            marks.append(char)
            has_marks = True
        else:
            base.append(char)
            marks.append("\x01")  # one slot a base character keeps accents aligned with what they stand on
    letters = "".join(base)
    primary = letters.translate(_PRIMARY)
    if not primary.isascii():
        primary = primary.lower()
    return primary, "".join(marks) if has_marks else "", letters.swapcase(), text
