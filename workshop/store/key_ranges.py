"""Cut a collection into ranges of keys, so that many readers share it and none passes over what another has read.

``LIMIT offset, size`` reads and drops ``offset`` documents for every page, so that reading all pages costs the square
of their number, and a document written or removed meanwhile moves all that follow to other pages. A range of keys is
found through the primary index and holds the same documents whatever happens around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from workshop.errors import DataInvalidError


@dataclass(frozen=True)
class KeyRange:
    """The documents whose key comes after ``after`` and not after ``until``.

    What comes after what is the store's to say: keys are compared in AQL only, never in Python.

    Attributes:
        after: the key before the range; ``""``: from the first key on.
        until: the last key of the range; ``None``: to the end.
    """

    after: str = ""
    until: str | None = None


ALL_KEYS = KeyRange()


def key_ranges(keys: Iterable[str], size: int) -> Iterator[KeyRange]:
    """Ranges of ``size`` keys, the last one of those that are left; together they hold each key exactly once.

    Args:
        keys: in the store's order, each once. They are drawn one by one and not kept.
        size: keys in a range.

    Raises:
        DataInvalidError: ``size`` is not positive.
    """
    if size < 1:
        raise DataInvalidError(f"a range holds at least 1 key, received {size}")
    after, last, count = "", "", 0
    for key in keys:
        last, count = key, count + 1
        if count == size:
            yield KeyRange(after, last)
            after, count = last, 0
    if count:
        yield KeyRange(after, last)
