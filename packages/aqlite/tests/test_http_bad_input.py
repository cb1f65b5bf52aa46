"""Malformed, oversized and hostile requests: each gets ArangoDB's own error, none a 500, a traceback or a hang."""

from __future__ import annotations

import base64
import gzip
import socket
import time

import orjson
import pytest
import requests
from server_process import PASSWORD, ServerProcess

AUTH = ("root", PASSWORD)
BASIC = "Basic " + base64.b64encode(f"root:{PASSWORD}".encode()).decode()


@pytest.fixture(scope="module")
def url(server, db):
    """Address of a database with a collection ``c``."""
    db.create_collection("c").insert({"_key": "a"})
    return f"{server.url}/_db/{db.name}"


def call(method: str, url: str, **options) -> requests.Response:
    return requests.request(method, url, auth=AUTH, timeout=30, **options)


def number(answer: requests.Response) -> tuple[int, int]:
    body = answer.json()
    assert body["error"] is True
    assert body["code"] == answer.status_code
    return answer.status_code, body["errorNum"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": "\xff\xfe"}',
        b'{"a": "\\ud800"}',
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"a":' * 500 + b"1" + b"}" * 500,
        b"\x00" * 100,
        b'{"a": 1} {"b": 2}',
    ],
    ids=lambda body: repr(body[:16]),
)
def test_bodies_that_are_no_json_documents(url, body):
    assert number(call("POST", f"{url}/_api/document/c", data=body)) == (400, 600)
    for path in ("/_api/cursor", "/_api/collection", "/_api/gharial", "/_api/index?collection=c", "/_api/user"):
        status, _ = number(call("POST", url + path, data=body))
        assert status in (400, 403)
    assert requests.get(f"{url}/_api/document/c/a", auth=AUTH, timeout=5).ok


@pytest.mark.parametrize("body", ["[]", "5", '"text"', "null", "true"])
def test_bodies_of_the_wrong_kind(url, body):
    for method, path in (
        ("POST", "/_api/cursor"),
        ("POST", "/_api/query"),
        ("POST", "/_api/explain"),
        ("POST", "/_api/collection"),
        ("POST", "/_api/gharial"),
        ("POST", "/_api/transaction/begin"),
        ("POST", "/_api/index?collection=c"),
        ("PATCH", "/_api/document/c/a"),
        ("PUT", "/_api/document/c/a"),
        ("PUT", "/_api/collection/c/properties"),
        ("PUT", "/_api/collection/c/rename"),
    ):
        status, _ = number(call(method, url + path, data=body))
        assert status == 400, (method, path)


def test_numbers_keep_their_value_or_are_refused(url):
    for text in (
        "0.1",
        "-0.0",
        "1e-320",
        "1.7976931348623157e308",
        "9223372036854775807",
        "-1",
        "18446744073709551615",
    ):
        stored = call("POST", f"{url}/_api/document/c?returnNew=true", data=f'{{"n": {text}}}').json()
        assert stored["new"]["n"] == float(text) or stored["new"]["n"] == int(text)
        found = call("POST", f"{url}/_api/cursor", json={"query": f"RETURN {text}"}).json()
        value = orjson.loads(text)
        assert found["result"] == [value if value < 2**63 else float(value)]


def test_a_body_of_100_mb_is_refused_with_an_answer(url):
    started = time.monotonic()
    answer = call("POST", f"{url}/_api/document/c", data=b'{"a": "' + b"x" * 100_000_000 + b'"}')
    assert number(answer) == (413, 413)
    assert time.monotonic() - started < 20
    bomb = gzip.compress(b"0" * 100_000_000)
    answer = call("POST", f"{url}/_api/document/c", data=bomb, headers={"content-encoding": "gzip"})
    assert number(answer) == (413, 413)


def test_compressed_bodies(url):
    packed = gzip.compress(b'{"_key": "packed"}')
    headers = {"content-encoding": "gzip"}
    assert call("POST", f"{url}/_api/document/c", data=packed, headers=headers).status_code == 202
    assert number(call("POST", f"{url}/_api/document/c", data=packed[:-9], headers=headers)) == (400, 400)
    assert number(call("POST", f"{url}/_api/document/c", data=b"plain", headers=headers)) == (400, 400)
    assert number(call("POST", f"{url}/_api/document/c", data=b"x", headers={"content-encoding": "br"})) == (400, 400)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/", (404, 404)),
        ("GET", "/_api", (404, 404)),
        ("GET", "/_api/nothing", (404, 404)),
        ("GET", "/_api/document/c", (405, 405)),
        ("TRACE", "/_api/version", (405, 405)),
        ("PATCH", "/_api/cursor", (405, 405)),
        ("GET", "/_api/document/c/a/b", (404, 404)),
        ("GET", "/_api/document/c/a%2Fb", (404, 404)),
        ("GET", "/_api/document/missing/a", (404, 1203)),
        ("GET", "/_api/document/c/%FF", (404, 1202)),
        ("GET", "/_api/document/c/%00", (404, 1202)),
        ("GET", "/_api/collection/..%2F..", (404, 404)),
        ("GET", "/_api/collection/c'--", (404, 1203)),
        ("GET", "/_api/index/c/%20", (404, 1212)),
        ("GET", "/_api/index", (400, 1204)),
        ("POST", "/_api/import", (400, 1204)),
        ("POST", "/_api/document", (400, 1204)),
        ("GET", "/_api/document/c/a?x=%zz&y", (200, 0)),
        ("POST", "/_api/document/c?overwriteMode=maybe", (400, 10)),
        ("GET", "/_api/edges/c?vertex=c/a", (400, 1218)),
        ("GET", "/_api/edges/c", (400, 1205)),
        ("GET", "/_api/edges/c?vertex=nonsense", (400, 1205)),
        ("GET", "/_api/transaction/abc", (404, 1655)),
        ("GET", "/_api/job/abc", (404, 404)),
        ("DELETE", "/_api/job/expired", (400, 10)),
        ("DELETE", "/_api/query/abc", (404, 1591)),
        ("GET", "/_api/simple/all", (501, 501)),
        ("GET", "/_admin/log", (501, 501)),
    ],
)
def test_paths_and_parameters(url, method, path, expected):
    answer = call(method, url + path, data=b"{}" if method == "POST" else None)
    if expected[0] == 200:
        assert answer.status_code == 200
    else:
        assert number(answer) == expected


def test_unknown_transactions_and_databases(server, url):
    headers = {"x-arango-trx-id": "123456789"}
    assert number(call("GET", f"{url}/_api/document/c/a", headers=headers)) == (404, 1655)
    assert number(call("POST", f"{url}/_api/document/c", headers=headers, data=b"{}")) == (404, 1655)
    for database in ("none", "%2e%2e", "a'b", "%00"):
        answer = call("GET", f"{server.url}/_db/{database}/_api/version")
        assert number(answer) == (404, 1228)


@pytest.mark.parametrize(
    "given",
    [
        {"query": 5},
        {"query": "RETURN 1", "bindVars": [1]},
        {"query": "RETURN 1", "batchSize": 0},
        {"query": "RETURN 1", "batchSize": "x"},
        {"query": "RETURN 1", "ttl": "long"},
        {"query": "RETURN 1", "memoryLimit": -1},
        {"query": "RETURN 1", "options": []},
        {"query": "RETURN 1", "options": {"maxRuntime": "x"}},
        {"query": "RETURN \x00"},
        {"query": "RETURN '\ufffe"},
        {"query": "RETURN " + "[" * 3000},
        {"query": "RETURN " + "NOT " * 3000 + "1"},
        {"query": "RETURN " + " + ".join(["1"] * 70_000)},
        {"query": "/* never closed"},
        {"query": "RETURN @a", "bindVars": {"a b": 1}},
    ],
    ids=lambda given: str(given)[:40],
)
def test_cursor_requests(url, given):
    started = time.monotonic()
    status, error = number(call("POST", f"{url}/_api/cursor", json=given))
    assert status == 400
    assert error in (10, 1501, 1502, 1524, 1551, 1552)
    assert time.monotonic() - started < 20


def test_deep_bind_values(url):
    deep: list = []
    for _ in range(240):
        deep = [deep]
    answer = call("POST", f"{url}/_api/cursor", data=orjson.dumps({"query": "RETURN @d", "bindVars": {"d": deep}}))
    assert answer.status_code in (201, 400, 503)
    text = b"[" * 600 + b"]" * 600
    answer = call("POST", f"{url}/_api/cursor", data=b'{"query": "RETURN @d", "bindVars": {"d": ' + text + b"}}")
    assert number(answer)[1] in (32, 600, 1524)


def receive(connection: socket.socket) -> bytes:
    """Everything until the server closes the connection."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"GET /_api/version HTTP/1.1\r\nbad header\r\n\r\n",
        b"POST /_api/cursor HTTP/1.1\r\nhost: x\r\ncontent-length: nonsense\r\n\r\n",
        b"POST /_api/cursor HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"POST /_api/cursor HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    ],
    ids=lambda raw: repr(raw[:30]),
)
def test_requests_that_are_no_http(server, raw):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(raw)
        answer = receive(connection)
    assert b"Traceback" not in answer
    assert not answer.startswith(b"HTTP/1.1 5")
    assert requests.get(f"{server.url}/_api/version", auth=AUTH, timeout=5).ok


def test_half_sent_requests_end_and_block_nobody(tmp_path):
    server = ServerProcess(tmp_path / "data", options=("--request-seconds", "1"))
    try:
        body = b'{"_key": "half"'
        head = (
            f"POST /_api/document/_graphs HTTP/1.1\r\nhost: x\r\nauthorization: {BASIC}\r\n"
            f"content-length: {len(body) + 10}\r\n\r\n"
        ).encode()
        connections = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(12)]
        for position, connection in enumerate(connections):
            connection.sendall(head[:-20] if position % 2 else head + body)
        started = time.monotonic()
        assert requests.get(f"{server.url}/_api/version", auth=AUTH, timeout=5).ok
        for position, connection in enumerate(connections):
            answer = receive(connection)
            if position % 2 == 0:
                assert answer.startswith(b"HTTP/1.1 408")
                assert orjson.loads(answer.partition(b"\r\n\r\n")[2])["errorNum"] == 408
            connection.close()
        assert time.monotonic() - started < 8
        assert not server.database().collection("_graphs").has("half")
    finally:
        assert server.stop() == 0


def test_a_client_that_leaves_does_no_harm(server, url):
    raw = f"POST /_api/cursor HTTP/1.1\r\nhost: x\r\nauthorization: {BASIC}\r\ncontent-length: 1000000\r\n\r\n".encode()
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(raw + b'{"query": ')
    assert requests.get(f"{url}/_api/document/c/a", auth=AUTH, timeout=5).ok
