"""Bounded cache of decoded documents."""

from __future__ import annotations

import threading
from collections import OrderedDict

from aqlite.storage.api import Document

Key = int | tuple[int, str]
_BYTES_PER_DOCUMENT = 500
_BYTES_PER_JSON_BYTE = 3


class DocumentCache:
    """Decoded documents by revision; the oldest entries leave first when the estimated size passes the bound.

    A revision names one state of one document for ever, so entries never go stale and every snapshot can share them.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[Key, tuple[Document, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """Estimated bytes held."""
        return self._bytes

    def get(self, revision: Key) -> Document | None:
        """The document of a revision, when it is held."""
        entry = self._entries.get(revision)
        return None if entry is None else entry[0]

    def put(self, revision: Key, document: Document, json_bytes: int) -> None:
        """Hold a document whose JSON text has ``json_bytes`` bytes."""
        size = _BYTES_PER_DOCUMENT + _BYTES_PER_JSON_BYTE * json_bytes
        with self._lock:
            if revision in self._entries:
                return
            self._entries[revision] = (document, size)
            self._bytes += size
            while self._bytes > self._max_bytes and self._entries:
                self._bytes -= self._entries.popitem(last=False)[1][1]

    def discard(self, revision: Key) -> None:
        """Let go of a revision that was overwritten."""
        with self._lock:
            entry = self._entries.pop(revision, None)
            if entry is not None:
                self._bytes -= entry[1]

    def clear(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0
