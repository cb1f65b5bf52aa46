"""Thousands of random requests on every route: none may answer with a 500, and the server must stay well."""

from __future__ import annotations

import http.client
import random
import re
from base64 import b64encode
from urllib.parse import quote, urlencode

import orjson
import pytest
from server_process import PASSWORD, ServerProcess

from aqlite.http.routes import ENDPOINTS

REQUESTS = 1500
SAFE = (501, 503)
HEADERS = {"authorization": "Basic " + b64encode(f"root:{PASSWORD}".encode()).decode()}

words = re.compile(r"\w+").findall

NAMES = ["c", "e", "g", "a", "_system", "_graphs", "root", "0", "1", "primary", "missing", "", "é", "a b", "%", "c/a"]
VALUES = [None, True, False, 0, 1, -1, 1.5, 1e308, 2**63, "", "a", "c/a", "c", [], ["a"], [[]], {}, {"a": 1}, "é\x00"]
ATTRIBUTES = words(
    """
    _key _id _rev _from _to name type fields params metric dimension nLists unique sparse query bindVars batchSize
    ttl options fullCount maxRuntime collections read write edgeDefinitions orphanCollections collection from to
    user passwd active extra grant users username password expireAfter keyOptions isSystem waitForSync memoryLimit
    count
"""
)
PARAMETERS = words(
    """
    collection type returnNew returnOld overwrite overwriteMode keepNull mergeObjects silent ignoreRevs onlyget
    complete details onDuplicate fromPrefix toPrefix vertex direction withStats dropCollections dropCollection
    full isSystem excludeSystem withData withRevisions stamp waitForSync
"""
)
QUERIES = [
    "RETURN 1",
    "FOR d IN c RETURN d",
    "FOR d IN @@c RETURN d.@a",
    "INSERT @a INTO c",
    "FOR v IN 1..2 ANY @a e RETURN v",
    "FOR v IN 1..2 ANY 'c/a' GRAPH @a RETURN v",
    "REMOVE @a IN c",
    "RETURN DOCUMENT(@a)",
    "FOR d IN c SORT COSINE_SIMILARITY(d.v, @a) LIMIT @a RETURN d",
    "UPSERT {_key: @a} INSERT {x: @a} UPDATE {x: @a} IN c",
    "FOR d",
    "",
]


def some_value(chance: random.Random, depth: int = 0):
    kind = chance.random()
    if kind < 0.25 and depth < 3:
        return {chance.choice(ATTRIBUTES): some_value(chance, depth + 1) for _ in range(chance.randrange(4))}
    if kind < 0.35 and depth < 3:
        return [some_value(chance, depth + 1) for _ in range(chance.randrange(3))]
    if kind < 0.6:
        return chance.choice(NAMES)
    value = chance.choice(VALUES)
    return value if value != 2**63 else 2**63 - 1


def some_body(chance: random.Random, path: str) -> bytes:
    if chance.random() < 0.1:
        return bytes(chance.randrange(256) for _ in range(chance.randrange(30)))
    if chance.random() < 0.1:
        return orjson.dumps([some_value(chance) for _ in range(chance.randrange(3))])
    body = {chance.choice(ATTRIBUTES): some_value(chance) for _ in range(chance.randrange(5))}
    if any(part in path for part in ("cursor", "query", "explain")):
        body["query"] = chance.choice(QUERIES)
        body["bindVars"] = {name: some_value(chance) for name in ("a", "@c") if f"@{name}" in body["query"]}
    return orjson.dumps(body)


def some_request(chance: random.Random) -> tuple[str, str, bytes | None, dict[str, str]]:
    endpoint = chance.choice(ENDPOINTS)
    method, pattern = endpoint.method, endpoint.path
    if chance.random() < 0.05:
        method = chance.choice(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
    path = re.sub(r"{\w+}", lambda _: quote(chance.choice(NAMES), safe=""), pattern)
    query = {chance.choice(PARAMETERS): str(some_value(chance, 3)) for _ in range(chance.randrange(3))}
    headers = dict(HEADERS)
    for name, values in (
        ("if-match", ['"x"', "*", ""]),
        ("if-none-match", ['"x"']),
        ("x-arango-trx-id", ["1", "x"]),
        ("x-arango-async", ["store", "true", "no"]),
    ):
        if chance.random() < 0.03:
            headers[name] = chance.choice(values)
    body = some_body(chance, path) if method not in ("GET", "HEAD") else None
    database = chance.choice(["", "/_db/_system", "/_db/fuzz", "/_db/none"])
    return method, f"{database}{path}" + (f"?{urlencode(query)}" if query else ""), body, headers


@pytest.mark.parametrize("seed", [1, 2])
def test_random_requests_never_break_the_server(tmp_path, seed):
    server = ServerProcess(tmp_path / "data")
    chance = random.Random(seed)
    try:
        system = server.database()
        system.create_database("fuzz")
        for db in (system, server.database("fuzz")):
            db.create_collection("c").insert_many([{"_key": "a", "v": [1, 2]}, {"_key": "b", "v": [2, 1]}])
            db.create_graph(
                "g",
                edge_definitions=[
                    {"edge_collection": "e", "from_vertex_collections": ["c"], "to_vertex_collections": ["c"]}
                ],
            )
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        statuses = set()
        for _ in range(REQUESTS):
            method, path, body, headers = some_request(chance)
            if re.search(r"/_api/user/root\b", path) and method in ("PUT", "PATCH"):
                continue  # it would change the password the other requests use
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            content = answer.read()
            statuses.add(answer.status)
            assert answer.status < 500 or answer.status in SAFE, (method, path, body, content[:500])
        assert {200, 201, 400, 404, 405} <= statuses
        assert system.version()
    finally:
        assert server.stop() == 0
        assert "Traceback" not in server.log()
