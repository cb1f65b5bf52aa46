"""String, similarity, hash and encoding functions, against the documentation's own examples and edge cases."""

import hashlib
import re

import pytest
from function_calls import call, call_with, warning_of
from hypothesis import given
from hypothesis import strategies as st

from aqlite.aql.context import CallContext
from aqlite.errors import ArangoError

FOX = "the quick brown foxx"


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("CHAR_LENGTH", ("foo",), 3),
        ("CHAR_LENGTH", ("🥑",), 1),
        ("CHAR_LENGTH", (True,), 4),
        ("CHAR_LENGTH", ({"foo": "bar"},), 13),
        ("CONCAT", ("foo", "bar", "baz"), "foobarbaz"),
        ("CONCAT", (1, 2, 3), "123"),
        ("CONCAT", (None, False, 0, True, ""), "false0true"),
        ("CONCAT", ([5, 6], {"foo": "bar"}), '[5,6]{"foo":"bar"}'),
        ("CONCAT", (["foo", None, "bar"],), "foobar"),
        ("CONCAT", ([[5, 6], {"foo": "bar"}],), '[5,6]{"foo":"bar"}'),
        ("CONCAT_SEPARATOR", (", ", "foo", "bar", "baz"), "foo, bar, baz"),
        ("CONCAT_SEPARATOR", (", ", None, False, 0, True, ""), "false, 0, true, "),
        ("CONCAT_SEPARATOR", (", ", [5, 6], {"foo": "bar"}), '[5,6], {"foo":"bar"}'),
        ("CONCAT_SEPARATOR", (", ", ["foo", "bar"]), "foo, bar"),
        ("CONTAINS", ("foobarbaz", "bar"), True),
        ("CONTAINS", ("foobarbaz", "BAR"), False),
        ("CONTAINS", ("foobarbaz", "ba", True), 3),
        ("CONTAINS", ("foobarbaz", "horse", True), -1),
        ("CONTAINS", ("foo", "", True), -1),
        ("FIND_FIRST", ("foobarbaz", "ba"), 3),
        ("FIND_FIRST", ("foobarbaz", "ba", 4), 6),
        ("FIND_FIRST", ("foobarbaz", "ba", 0, 3), -1),
        ("FIND_FIRST", ("foobarbaz", "", 4), 4),
        ("FIND_FIRST", ("foobarbaz", "ba", -1), -1),
        ("FIND_LAST", ("foobarbaz", "ba"), 6),
        ("FIND_LAST", ("foobarbaz", "ba", 7), -1),
        ("FIND_LAST", ("foobarbaz", "ba", 0, 4), 3),
        ("FIND_LAST", ("foobarbaz", ""), 9),
        ("FIND_LAST", ("foobarbaz", "", 0, 4), 5),
        ("LEFT", ("foobar", 3), "foo"),
        ("LEFT", ("foobar", 10), "foobar"),
        ("RIGHT", ("foobar", 3), "bar"),
        ("RIGHT", ("foobar", 0), ""),
        ("SUBSTRING", ("Holy Guacamole!", 5), "Guacamole!"),
        ("SUBSTRING", ("Holy Guacamole!", 10, 4), "mole"),
        ("SUBSTRING", ("Holy Guacamole!", -5, 4), "mole"),
        ("SUBSTRING", ("abc", -10, 2), "ab"),
        ("SUBSTRING", ("abc", 1e300), ""),
        ("SUBSTRING_BYTES", ("We ❤️ avocado!", 10), "avocado!"),
        ("SUBSTRING_BYTES", ("We ❤️ avocado!", 3, 3), "\u2764"),
        ("SUBSTRING_BYTES", ("We ❤️ avocado!", -15, 6), "\u2764\ufe0f"),
        ("LOWER", ("AVOcado",), "avocado"),
        ("UPPER", ("AVOcado",), "AVOCADO"),
        ("LOWER", (12,), "12"),
        ("LTRIM", ("  foo bar  ",), "foo bar  "),
        ("LTRIM", ("--==[foo-bar]==--", "-=[]"), "foo-bar]==--"),
        ("RTRIM", ("  foo bar  ",), "  foo bar"),
        ("RTRIM", ("--==[foo-bar]==--", "-=[]"), "--==[foo-bar"),
        ("TRIM", ("  foobar\t \r\n ",), "foobar"),
        ("TRIM", (" x ", 1), "x "),
        ("TRIM", (" x ", 2), " x"),
        ("TRIM", (";foo;bar;baz, ", ",; "), "foo;bar;baz"),
        ("REPEAT", ("foo", 3), "foofoofoo"),
        ("REPEAT", ("foo", 2, "-"), "foo-foo"),
        ("REPEAT", ("foo", 0), ""),
        ("TO_CHAR", (0x1F951,), "🥑"),
        ("REVERSE", ("电脑坏了",), "了坏脑电"),
        ("SPLIT", ("foo-bar-baz", "-"), ["foo", "bar", "baz"]),
        ("SPLIT", ("foo-bar-baz", "-", 1), ["foo"]),
        ("SPLIT", ("foo, bar & baz", [", ", " & "]), ["foo", "bar", "baz"]),
        ("SPLIT", ("abc", ""), ["a", "b", "c"]),
        ("SPLIT", ("abc",), ["abc"]),
        ("SPLIT", ("a.b", "."), ["a", "b"]),
        ("STARTS_WITH", ("foobar", "foo"), True),
        ("STARTS_WITH", ("foobar", "baz"), False),
        ("STARTS_WITH", ("foobar", ["bar", "foo"]), True),
        ("STARTS_WITH", ("foobar", ["bar", "foo"], 2), False),
        ("SUBSTITUTE", (FOX, "quick", "lazy"), "the lazy brown foxx"),
        ("SUBSTITUTE", (FOX, ["quick", "foxx"], ["slow", "dog"]), "the slow brown dog"),
        ("SUBSTITUTE", (FOX, ["the", "foxx"], ["that", "dog"], 1), "that quick brown foxx"),
        ("SUBSTITUTE", (FOX, ["the", "quick", "foxx"], ["A", "VOID!"]), "A VOID! brown "),
        ("SUBSTITUTE", (FOX, ["quick", "foxx"], "xx"), "the xx brown xx"),
        ("SUBSTITUTE", (FOX, {"quick": "small", "brown": "slow", "foxx": "ant"}), "the small slow ant"),
        ("SUBSTITUTE", (FOX, {"quick": "", "brown": None, "foxx": "ant"}), "the   ant"),
        ("SUBSTITUTE", (FOX, {"quick": "small", "brown": "slow", "foxx": "ant"}, 2), "the small slow foxx"),
        ("SUBSTITUTE", (FOX, "quick"), "the  brown foxx"),
        ("SUBSTITUTE", (FOX, "quick", "lazy", 0), FOX),
        ("SUBSTITUTE", ("a.b", ".", "\\1"), "a\\1b"),
        ("LIKE", ("cart", "ca_t"), True),
        ("LIKE", ("foo bar baz", "%bar%"), True),
        ("LIKE", ("FoO bAr BaZ", "fOo%bAz"), False),
        ("LIKE", ("FoO bAr BaZ", "fOo%bAz", True), True),
        ("REGEX_TEST", ("the quick brown fox", "the.*fox"), True),
        ("REGEX_TEST", ("the quick brown fox", "^(a|the)\\s+(quick|slow).*f.x$"), True),
        ("REGEX_TEST", ("the\nquick\nbrown\nfox", "^the(\n[a-w]+)+\nfox$"), True),
        ("REGEX_TEST", ("FOO", "foo"), False),
        ("REGEX_TEST", ("FOO", "foo", True), True),
        ("REGEX_MATCHES", ("My-us3r_n4m3", "^[a-z0-9_-]{3,16}$", True), ["My-us3r_n4m3"]),
        ("REGEX_MATCHES", ("#4d82h4", "^#?([a-f0-9]{6}|[a-f0-9]{3})$", True), None),
        (
            "REGEX_MATCHES",
            ("john@doe.com", "^([a-z0-9_\\.-]+)@([\\da-z-]+)\\.([a-z\\.]{2,6})$"),
            ["john@doe.com", "john", "doe", "com"],
        ),
        ("REGEX_SPLIT", ("hypertext language, programming", "[\\s, ]+"), ["hypertext", "language", "programming"]),
        ("REGEX_SPLIT", ("Capture the article", "(the)"), ["Capture ", "the", " article"]),
        ("REGEX_SPLIT", ("Don't capture the article", "the"), ["Don't capture ", " article"]),
        ("REGEX_SPLIT", ("cA,Bc,A,BcA,BcA,Bc", "a,b", True, 3), ["c", "c,", "c"]),
        ("REGEX_SPLIT", ("ab", ""), ["a", "b"]),
        ("REGEX_REPLACE", ("the quick brown fox", "the.*fox", "jumped over"), "jumped over"),
        ("REGEX_REPLACE", ("An Avocado", "a", "_"), "An Avoc_do"),
        ("REGEX_REPLACE", ("An Avocado", "a", "_", True), "_n _voc_do"),
        ("REGEX_REPLACE", ("John Doe", "(\\w+) (\\w+)", "$2, $1 \\$$9"), "Doe, John $"),
        ("LEVENSHTEIN_DISTANCE", ("foobar", "bar"), 3),
        ("LEVENSHTEIN_DISTANCE", (" ", ""), 1),
        (
            "LEVENSHTEIN_DISTANCE",
            ("The quick brown fox jumps over the lazy dog", "The quick black dog jumps over the brown fox"),
            13,
        ),
        ("LEVENSHTEIN_DISTANCE", ("der mötör trötet", "der trötet"), 6),
        ("LEVENSHTEIN_DISTANCE", ("ca", "abc"), 2),
        ("NGRAM_SIMILARITY", ("quick fox", "quick foxx", 2), 8 / 9),
        ("NGRAM_SIMILARITY", ("quick fox", "quirky fox", 3), 0.375),
        ("NGRAM_POSITIONAL_SIMILARITY", ("quick fox", "quirky fox", 2), 0.7222222089767456),
        ("NGRAM_POSITIONAL_SIMILARITY", ("quick fox", "quirky fox", 3), 0.6666666865348816),
        ("NGRAM_SIMILARITY", ("a", "a", 3), 1),
        ("SOUNDEX", ("example",), "E251"),
        ("SOUNDEX", ("ekzampul",), "E251"),
        ("SOUNDEX", ("soundex",), "S532"),
        ("SOUNDEX", ("Ashcraft",), "A261"),
        ("SOUNDEX", ("Tymczak",), "T522"),
        ("SOUNDEX", ("42",), ""),
        ("TOKENS", ("The Quick, brown FÖX!", "text_en"), ["the", "quick", "brown", "fox"]),
        ("TOKENS", (["a b", ["c"]], "text_en"), [["a", "b"], [["c"]]]),
        ("TOKENS", ("a b", "identity"), ["a b"]),
        ("CRC32", ("foobar",), "D5F5C7F"),
        ("FNV64", ("foobar",), "85944171F73967E8"),
        ("MD5", ("foobar",), "3858f62230ac3c915f300c664312c63f"),
        ("SHA1", ("foobar",), "8843d7f92416211de9ebb963ff4ce28125932878"),
        ("ENCODE_URI_COMPONENT", ("fünf %",), "f%C3%BCnf%20%25"),
        ("ENCODE_URI_COMPONENT", ("a-_.!~*'()/",), "a-_.!~*'()%2F"),
        ("TO_BASE64", ("ABC.",), "QUJDLg=="),
        ("TO_HEX", ("ü",), "c3bc"),
        ("JSON_PARSE", ("[ true, false, null, -0.5 ]",), [True, False, None, -0.5]),
        ("JSON_PARSE", ('{"a": 1}',), {"a": 1}),
        ("JSON_STRINGIFY", ("abc",), '"abc"'),
        ("JSON_STRINGIFY", ([1, {"2": 0.5}],), '[1,{"2":0.5}]'),
        ("IPV4_FROM_NUMBER", (134744072,), "8.8.8.8"),
        ("IPV4_FROM_NUMBER", (3232235521,), "192.168.0.1"),
        ("IPV4_TO_NUMBER", ("127.0.0.1",), 2130706433),
        ("IS_IPV4", ("8.8.8.8",), True),
        ("IS_IPV4", ("008.008.008.008",), False),
        ("IS_IPV4", ("12345.2.3.4",), False),
        ("IS_IPV4", ("256.1.1.1",), False),
        ("IS_IPV4", ("12.34",), False),
        ("IS_IPV4", (8888,), False),
    ],
)
def test_documented_answers(name, args, expected):
    assert call(name, *args) == (pytest.approx(expected) if type(expected) is float else expected)


@pytest.mark.parametrize(
    ("name", "args", "number"),
    [
        ("JSON_PARSE", ("abc",), 1542),
        ("JSON_PARSE", (1,), 1542),
        ("JSON_PARSE", ("NaN",), 1542),
        ("JSON_PARSE", ("[" * 5000 + "]" * 5000,), 1542),
        ("IPV4_FROM_NUMBER", (-23,), 1542),
        ("IPV4_FROM_NUMBER", (2**32,), 1542),
        ("IPV4_TO_NUMBER", ("milk",), 1542),
        ("SUBSTRING_BYTES", ("We ❤️ avocado!", -15, 4), 1542),
        ("SPLIT", ("a,b", ",", -1), 1542),
        ("SUBSTITUTE", ("a", "b", "c", -1), 1542),
        ("REGEX_SPLIT", ("a", "b", False, -1), 1542),
        ("REPEAT", ("x", -1), 1542),
        ("REPEAT", ("x", 1e12), 1542),
        ("TO_CHAR", (0xD800,), 1542),
        ("TO_CHAR", (0x110000,), 1542),
        ("STARTS_WITH", (1, "a"), 1542),
        ("NGRAM_SIMILARITY", ("a", "b", 0), 1542),
        ("RANDOM_TOKEN", (-1,), 1542),
        ("RANDOM_TOKEN", (65537,), 1542),
    ],
)
def test_bad_arguments_are_null_with_a_warning(name, args, number):
    assert warning_of(name, *args) == number


@pytest.mark.parametrize("name", ["REGEX_TEST", "REGEX_MATCHES", "REGEX_SPLIT", "REGEX_REPLACE"])
def test_invalid_expressions_are_null_with_a_warning(name):
    ctx = CallContext()
    args = ("text", "(", "x") if name == "REGEX_REPLACE" else ("text", "(")
    assert call_with(ctx, name, *args) is None
    assert [warning["code"] for warning in ctx.warnings] == [1543]


@given(st.text())
def test_hashes_agree_with_hashlib(text):
    assert call("SHA256", text) == hashlib.sha256(text.encode()).hexdigest()
    assert call("SHA512", text) == hashlib.sha512(text.encode()).hexdigest()


def test_hash_depends_on_type_but_not_on_attribute_order():
    assert call("HASH", {"a": 1, "b": [1, 2]}) == call("HASH", {"b": [1, 2], "a": 1.0})
    assert len({call("HASH", value) for value in (1, "1", True, [1], None, {}, [], "", 0)}) == 9
    assert 0 <= call("HASH", "x") < 2**53


def test_random_texts():
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", call("UUID"))
    assert call("UUID") != call("UUID")
    assert re.fullmatch(r"[A-Za-z0-9]{8}", call("RANDOM_TOKEN", 8))
    assert call("RANDOM_TOKEN", 0) == ""


def test_what_is_not_covered_says_so():
    with pytest.raises(ArangoError, match="not supported by aqlite") as error:
        call("TOKENS", "text", "text_de")
    assert error.value.error_num == 9
    for name in ("FULLTEXT", "GEO_CONTAINS", "PHRASE", "SCHEMA_VALIDATE"):
        with pytest.raises(ArangoError, match=f"{name}.*not supported by aqlite"):
            call(name, "a", "b")


def test_quadratic_comparisons_are_bounded():
    with pytest.raises(ArangoError, match="too long") as error:
        call("LEVENSHTEIN_DISTANCE", "a" * 10_000, "b" * 10_000)
    assert error.value.error_num == 32


@given(st.text(alphabet="abc", max_size=6), st.text(alphabet="abc", max_size=6))
def test_edit_distance_is_a_metric(left, right):
    distance = call("LEVENSHTEIN_DISTANCE", left, right)
    assert distance == call("LEVENSHTEIN_DISTANCE", right, left)
    assert (distance == 0) == (left == right)
    assert abs(len(left) - len(right)) <= distance <= max(len(left), len(right))
