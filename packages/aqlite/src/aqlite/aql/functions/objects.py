"""Object functions. Source: the page "Document and object functions in AQL" of ArangoDB 3.12."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from aqlite.aql.functions.registry import Registry, warn
from aqlite.aql.values import Value, equals, sorted_values, to_string, truthy

if TYPE_CHECKING:
    from aqlite.aql.context import CallContext

FUNCTIONS = Registry()
_MISSING = object()


def _visible(document: dict, remove_system: Value) -> dict:
    if not truthy(remove_system):
        return document
    return {name: value for name, value in document.items() if not name.startswith("_")}


@FUNCTIONS.define("ATTRIBUTES", "KEYS")
def attributes(
    ctx: CallContext, document: Value, remove_system: Value = False, sort: Value = False
) -> list[str] | None:
    """Names of the attributes."""
    if type(document) is not dict:
        return warn(ctx, "ATTRIBUTES")
    names = list(_visible(document, remove_system))
    return sorted_values(names) if truthy(sort) else names


@FUNCTIONS.define("VALUES")
def values_of(ctx: CallContext, document: Value, remove_system: Value = False) -> list[Value] | None:
    """Values of the attributes."""
    return list(_visible(document, remove_system).values()) if type(document) is dict else warn(ctx, "VALUES")


@FUNCTIONS.define("ENTRIES")
def entries(ctx: CallContext, document: Value) -> list[Value] | None:
    """Attributes as ``[name, value]`` pairs."""
    return [[name, value] for name, value in document.items()] if type(document) is dict else warn(ctx, "ENTRIES")


@FUNCTIONS.define("HAS")
def has(ctx: CallContext, document: Value, name: Value) -> bool:
    """Whether the object has the attribute, whatever its value."""
    return type(document) is dict and to_string(name) in document


@FUNCTIONS.define("VALUE")
def value_at(ctx: CallContext, document: Value, path: Value) -> Value:
    """Value at a path of attribute names and array positions, null where it breaks off."""
    if type(document) is not dict or type(path) is not list:
        return warn(ctx, "VALUE")
    value: Value = document
    for step in path:
        if type(value) is dict and type(step) is str:
            value = value.get(step)
        elif type(value) is list and type(step) in (int, float):
            value = value[int(step)] if -len(value) <= int(step) < len(value) else None
        else:
            return None
    return value


@FUNCTIONS.define("TRANSLATE")
def translate(ctx: CallContext, value: Value, lookup: Value, default: Value = _MISSING) -> Value:
    """Value that the lookup object has for a key; else the default, else the key itself."""
    if type(lookup) is not dict:
        return warn(ctx, "TRANSLATE")
    return lookup.get(to_string(value), value if default is _MISSING else default)


@FUNCTIONS.define("ZIP")
def zip_object(ctx: CallContext, keys: Value, values: Value) -> dict[str, Value] | None:
    """Object of an array of names and an array of values; the first of two equal names wins."""
    if type(keys) is not list or type(values) is not list or len(keys) != len(values):
        return warn(ctx, "ZIP")
    document: dict[str, Value] = {}
    for key, value in zip(keys, values, strict=True):
        document.setdefault(to_string(key), value)
    return document


@FUNCTIONS.define("MATCHES")
def matches(ctx: CallContext, document: Value, examples: Value, return_index: Value = False) -> bool | int | None:
    """Whether, or with ``return_index`` which, example's attributes all equal the document's."""
    candidates = examples if type(examples) is list else [examples]
    if type(document) is not dict:
        return -1 if truthy(return_index) else False
    if not candidates or any(type(example) is not dict for example in candidates):
        return warn(ctx, "MATCHES")
    found = next((index for index, example in enumerate(candidates) if _matches(document, example)), -1)
    return found if truthy(return_index) else found >= 0


def _matches(document: dict, example: dict) -> bool:
    return all(equals(document.get(name), value) for name, value in example.items())


# --- choosing attributes --------------------------------------------------------------------------------------
def _names(arguments: tuple[Value, ...]) -> set[str]:
    given = arguments[0] if len(arguments) == 1 and type(arguments[0]) is list else arguments
    return {name for name in given if type(name) is str}


def _kept(document: dict, names: Collection[str], *, recursive: bool) -> dict:
    return {
        name: _kept(value, names, recursive=True) if recursive and type(value) is dict else value
        for name, value in document.items()
        if name in names
    }


def _without(document: dict, names: Collection[str], *, recursive: bool) -> dict:
    return {
        name: _without(value, names, recursive=True) if recursive and type(value) is dict else value
        for name, value in document.items()
        if name not in names
    }


@FUNCTIONS.define("KEEP", min_args=2)
def keep(ctx: CallContext, document: Value, *names: Value) -> dict | None:
    """Object with only the named attributes."""
    return _kept(document, _names(names), recursive=False) if type(document) is dict else warn(ctx, "KEEP")


@FUNCTIONS.define("KEEP_RECURSIVE", min_args=2)
def keep_recursive(ctx: CallContext, document: Value, *names: Value) -> dict | None:
    """Object with only the named attributes on every level."""
    return _kept(document, _names(names), recursive=True) if type(document) is dict else warn(ctx, "KEEP_RECURSIVE")


@FUNCTIONS.define("UNSET", min_args=2)
def unset(ctx: CallContext, document: Value, *names: Value) -> dict | None:
    """Object without the named attributes."""
    return _without(document, _names(names), recursive=False) if type(document) is dict else warn(ctx, "UNSET")


@FUNCTIONS.define("UNSET_RECURSIVE", min_args=2)
def unset_recursive(ctx: CallContext, document: Value, *names: Value) -> dict | None:
    """Object without the named attributes on every level."""
    if type(document) is not dict:
        return warn(ctx, "UNSET_RECURSIVE")
    return _without(document, _names(names), recursive=True)


# --- merging --------------------------------------------------------------------------------------------------
def _documents(ctx: CallContext, name: str, arguments: tuple[Value, ...]) -> list[dict] | None:
    documents = arguments[0] if len(arguments) == 1 and type(arguments[0]) is list else list(arguments)
    return documents if all(type(document) is dict for document in documents) else warn(ctx, name)


@FUNCTIONS.define("MERGE", min_args=1)
def merge(ctx: CallContext, *documents: Value) -> dict | None:
    """Attributes of all objects, or of an array of objects; later ones win."""
    sources = _documents(ctx, "MERGE", documents)
    if sources is None:
        return None
    merged: dict[str, Value] = {}
    for document in sources:
        merged.update(document)
    return merged


@FUNCTIONS.define("MERGE_RECURSIVE", min_args=1)
def merge_recursive(ctx: CallContext, *documents: Value) -> dict | None:
    """Attributes of all objects, objects inside merged too; later ones win."""
    sources = _documents(ctx, "MERGE_RECURSIVE", documents)
    if sources is None:
        return None
    merged: dict[str, Value] = {}
    for document in sources:
        merged = _merged(merged, document)
    return merged


def _merged(base: dict, patch: dict) -> dict:
    merged = dict(base)
    for name, value in patch.items():
        old = merged.get(name)
        merged[name] = _merged(old, value) if type(old) is dict and type(value) is dict else value
    return merged


# --- document identifiers -------------------------------------------------------------------------------------
def identifier_parts(value: Value) -> tuple[str, str] | None:
    """(collection, key) of an ``_id`` string or of an object that has one."""
    text = value.get("_id") if type(value) is dict else value
    if type(text) is not str or text.count("/") != 1:
        return None
    collection, key = text.split("/")
    return (collection, key) if collection and key else None


@FUNCTIONS.define("PARSE_IDENTIFIER")
def parse_identifier(ctx: CallContext, value: Value) -> dict[str, str] | None:
    """Collection and key of a document identifier."""
    parts = identifier_parts(value)
    return warn(ctx, "PARSE_IDENTIFIER") if parts is None else {"collection": parts[0], "key": parts[1]}


@FUNCTIONS.define("PARSE_COLLECTION")
def parse_collection(ctx: CallContext, value: Value) -> str | None:
    """Collection name of a document identifier."""
    parts = identifier_parts(value)
    return warn(ctx, "PARSE_COLLECTION") if parts is None else parts[0]


@FUNCTIONS.define("PARSE_KEY")
def parse_key(ctx: CallContext, value: Value) -> str | None:
    """Key of a document identifier."""
    parts = identifier_parts(value)
    return warn(ctx, "PARSE_KEY") if parts is None else parts[1]


@FUNCTIONS.define("IS_SAME_COLLECTION", collection_args=(0,))
def is_same_collection(ctx: CallContext, collection: Value, value: Value) -> bool | None:
    """Whether a document identifier names that collection."""
    parts = identifier_parts(value)
    if parts is None or type(collection) is not str:
        return False if type(value) is str and type(collection) is str else warn(ctx, "IS_SAME_COLLECTION")
    return parts[0] == collection
