"""Route of ``/_api/import``: many documents in one request and one transaction."""

from __future__ import annotations

from typing import Any

import orjson

from aqlite.errors import ArangoError
from aqlite.http.request import Reply, Request, parse_json
from aqlite.storage.transaction import Transaction

_ON_DUPLICATE = ("error", "update", "replace", "ignore")
_TYPES = ("documents", "list", "array", "auto")
_SHOWN_CHARACTERS = 200


def import_documents(request: Request) -> Reply:
    """POST /_api/import."""
    name = request.query.get("collection")
    if not name:
        raise ArangoError(1204)
    documents = _documents(request)
    on_duplicate = request.query.get("onDuplicate", "error")
    if on_duplicate not in _ON_DUPLICATE:
        raise ArangoError(400, f"invalid value for onDuplicate: {on_duplicate!r}")
    importer = _Importer(request, on_duplicate)
    with request.writing() as view:
        view.find_writable(name)
        if request.flag("overwrite"):
            view.truncate(name)
        for position, document in enumerate(documents, start=1):
            importer.take(view, name, position, document)
    return Reply({"error": False, **importer.report()}, 201)


class _Importer:
    def __init__(self, request: Request, on_duplicate: str) -> None:
        self._mode = "conflict" if on_duplicate == "error" else on_duplicate
        self._prefixes = {
            "_from": request.query.get("fromPrefix", ""),
            "_to": request.query.get("toPrefix", ""),
        }
        self._has_prefix = any(self._prefixes.values())
        self._overwrites_prefix = request.flag("overwriteCollectionPrefix")
        self._complete = request.flag("complete")
        self._with_details = request.flag("details")
        self._counts = {"created": 0, "errors": 0, "empty": 0, "updated": 0, "ignored": 0}
        self._details: list[str] = []

    def take(self, view: Transaction, name: str, position: int, document: Any) -> None:
        """Store one document, or count and describe why not; with ``complete``, the first bad one stops the import."""
        if document is _EMPTY:
            self._counts["empty"] += 1
            return
        try:
            if isinstance(document, ArangoError):
                raise document
            if type(document) is not dict:
                raise ArangoError(1227)
            if self._has_prefix:
                document = self._prefixed(document)
            result = view.insert(name, document, overwrite_mode=self._mode)
        except ArangoError as error:
            if error.http >= 500 or error.error_num in (1203, 1652):
                raise
            self._reject(position, document, error)
            return
        if result.ignored:
            self._counts["ignored"] += 1
        elif result.old is not None:
            self._counts["updated"] += 1
        else:
            self._counts["created"] += 1

    def report(self) -> dict[str, Any]:
        """Counts, and the details when the request asks for them."""
        return {**self._counts, **({"details": self._details} if self._with_details else {})}

    def _reject(self, position: int, document: Any, error: ArangoError) -> None:
        shown = orjson.dumps(document).decode()[:_SHOWN_CHARACTERS] if not isinstance(document, ArangoError) else ""
        text = f"at position {position}: creating document failed with error '{error.message}'"
        if shown:
            text += f", offending document: {shown}"
        if self._complete:
            raise ArangoError(error.error_num, text, http=error.http)
        self._counts["errors"] += 1
        if self._with_details:
            self._details.append(text)

    def _prefixed(self, document: dict[str, Any]) -> dict[str, Any]:
        """The document with the prefixes before the ends that are keys, or also instead of those they have."""
        ends = {}
        for end, prefix in self._prefixes.items():
            value = document.get(end)
            if prefix and type(value) is str and (self._overwrites_prefix or "/" not in value):
                ends[end] = f"{prefix.rstrip('/')}/{value.rpartition('/')[2]}"
        return {**document, **ends}


_EMPTY = object()


def _documents(request: Request) -> list[Any]:
    """Documents of the body; an ``ArangoError`` stands for a line that cannot be read."""
    kind = request.query.get("type")
    if kind not in _TYPES:
        return _table(request.body, ignore_missing=request.flag("ignoreMissing"))
    if kind in ("array", "list") or (kind == "auto" and request.body.lstrip()[:1] == b"["):
        documents = request.json
        if type(documents) is not list:
            raise ArangoError(400, "expecting a JSON array in the request")
        return documents
    return [_line(line) for line in request.body.splitlines()]


def _line(line: bytes) -> Any:
    if not line.strip():
        return _EMPTY
    try:
        return parse_json(line)
    except ArangoError as error:
        return error


def _table(body: bytes, *, ignore_missing: bool) -> list[Any]:
    """Documents of the form without ``type``: a line of attribute names, then a line of values per document.

    With ``ignore_missing`` a line may have fewer values than there are names, or more, which are dropped.
    """
    lines = [_line(line) for line in body.splitlines()]
    names = lines[0] if lines else None
    if type(names) is not list or not all(type(name) is str for name in names):
        raise ArangoError(400, "no JSON array of attribute names found in the first line")
    documents: list[Any] = []
    for values in lines[1:]:
        if type(values) is list:
            if len(values) != len(names) and not ignore_missing:
                documents.append(ArangoError(10, "wrong number of values"))
            else:
                documents.append(dict(zip(names, values, strict=False)))
        else:
            documents.append(values)
    return documents
