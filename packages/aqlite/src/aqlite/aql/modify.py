"""``INSERT``, ``UPDATE``, ``REPLACE``, ``REMOVE`` and ``UPSERT``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from aqlite.aql import plan as p
from aqlite.aql.expressions import UNSET, ExpressionCompiler, Frame
from aqlite.aql.runtime import CHECK_MASK, Runtime
from aqlite.aql.stages import Stage
from aqlite.aql.values import type_name
from aqlite.errors import ArangoError
from aqlite.storage.api import WriteResult

Write = Callable[[Frame], WriteResult]


def modify_stage(runtime: Runtime, expressions: ExpressionCompiler, source: Stage, node: p.ModifyNode) -> Stage:
    """Stage of a write statement: all rows are written before the first one goes on to the next stage."""
    key = expressions.compile(node.key)
    patch = None if node.patch is None else expressions.compile(node.patch)
    write = _WRITERS[node.kind](runtime, node, key, patch)
    return _writing_stage(runtime, expressions, source, node, write)


def upsert_stage(runtime: Runtime, expressions: ExpressionCompiler, source: Stage, node: p.UpsertNode) -> Stage:
    """Stage of ``UPSERT``: each row looks its document up, and sees what earlier rows wrote."""
    view, name, options = runtime.view, node.collection, node.options
    find = expressions.compile_fresh(node.find)
    node.old.level = expressions.level  # OLD has a value for each row already while the patch is computed
    document, patch = expressions.compile(node.document), expressions.compile(node.patch)
    old_slot = node.old.slot

    def write(frame: Frame) -> WriteResult:
        frame[old_slot] = None
        found = find(frame)
        if not found:
            return view.insert(name, _object(document(frame)), **_insert_options(options))
        old = frame[old_slot] = found[0]
        changes = _object(patch(frame))
        rev = _revision(changes, options.get("ignoreRevs") is False)
        if node.replace:
            return view.replace(name, old["_key"], changes, rev=rev, **_version_option(options))
        return view.update(name, old["_key"], changes, rev=rev, **_merge_options(options))

    return _writing_stage(runtime, expressions, source, node, write)


def _writing_stage(
    runtime: Runtime,
    expressions: ExpressionCompiler,
    source: Stage,
    node: p.ModifyNode | p.UpsertNode,
    write: Write,
) -> Stage:
    emptied = expressions.enter_loop(node.old, node.new)
    inputs = _buffered(runtime, source) if node.buffered else source
    written = _written_rows(runtime, inputs, node, write)

    def stage(frame: Frame) -> Iterator[None]:
        before = runtime.memory
        for row in written(frame):
            frame[:] = row
            for memo in emptied:
                frame[memo] = UNSET
            yield
        runtime.release(before)

    return stage


def _buffered(runtime: Runtime, source: Stage) -> Stage:
    """The same rows, all read before the first one is handed on."""

    def stage(frame: Frame) -> Iterator[None]:
        for row in [runtime.keep_row(frame) for _ in source(frame)]:
            frame[:] = row
            yield

    return stage


def _written_rows(
    runtime: Runtime, inputs: Stage, node: p.ModifyNode | p.UpsertNode, write: Write
) -> Callable[[Frame], list[Frame]]:
    """Function that writes all rows and gives those written, with ``OLD`` and ``NEW``, where anybody needs them."""
    old_slot, new_slot = node.old.slot, node.new.slot
    ignored = _IGNORABLE if node.options.get("ignoreErrors") is True else frozenset()
    statistics, check = runtime.statistics, runtime.context.check

    def attempt(frame: Frame) -> WriteResult | None:
        try:
            return write(frame)
        except ArangoError as error:
            if error.error_num not in ignored:
                raise
            return None

    def rows(frame: Frame) -> list[Frame]:
        kept = []
        for position, _ in enumerate(inputs(frame)):
            if not position & CHECK_MASK:
                check()
            result = attempt(frame)
            if result is None or result.ignored:
                statistics.writes_ignored += 1
            else:
                statistics.writes_executed += 1
            if result is not None and node.rows_needed:
                frame[old_slot], frame[new_slot] = result.old, result.new
                kept.append(runtime.keep_row(frame))
        return kept

    return rows


_IGNORABLE = frozenset({1200, 1202, 1205, 1210, 1213, 1221, 1222, 1226, 1227, 1233})
"""What ``ignoreErrors`` passes over: errors of single documents."""


# --- one write ------------------------------------------------------------------------------------------------
def _insert(runtime: Runtime, node: p.ModifyNode, document: Callable, _: Any) -> Write:
    view, name, options = runtime.view, node.collection, _insert_options(node.options)
    return lambda frame: view.insert(name, _object(document(frame)), **options)


def _update(runtime: Runtime, node: p.ModifyNode, key: Callable, patch: Callable | None) -> Write:
    view, name, options = runtime.view, node.collection, _merge_options(node.options)
    check_revision = node.options.get("ignoreRevs") is False

    def write(frame: Frame) -> WriteResult:
        target = key(frame)
        changes = _object(target if patch is None else patch(frame))
        rev = _revision(target, check_revision)
        return view.update(name, document_key(name, target), changes, rev=rev, **options)

    return write


def _replace(runtime: Runtime, node: p.ModifyNode, key: Callable, patch: Callable | None) -> Write:
    view, name, options = runtime.view, node.collection, _version_option(node.options)
    check_revision = node.options.get("ignoreRevs") is False

    def write(frame: Frame) -> WriteResult:
        target = key(frame)
        document = _object(target if patch is None else patch(frame))
        rev = _revision(target, check_revision)
        return view.replace(name, document_key(name, target), document, rev=rev, **options)

    return write


def _remove(runtime: Runtime, node: p.ModifyNode, key: Callable, _: Any) -> Write:
    view, name = runtime.view, node.collection
    check_revision = node.options.get("ignoreRevs") is False

    def write(frame: Frame) -> WriteResult:
        target = key(frame)
        return view.remove(name, document_key(name, target), rev=_revision(target, check_revision))

    return write


_WRITERS: dict[str, Callable[..., Write]] = {
    "INSERT": _insert,
    "UPDATE": _update,
    "REPLACE": _replace,
    "REMOVE": _remove,
}


def _revision(document: Any, wanted: bool) -> str | None:
    if not wanted or not isinstance(document, dict):
        return None
    rev = document.get("_rev")
    return rev if isinstance(rev, str) else None


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ArangoError(
            1227, f"AQL: invalid document type: expecting an object, got a value of type {type_name(value)}"
        )
    return value


def document_key(collection: str, target: Any) -> str:
    """Key of the document to write: a key, or an object with ``_key`` (or ``_id`` of the same collection).

    Raises:
        ArangoError: 1226 without a key, 1221 for a key that is no string, 1213 for another collection's ``_id``.
    """
    if isinstance(target, dict):
        if isinstance(target.get("_key"), str):
            return target["_key"]
        identifier = target.get("_id")
        if isinstance(identifier, str) and "/" in identifier:
            owner, _, key = identifier.partition("/")
            if owner != collection:
                raise ArangoError(1213, f"AQL: cross collection request not allowed: '{identifier}' in '{collection}'")
            return key
        raise ArangoError(1226, "AQL: missing document key: expecting an object with a string _key")
    if not isinstance(target, str):
        raise ArangoError(1221, f"AQL: illegal document key: expecting a string, got {type_name(target)}")
    if "/" in target:
        raise ArangoError(1221, f"AQL: illegal document key: '{target[:80]}'")
    return target


# --- options --------------------------------------------------------------------------------------------------
def _version_option(options: dict[str, Any]) -> dict[str, Any]:
    name = options.get("versionAttribute")
    return {"version_attribute": name if isinstance(name, str) and name else None}


def _merge_options(options: dict[str, Any]) -> dict[str, Any]:
    return {
        **_version_option(options),
        "keep_null": options.get("keepNull") is not False,
        "merge_objects": options.get("mergeObjects") is not False,
    }


def _insert_options(options: dict[str, Any]) -> dict[str, Any]:
    mode = options.get("overwriteMode")
    if mode is None:
        mode = "replace" if options.get("overwrite") is True else "conflict"
    if mode not in ("conflict", "ignore", "replace", "update"):
        raise ArangoError(10, f"AQL: bad parameter: overwriteMode {mode!r}")
    return {"overwrite_mode": mode, **_merge_options(options)}
