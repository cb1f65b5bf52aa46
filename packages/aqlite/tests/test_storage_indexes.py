"""Index entries: byte order against AQL's order, lookups against scans, uniqueness, arrays, expiry."""

from __future__ import annotations

import functools
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aqlite.aql import run_query
from aqlite.aql.values import compare
from aqlite.errors import ArangoError
from aqlite.storage import ddl
from aqlite.storage.api import UNBOUNDED, IndexInfo
from aqlite.storage.expiry import remove_expired
from aqlite.storage.fields import attribute, parse_field
from aqlite.storage.indexes import kind_of, requested_index
from aqlite.storage.indexes.entries import TtlIndex
from aqlite.storage.key_encoding import encode_value, encode_values, prefix_end

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0, -0.0, 1, 1.0, 2**53, 2**53 + 1, float(2**53), 1e300, -1e-300])
    | st.text(max_size=6)
    | st.sampled_from(["a", "A", "ä", "b", "aa", "a b", "a-b", "", "\x00", "a\x00", "ß", "ss", "z", "日本"])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "ab", "b", "ä"]), inner, max_size=3)
    ),
    max_leaves=6,
)


class DiscardError(Exception):
    """Raised at the end of an example to roll its writes back."""


def sign(number: int) -> int:
    return (number > 0) - (number < 0)


@settings(max_examples=400, deadline=None)
@given(values, values)
def test_bytes_sort_as_aql_sorts(left, right):
    left_key, right_key = encode_value(left), encode_value(right)
    assert sign((left_key > right_key) - (left_key < right_key)) == compare(left, right)


@settings(max_examples=150, deadline=None)
@given(values, values)
def test_no_encoding_is_a_prefix_of_another(left, right):
    left_key, right_key = encode_value(left), encode_value(right)
    if left_key != right_key:
        assert not right_key.startswith(left_key)
    assert prefix_end(left_key) > left_key + b"\xff" * 3


def persistent(*fields: str, unique: bool = False, sparse: bool = False, name: str = "i") -> IndexInfo:
    return IndexInfo("", name, "persistent", tuple(parse_field(field) for field in fields), unique, sparse)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(scalars, scalars), max_size=12),
    bounds=st.tuples(st.none() | st.tuples(scalars, st.booleans()), st.none() | st.tuples(scalars, st.booleans())),
    equal=st.none() | scalars,
    with_equal=st.booleans(),
    reverse=st.booleans(),
)
def test_index_lookup_equals_filter_and_sort_of_a_scan(store, rows, bounds, equal, with_equal, reverse):
    with suppress(DiscardError), store.write("_system") as view:
        index, _ = ddl.create_index(view, "c", persistent("a", "b.c"))
        for a, c in rows:
            view.insert("c", {"a": a, "b": {"c": c}})
        prefix = [equal] if with_equal else []
        low, high = bounds
        ranged = ("b", "c") if with_equal else ("a",)

        def matches(document: dict) -> bool:
            value = attribute(document, ranged)
            return (
                (not with_equal or compare(document["a"], equal) == 0)
                and (low is None or compare(value, low[0]) > 0 or (low[1] and compare(value, low[0]) == 0))
                and (high is None or compare(value, high[0]) < 0 or (high[1] and compare(value, high[0]) == 0))
            )

        def order(left: dict, right: dict) -> int:
            return compare([left["a"], left["b"]["c"]], [right["a"], right["b"]["c"]])

        found = list(
            view.index_lookup(
                "c",
                index,
                prefix,
                lower=low[0] if low else UNBOUNDED,
                lower_inclusive=low[1] if low else True,
                upper=high[0] if high else UNBOUNDED,
                upper_inclusive=high[1] if high else True,
                reverse=reverse,
            )
        )
        expected = sorted(filter(matches, view.scan("c")), key=functools.cmp_to_key(order), reverse=reverse)
        assert {d["_key"] for d in found} == {d["_key"] for d in expected}
        assert all(order(f, e) == 0 for f, e in zip(found, expected, strict=True))
        raise DiscardError


def test_unique_index_checks_inserts_updates_and_existing_documents(store):
    with store.write("_system") as view:
        ddl.create_index(view, "c", persistent("x", unique=True))
        view.insert("c", {"_key": "a", "x": 1})
        view.insert("c", {"_key": "b", "x": 2})
        for write in (
            lambda: view.insert("c", {"x": 1.0}),
            lambda: view.update("c", "b", {"x": 1}),
            lambda: view.insert("c", {"_key": "b", "x": 1}, overwrite_mode="replace"),
        ):
            with pytest.raises(ArangoError, match="in index i of type persistent over 'x'; conflicting key: a"):
                write()
        view.update("c", "a", {"x": 1, "y": 1})
        view.insert("c", {"_key": "n"})
        with pytest.raises(ArangoError, match="conflicting key: n"):
            view.insert("c", {"x": None})
        view.remove("c", "a")
        view.insert("c", {"x": 1})
        assert view.count("c") == 3
        view.insert("c", {"y": 9, "x": 10})
        view.insert("c", {"y": 9, "x": 11})
        with pytest.raises(ArangoError) as error:
            ddl.create_index(view, "c", persistent("y", unique=True, name="j"))
        assert error.value.error_num == 1210


def test_sparse_unique_index_takes_many_nulls(store):
    with store.write("_system") as view:
        index, _ = ddl.create_index(view, "c", persistent("x", "y", unique=True, sparse=True))
        for _ in range(3):
            view.insert("c", {"x": 1})
        view.insert("c", {"x": 1, "y": 0})
        assert len(list(view.index_lookup("c", index, []))) == 1


def test_array_index_finds_members_and_each_document_once(store):
    with store.write("_system") as view:
        index, _ = ddl.create_index(view, "c", persistent("tags[*].name"))
        view.insert("c", {"_key": "a", "tags": [{"name": "x"}, {"name": "y"}, {"name": "x"}]})
        view.insert("c", {"_key": "b", "tags": [{"name": "y"}]})
        view.insert("c", {"_key": "none", "tags": "x"})
        assert [d["_key"] for d in view.index_lookup("c", index, ["y"])] == ["a", "b"]
        assert [d["_key"] for d in view.index_lookup("c", index, [])] == ["a", "b"]
        view.update("c", "a", {"tags": []})
        assert [d["_key"] for d in view.index_lookup("c", index, [])] == ["b"]


def test_index_follows_replace_remove_and_truncate(store):
    with store.write("_system") as view:
        index, _ = ddl.create_index(view, "c", persistent("x"))
        for n in range(5):
            view.insert("c", {"_key": str(n), "x": n})
        view.replace("c", "1", {"y": 1})
        view.remove("c", "2")
        assert [d["_key"] for d in view.index_lookup("c", index, [])] == ["1", "0", "3", "4"]
        view.truncate("c")
        assert list(view.index_lookup("c", index, [])) == []
        assert view.count("c") == 0


def test_equal_definitions_share_an_index_and_names_are_unique(store):
    with store.write("_system") as view:
        first, created = ddl.create_index(view, "c", persistent("x"))
        again, created_again = ddl.create_index(view, "c", persistent("x", name=""))
        assert (created, created_again, first.id) == (True, False, again.id)
        with pytest.raises(ArangoError) as error:
            ddl.create_index(view, "c", persistent("z"))
        assert error.value.error_num == 1207
        assert ddl.drop_index(view, "c", "i").id == first.id
        with pytest.raises(ArangoError) as error:
            ddl.drop_index(view, "c", "i")
        assert error.value.error_num == 1212
        for fixed in ("0", "primary"):
            with pytest.raises(ArangoError) as error:
                ddl.drop_index(view, "c", fixed)
            assert error.value.error_num == 11


@pytest.mark.parametrize("field", ["", ".", "a.", "a[*].b[*]", "a[0]", None, 3, "[*]"])
def test_illegal_fields(field):
    with pytest.raises(ArangoError) as error:
        parse_field(field)
    assert error.value.error_num == 1220


def test_expired_documents_go(store):
    ttl = IndexInfo("", "t", "ttl", (("at",),), sparse=True, options={"expireAfter": 60})
    with store.write("_system") as view:
        ddl.create_index(view, "c", ttl)
        view.insert("c", {"_key": "old", "at": 1000})
        view.insert("c", {"_key": "old date", "at": "1970-01-01T00:20:00Z"} | {"_key": "date"})
        view.insert("c", {"_key": "young", "at": 1990})
        view.insert("c", {"_key": "never", "at": "not a date"})
        view.insert("c", {"_key": "without"})
    assert remove_expired(store, now=2000) == 2
    assert remove_expired(store, now=2000) == 0
    with store.read("_system") as view:
        assert sorted(d["_key"] for d in view.scan("c")) == ["never", "without", "young"]


def test_keys_of_several_values_concatenate():
    assert encode_values([1, "a"]) == encode_value(1) + encode_value("a")
    assert encode_values([]) == b""


def ttl(field: str = "at", seconds: float = 60, name: str = "t") -> IndexInfo:
    return requested_index({"type": "ttl", "fields": [field], "expireAfter": seconds, "name": name})


def test_a_ttl_index_answers_no_filter_and_no_sort(store):
    with store.write("_system") as view:
        ddl.create_index(view, "c", ttl())
        for key, at in (("a", 1000), ("b", "2024-01-01"), ("c", None), ("d", 2000)):
            view.insert("c", {"_key": key, "at": at})
        for condition, keys in (("d.at == 1000", ["a"]), ("d.at > 1000", ["b", "d"]), ("d.at == '2024-01-01'", ["b"])):
            found = run_query(view, f"FOR d IN c FILTER {condition} SORT d._key RETURN d._key").rows
            assert found == keys
        found = run_query(view, "FOR d IN c FILTER d.at != null SORT d.at LIMIT 9 RETURN d._key").rows
        assert found == ["a", "d", "b"]


@pytest.mark.parametrize("second", [ttl("other", name="u"), ttl(seconds=61), ttl(seconds=61, name="u")])
def test_a_collection_has_one_ttl_index(store, second):
    with store.write("_system") as view:
        first, _ = ddl.create_index(view, "c", ttl())
        assert ddl.create_index(view, "c", ttl()) == (first, False)
        with pytest.raises(ArangoError, match=r"one ttl index .* 't'") as error:
            ddl.create_index(view, "c", second)
        assert error.value.error_num == 10


def test_documents_go_when_any_ttl_index_of_an_older_folder_says_so(store, monkeypatch):
    monkeypatch.setattr(TtlIndex, "check_beside", lambda self, others: None)
    with store.write("_system") as view:
        ddl.create_index(view, "c", ttl())
        ddl.create_index(view, "c", ttl("other", name="u"))
        view.insert("c", {"_key": "one", "at": 1000})
        view.insert("c", {"_key": "other", "other": 1000})
        view.insert("c", {"_key": "both", "at": 1000, "other": 1000})
        view.insert("c", {"_key": "none"})
    assert remove_expired(store, now=2000) == 3
    with store.read("_system") as view:
        assert [document["_key"] for document in view.scan("c")] == ["none"]


def test_an_array_index_may_refuse_members_that_occur_twice(store):
    wanted = {"type": "persistent", "fields": ["tags[*]"], "unique": True, "deduplicate": False}
    with store.write("_system") as view:
        ddl.create_index(view, "c", requested_index(wanted))
        view.insert("c", {"tags": [1, 2]})
        with pytest.raises(ArangoError) as error:
            view.insert("c", {"_key": "twice", "tags": [3, 3]})
        assert error.value.error_num == 1210


def test_stored_values_are_part_of_a_definition(store):
    wanted = {"type": "persistent", "fields": ["a"], "storedValues": ["b"]}
    with store.write("_system") as view:
        index, _ = ddl.create_index(view, "c", requested_index(wanted))
        _, created = ddl.create_index(view, "c", requested_index({**wanted, "storedValues": ["c"]}))
        assert created
        shown = kind_of(index).describe(view, view.find("c"), index, stats=False)
    assert (shown["storedValues"], shown["deduplicate"]) == (["b"], True)
    with pytest.raises(ArangoError, match="storedValues"):
        requested_index({**wanted, "storedValues": [1]})
