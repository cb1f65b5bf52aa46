"""String functions. Source: the page "String functions" of ArangoDB 3.12.

Arguments of other types are cast to strings first, as ArangoDB does. Positions and lengths count characters.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aqlite.aql.functions.registry import Registry, warn
from aqlite.aql.patterns import bounded_match, compile_regex, like, regex_test
from aqlite.aql.values import Value, reserve_items, reserve_text, to_number, to_string, truthy

if TYPE_CHECKING:
    import regex

    from aqlite.aql.context import CallContext

FUNCTIONS = Registry()
MAX_STRING_CHARS = 16 * 2**20
_TRIMMED = " \t\r\n"


@FUNCTIONS.define("CHAR_LENGTH")
def char_length(ctx: CallContext, text: Value) -> int:
    """Number of characters."""
    return len(to_string(text))


@FUNCTIONS.define("CONCAT", min_args=1)
def concat(ctx: CallContext, *values: Value) -> str:
    """Values one after the other, or the members of a single array; nulls are left out."""
    members = values[0] if len(values) == 1 and type(values[0]) is list else values
    texts = [to_string(member) for member in members]
    reserve_text(ctx, sum(map(len, texts)))
    return "".join(texts)


@FUNCTIONS.define("CONCAT_SEPARATOR", min_args=2)
def concat_separator(ctx: CallContext, separator: Value, *values: Value) -> str:
    """Values, or the members of a single array, joined with a separator; nulls are left out."""
    members = values[0] if len(values) == 1 and type(values[0]) is list else values
    texts, between = [to_string(member) for member in members if member is not None], to_string(separator)
    reserve_text(ctx, sum(map(len, texts)) + len(between) * len(texts))
    return between.join(texts)


@FUNCTIONS.define("CONTAINS")
def contains(ctx: CallContext, text: Value, search: Value, return_index: Value = False) -> bool | int:
    """Whether, or with ``return_index`` where, one string occurs in another; an empty one is not found."""
    needle = to_string(search)
    position = to_string(text).find(needle) if needle else -1
    return position if truthy(return_index) else position >= 0


def _search_bounds(text: str, start: Value, end: Value) -> tuple[int, int] | None:
    first = int(to_number(start))
    last = len(text) if end is None else int(to_number(end)) + 1
    return None if first < 0 or (end is not None and last - 1 < first) else (first, last)


@FUNCTIONS.define("FIND_FIRST")
def find_first(ctx: CallContext, text: Value, search: Value, start: Value = 0, end: Value = None) -> int:
    """Position of the first occurrence between two positions (both included), -1 without one."""
    haystack = to_string(text)
    bounds = _search_bounds(haystack, start, end)
    return -1 if bounds is None else haystack.find(to_string(search), *bounds)


@FUNCTIONS.define("FIND_LAST")
def find_last(ctx: CallContext, text: Value, search: Value, start: Value = 0, end: Value = None) -> int:
    """Position of the last occurrence between two positions (both included), -1 without one."""
    haystack = to_string(text)
    bounds = _search_bounds(haystack, start, end)
    return -1 if bounds is None else haystack.rfind(to_string(search), *bounds)


@FUNCTIONS.define("LEFT")
def left(ctx: CallContext, text: Value, count: Value) -> str:
    """First ``count`` characters."""
    return to_string(text)[: max(0, int(to_number(count)))]


@FUNCTIONS.define("RIGHT")
def right(ctx: CallContext, text: Value, count: Value) -> str:
    """Last ``count`` characters."""
    characters, kept = to_string(text), max(0, int(to_number(count)))
    return characters[max(0, len(characters) - kept) :]


@FUNCTIONS.define("SUBSTRING")
def substring(ctx: CallContext, text: Value, offset: Value, length: Value = None) -> str:
    """Part of a string; a negative offset counts from the end."""
    return _part(to_string(text), offset, length)


@FUNCTIONS.define("SUBSTRING_BYTES")
def substring_bytes(ctx: CallContext, text: Value, offset: Value, length: Value = None) -> str | None:
    """Part of the UTF-8 bytes of a string; null when it would cut a character."""
    try:
        return _part(to_string(text).encode(), offset, length).decode()
    except UnicodeDecodeError:
        return warn(ctx, "SUBSTRING_BYTES")


def _part(sequence: str | bytes, offset: Value, length: Value) -> str | bytes:
    start = int(to_number(offset))
    start = max(0, len(sequence) + start) if start < 0 else start
    end = len(sequence) if length is None else start + max(0, int(to_number(length)))
    return sequence[start:end]


@FUNCTIONS.define("LOWER")
def lower(ctx: CallContext, text: Value) -> str:
    """Lower-case form."""
    return to_string(text).lower()


@FUNCTIONS.define("UPPER")
def upper(ctx: CallContext, text: Value) -> str:
    """Upper-case form."""
    return to_string(text).upper()


@FUNCTIONS.define("TRIM")
def trim(ctx: CallContext, text: Value, kind: Value = 0) -> str:
    """Without white space, or without the given characters, at the ends; 1 and 2 trim one end only."""
    if type(kind) is str:
        return to_string(text).strip(kind)
    side = int(to_number(kind))
    return {1: to_string(text).lstrip, 2: to_string(text).rstrip}.get(side, to_string(text).strip)(_TRIMMED)


@FUNCTIONS.define("LTRIM")
def ltrim(ctx: CallContext, text: Value, chars: Value = None) -> str:
    """Without white space, or without the given characters, at the start."""
    return to_string(text).lstrip(_TRIMMED if chars is None else to_string(chars))


@FUNCTIONS.define("RTRIM")
def rtrim(ctx: CallContext, text: Value, chars: Value = None) -> str:
    """Without white space, or without the given characters, at the end."""
    return to_string(text).rstrip(_TRIMMED if chars is None else to_string(chars))


@FUNCTIONS.define("REPEAT")
def repeat(ctx: CallContext, text: Value, count: Value, separator: Value = "") -> str | None:
    """The string ``count`` times, joined with a separator."""
    characters, between, times = to_string(text), to_string(separator), int(to_number(count))
    if times < 0 or (len(characters) + len(between)) * times > MAX_STRING_CHARS:
        return warn(ctx, "REPEAT")
    reserve_text(ctx, (len(characters) + len(between)) * times)
    return between.join([characters] * times) if between else characters * times


@FUNCTIONS.define("TO_CHAR")
def to_char(ctx: CallContext, codepoint: Value) -> str | None:
    """Character of a Unicode code point."""
    code = int(to_number(codepoint))
    if not 0 <= code <= 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        return warn(ctx, "TO_CHAR")
    return chr(code)


@FUNCTIONS.define("SPLIT")
def split(ctx: CallContext, text: Value, separator: Value = None, limit: Value = None) -> list[str] | None:
    """Parts between separators; ``""`` splits into characters, ``limit`` cuts the answer."""
    count = None if limit is None else int(to_number(limit))
    if count is not None and count < 0:
        return warn(ctx, "SPLIT")
    characters = to_string(text)
    if separator is None:
        return [characters][:count]
    separators = [to_string(member) for member in (separator if type(separator) is list else [separator])]
    if "" in separators:
        reserve_items(ctx, len(characters) if count is None else min(count, len(characters)))
        return list(characters[:count])
    return re.split("|".join(map(re.escape, separators)), characters)[:count] if separators else [characters][:count]


@FUNCTIONS.define("STARTS_WITH")
def starts_with(ctx: CallContext, text: Value, prefixes: Value, min_match_count: Value = 1) -> bool | None:
    """Whether a string starts with a prefix, or with at least so many of an array of prefixes."""
    wanted = prefixes if type(prefixes) is list else [prefixes]
    if type(text) is not str or any(type(prefix) is not str for prefix in wanted):
        return warn(ctx, "STARTS_WITH")
    return sum(map(text.startswith, wanted)) >= to_number(min_match_count)


@FUNCTIONS.define("SUBSTITUTE")
def substitute(ctx: CallContext, text: Value, search: Value, replace: Value = None, limit: Value = None) -> str | None:
    """Text with search strings replaced: ``(text, search, replace, limit)`` or ``(text, mapping, limit)``."""
    if type(search) is dict:
        limit = replace
        mapping = {name: to_string(value) for name, value in search.items()}
    else:
        mapping = _replacements(search, replace)
    mapping.pop("", None)
    count = None if limit is None else int(to_number(limit))
    if count is not None and count < 0:
        return warn(ctx, "SUBSTITUTE")
    characters = to_string(text)
    if not mapping or count == 0:
        return characters
    reserve_text(ctx, len(characters))

    def replaced(match: re.Match) -> str:
        text = mapping[match.group()]
        ctx.reserve(len(text))
        return text

    return re.sub("|".join(map(re.escape, mapping)), replaced, characters, count=count or 0)


def _replacements(search: Value, replace: Value) -> dict[str, str]:
    searches = [to_string(item) for item in search] if type(search) is list else [to_string(search)]
    if type(replace) is list:
        values = [to_string(item) for item in replace]
        values += [""] * (len(searches) - len(values))
    else:
        values = [to_string(replace)] * len(searches)
    mapping: dict[str, str] = {}
    for search_text, value in zip(searches, values, strict=False):
        mapping.setdefault(search_text, value)
    return mapping


@FUNCTIONS.define("LIKE")
def like_function(ctx: CallContext, text: Value, search: Value, ignore_case: Value = False) -> bool:
    """Wildcard match of the whole text."""
    return like(to_string(text), to_string(search), truthy(ignore_case))


# --- regular expressions --------------------------------------------------------------------------------------
@FUNCTIONS.define("REGEX_TEST")
def regex_test_function(ctx: CallContext, text: Value, pattern: Value, ignore_case: Value = False) -> bool | None:
    """Whether the expression matches anywhere in the text."""
    return regex_test(ctx, to_string(text), to_string(pattern), truthy(ignore_case))


@FUNCTIONS.define("REGEX_MATCHES")
def regex_matches(ctx: CallContext, text: Value, pattern: Value, ignore_case: Value = False) -> list[str] | None:
    """First match and its groups; null without a match."""
    compiled = compile_regex(ctx, to_string(pattern), truthy(ignore_case))
    if compiled is None:
        return None
    match = bounded_match(ctx, compiled.search, to_string(text))
    return None if match is None else [match.group(), *(group or "" for group in match.groups())]


@FUNCTIONS.define("REGEX_SPLIT")
def regex_split(
    ctx: CallContext, text: Value, pattern: Value, ignore_case: Value = False, limit: Value = None
) -> list[str] | None:
    """Parts between matches, with what the groups matched between them; ``limit`` cuts the answer."""
    count = None if limit is None else int(to_number(limit))
    if count is not None and count < 0:
        return warn(ctx, "REGEX_SPLIT")
    if to_string(pattern) == "":
        return list(to_string(text))[:count]
    compiled = compile_regex(ctx, to_string(pattern), truthy(ignore_case))
    if compiled is None:
        return None
    parts = bounded_match(ctx, compiled.split, to_string(text))
    return [part for part in parts if part is not None][:count]


@FUNCTIONS.define("REGEX_REPLACE")
def regex_replace(
    ctx: CallContext, text: Value, pattern: Value, replacement: Value, ignore_case: Value = False
) -> str | None:
    r"""Text with every match replaced; ``$1`` stands for a group, ``\$`` for a dollar sign."""
    compiled = compile_regex(ctx, to_string(pattern), truthy(ignore_case))
    if compiled is None:
        return None
    reserve_text(ctx, len(to_string(text)))
    parts = re.split(r"(\\.|\$\d)", to_string(replacement), flags=re.DOTALL)

    def expanded(match: regex.Match) -> str:
        expansion = "".join(_expand(part, match) for part in parts)
        ctx.reserve(len(expansion))
        return expansion

    return bounded_match(ctx, compiled.sub, expanded, to_string(text))


def _expand(part: str, match: regex.Match) -> str:
    if part.startswith("\\") and len(part) == 2:
        return part[1]
    if part.startswith("$") and len(part) == 2:
        number = int(part[1])
        return (match.group(number) or "") if number <= match.re.groups else ""
    return part
