"""aqlite's speed and memory: every figure on a server process of its own with data made for it."""

from __future__ import annotations

import http.client
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import psutil
from arango import ArangoClient
from arango.database import StandardDatabase
from arango.exceptions import AQLQueryExecuteError

PASSWORD = "benchmark"
WIDTH, MOVIES = 384, 4803
VERTICES, EDGES = 20_000, 60_000
CLIENTS, CLIENT_SECONDS, READ_SHARE = 8, 60.0, 0.8
WRITERS, SORTED_ROWS, MANY, ATTEMPTS = 48, 1_000_000, 500_000, 10_000

CLASSIC_COSINE = """
FOR d IN movies
  LET product = SUM(FOR i IN RANGE(0, 383) RETURN NTH(d.embedding, i) * NTH(@vector, i))
  LET length = SQRT(SUM(FOR i IN RANGE(0, 383) RETURN POW(NTH(d.embedding, i), 2)))
  LET other = SQRT(SUM(FOR i IN RANGE(0, 383) RETURN POW(NTH(@vector, i), 2)))
  LET similarity = product / (length * other)
  SORT similarity DESC
  LIMIT 10
  RETURN d._key
"""
EXACT_COSINE = """
FOR d IN movies
  SORT COSINE_SIMILARITY(d.embedding, @vector) DESC
  LIMIT 10
  RETURN d._key
"""
NEAR_COSINE = """
FOR d IN movies
  LET similarity = APPROX_NEAR_COSINE(d.embedding, @vector)
  SORT similarity DESC
  LIMIT 10
  RETURN d._key
"""
TWO_HOPS = """
FOR vertex IN 1..2 ANY @start bought_with
  OPTIONS { order: "bfs", uniqueVertices: "global" }
  RETURN vertex._key
"""


@dataclass(frozen=True)
class RunningServer:
    """A server process, and a handle on its system database."""

    process: psutil.Process
    port: int
    db: StandardDatabase

    @property
    def resident_bytes(self) -> int:
        """Memory the process holds now."""
        return self.process.memory_info().rss

    @property
    def peak_bytes(self) -> int:
        """Most memory the process ever held."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def measure(ids: set[str]) -> Iterator[dict]:
    """Yield the results of the benchmarks asked for; ``BENCHMARKS`` and ``MANY_VECTORS`` have their ids."""
    for identifier, benchmark in BENCHMARKS.items():
        if identifier in ids:
            with running_server() as server:
                yield {"id": identifier, **benchmark(server)}
    if ids & set(MANY_VECTORS):
        with running_server() as server:
            yield from (result for result in many_vectors(server) if result["id"] in ids)


@contextmanager
def running_server() -> Iterator[RunningServer]:
    """aqlite on a free port with an empty data folder."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "aqlite", "--data", str(Path(folder) / "data"), "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "ARANGO_ROOT_PASSWORD": PASSWORD},
        )
        try:
            url = process.stdout.readline().split()[-1]
            client = ArangoClient(hosts=url, request_timeout=120)
            db = client.db("_system", username="root", password=PASSWORD, verify=True)
            yield RunningServer(psutil.Process(process.pid), int(url.rsplit(":", 1)[1]), db)
        finally:
            process.terminate()
            process.wait(30)
            process.stdout.close()


# --- data -----------------------------------------------------------------------------------------------------
def load_movies(db: StandardDatabase, count: int = MOVIES) -> np.ndarray:
    """Collection ``movies`` with unit vectors around 50 topics; returns them, float64 [count, WIDTH]."""
    generator = np.random.default_rng(3)
    topics = generator.normal(size=(50, WIDTH))
    vectors = topics[generator.integers(50, size=count)] + generator.normal(scale=0.7, size=(count, WIDTH))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    movies = db.create_collection("movies")
    documents = [
        {"_key": str(position), "title": f"Movie {position}", "year": 1950 + position % 70, "embedding": row}
        for position, row in enumerate(vectors.tolist())
    ]
    movies.import_bulk(documents, batch_size=1000)
    return vectors


def load_graph(db: StandardDatabase, vertices: int = VERTICES, edges: int = EDGES) -> None:
    """Products bought together; half of the ends go to already popular products, as in shops."""
    chance = random.Random(4)
    popular = [chance.randrange(vertices) for _ in range(1000)]
    pairs = []
    for _ in range(edges):
        target = chance.choice(popular) if chance.random() < 0.5 else chance.randrange(vertices)
        pairs.append({"_from": f"products/{chance.randrange(vertices)}", "_to": f"products/{target}", "weight": 1})
        popular.append(target)
    products = db.create_collection("products")
    products.import_bulk([{"_key": str(n), "name": f"Product {n}"} for n in range(vertices)], batch_size=5000)
    db.create_collection("bought_with", edge=True).import_bulk(pairs, batch_size=5000)


# --- benchmarks -----------------------------------------------------------------------------------------------
def bulk_import(server: RunningServer) -> dict:
    """Small documents a second through ``import_bulk``, the client's work included."""
    documents = [{"_key": f"order-{n}", "user": n % 977, "items": [n, n + 1], "total": n / 7} for n in range(50_000)]
    collections = [server.db.create_collection(f"orders{n}") for n in range(3)]
    remaining = iter(collections)
    times = timed(lambda: next(remaining).import_bulk(documents, batch_size=10_000), len(collections))
    arrived = [collection.count() for collection in collections]
    if arrived != [len(documents)] * len(collections):
        raise RuntimeError(f"{arrived} of {len(documents)} documents arrived")
    note = "median of three imports of 50,000 documents in batches of 10,000"
    return at_least(len(documents) / statistics.median(times), "documents/s", 45_000, note)


def point_read(server: RunningServer) -> dict:
    """Median time of ``collection.get(key)``."""
    load_movies(server.db)
    movies = server.db.collection("movies")
    chance = random.Random(5)
    times = timed(lambda: movies.get(str(chance.randrange(MOVIES))), 1000)
    return at_most(
        1000 * statistics.median(times), "ms", 2.1, f"p50 of 1,000 reads among {MOVIES:,} movies with vectors"
    )


def exact_cosine(server: RunningServer) -> dict:
    """Exact top 10 by ``COSINE_SIMILARITY``."""
    vectors = load_movies(server.db)
    queries = query_vectors(vectors, 12)
    peer = statistics.median(timed(lambda: np.argsort(-(vectors @ queries[0]))[:10], 20))
    found = [ask(server.db, EXACT_COSINE, vector=query.tolist()) for query in queries]
    for query, keys in zip(queries, found, strict=True):
        if keys != [str(n) for n in np.argsort(-(vectors @ query))[:10]]:
            raise RuntimeError("the exact top 10 differ from NumPy's")
    seconds = median_query(server.db, EXACT_COSINE, queries)
    return at_most(
        seconds, "s", 0.0075, f"exact top 10 of {MOVIES:,} x {WIDTH}, equal to NumPy's", peer=peer, peer_name="NumPy"
    )


def vector_index(server: RunningServer) -> dict:
    """Approximate top 10 by the vector index."""
    vectors = load_movies(server.db)
    params = {"metric": "cosine", "dimension": WIDTH, "nLists": 69, "defaultNProbe": 9}
    server.db.collection("movies").add_index({"type": "vector", "fields": ["embedding"], "params": params})
    queries = query_vectors(vectors, 40)
    exact = [{str(n) for n in np.argsort(-(vectors @ query))[:10]} for query in queries]
    found = [set(ask(server.db, NEAR_COSINE, vector=query.tolist())) for query in queries]
    recall = statistics.mean(len(wanted & got) / 10 for wanted, got in zip(exact, found, strict=True))
    milliseconds = 1000 * median_query(server.db, NEAR_COSINE, queries)
    note = f"top 10 of {MOVIES:,} x {WIDTH}, 69 lists, 9 probed, recall@10 {recall:.3f}"
    return at_most(milliseconds, "ms", 4.5, note, sound=recall >= 0.9)


def classic_cosine(server: RunningServer) -> dict:
    """Cosine similarity written by hand in AQL, as it was done before ``COSINE_SIMILARITY``."""
    vectors = load_movies(server.db, 1000)
    (query,) = query_vectors(vectors, 1)
    start = time.perf_counter()
    keys = ask(server.db, CLASSIC_COSINE, vector=query.tolist())
    seconds = time.perf_counter() - start
    right = keys == [str(n) for n in np.argsort(-(vectors @ query))[:10]]
    return at_most(seconds, "s", 1.2, f"nested RANGE loops over 1,000 x {WIDTH}", sound=right)


def two_hops(server: RunningServer) -> dict:
    """95th percentile of a two-hop traversal in both directions from random products."""
    load_graph(server.db)
    chance = random.Random(6)
    sizes: list[int] = []

    def traverse() -> None:
        sizes.append(len(ask(server.db, TWO_HOPS, start=f"products/{chance.randrange(VERTICES)}")))

    timed(traverse, 100)
    times = timed(traverse, 200)
    note = (
        f"p95 of 200 traversals, {VERTICES:,} vertices, {EDGES:,} edges; "
        f"median {1000 * statistics.median(times):.1f} ms; "
        f"{statistics.median(sizes):.0f} vertices found in the median, {max(sizes)} at most"
    )
    return at_most(1000 * percentile(times, 0.95), "ms", 9.0, note)


def memory(server: RunningServer) -> dict:
    """Peak memory after loading vectors, other documents and edges, and asking every kind of query."""
    empty = server.resident_bytes
    vectors = load_movies(server.db, 5000)
    load_graph(server.db, 15_000, EDGES)
    params = {"metric": "cosine", "dimension": WIDTH, "nLists": 70, "defaultNProbe": 9}
    server.db.collection("movies").add_index({"type": "vector", "fields": ["embedding"], "params": params})
    for query in query_vectors(vectors, 5):
        ask(server.db, EXACT_COSINE, vector=query.tolist())
        ask(server.db, NEAR_COSINE, vector=query.tolist())
    for start in range(200):
        ask(server.db, TWO_HOPS, start=f"products/{start}")
    for name in ("movies", "products", "bought_with"):
        ask(server.db, f"FOR d IN {name} COLLECT AGGREGATE n = MAX(LENGTH(d)) RETURN n")
    note = f"peak; 5,000 vectors, 15,000 documents, {EDGES:,} edges; {empty / 2**20:.0f} MB when empty"
    return at_most(server.peak_bytes / 2**30, "GB", 0.8, note)


def concurrency(server: RunningServer) -> dict:
    """99th percentile of the answer times of eight clients, four reads to a write."""
    vectors = load_movies(server.db)
    load_graph(server.db)
    params = {"metric": "cosine", "dimension": WIDTH, "nLists": 69, "defaultNProbe": 9}
    server.db.collection("movies").add_index({"type": "vector", "fields": ["embedding"], "params": params})
    server.db.create_collection("visits").add_index({"type": "persistent", "fields": ["product"]})
    deadline = time.perf_counter() + CLIENT_SECONDS
    clients = [_Client(server.port, seed, vectors, deadline) for seed in range(CLIENTS)]
    for client in clients:
        client.start()
    resident: list[int] = []
    while any(client.is_alive() for client in clients):
        resident.append(server.resident_bytes)
        time.sleep(0.5)
    for client in clients:
        client.join()
    times = [seconds for client in clients for seconds in client.times]
    failures = [failure for client in clients for failure in client.failures]
    third = len(resident) // 3
    growth = statistics.mean(resident[-third:]) / statistics.mean(resident[third : 2 * third]) - 1
    note = (
        f"p99 of {len(times):,} requests of {CLIENTS} clients in {CLIENT_SECONDS:.0f} s, {READ_SHARE:.0%} reads; "
        f"p50 {1000 * statistics.median(times):.1f} ms, {len(failures)} errors, "
        f"memory {growth:+.1%} from the second to the last third"
    )
    return at_most(1000 * percentile(times, 0.99), "ms", 90.0, note, sound=not failures and growth < 0.1)


def fairness(server: RunningServer) -> dict:
    """99th percentile of the times of eight readers beside 48 writers."""
    vectors = load_movies(server.db)
    server.db.create_collection("visits")
    server.db.create_collection("products").import_bulk([{"_key": str(n)} for n in range(VERTICES)], batch_size=5000)
    deadline = time.perf_counter() + CLIENT_SECONDS
    writers = [_Writer(server.port, seed, vectors, deadline) for seed in range(WRITERS)]
    readers = [_Reader(server.port, WRITERS + seed, vectors, deadline) for seed in range(CLIENTS)]
    for client in (*writers, *readers):
        client.start()
    for client in (*writers, *readers):
        client.join()
    times = [seconds for reader in readers for seconds in reader.times]
    written = sum(len(writer.times) for writer in writers)
    failures = [failure for client in (*writers, *readers) for failure in client.failures]
    note = (
        f"read p99 of {len(times):,} reads of {CLIENTS} readers beside {written:,} writes of {WRITERS} writers in "
        f"{CLIENT_SECONDS:.0f} s, clients on the same cores; p50 {1000 * statistics.median(times):.1f} ms, "
        f"{len(failures)} errors"
    )
    return at_most(1000 * percentile(times, 0.99), "ms", 30.0, note, sound=not failures)


def ping_under_sort(server: RunningServer) -> dict:
    """Longest ping while a million rows are sorted, and how long killing such a query takes."""
    query = f"FOR i IN 1..{SORTED_ROWS} SORT RAND() RETURN i"
    with ThreadPoolExecutor(1) as pool:
        sorting = pool.submit(server.db.aql.execute, query, batch_size=10, memory_limit=2**31)
        pings = _pings(server.port, sorting)
        sorting.result().close()
        late = _seconds_until_killed(pool, server, max_runtime=2.0) - 2.0
        after_kill = _seconds_until_killed(pool, server)
    note = (
        f"longest of {len(pings):,} pings while {SORTED_ROWS:,} rows are sorted, p50 "
        f"{1000 * statistics.median(pings):.1f} ms; maxRuntime ended such a query {late:.2f} s late, kill after "
        f"{after_kill:.2f} s"
    )
    return at_most(1000 * max(pings), "ms", 25.0, note, sound=late <= 1 and after_kill <= 1)


def _pings(port: int, until: Future) -> list[float]:
    """Seconds of one ping after the other."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    times = []
    while not until.done():
        start = time.perf_counter()
        connection.request("GET", "/_api/version", headers=_authorization())
        connection.getresponse().read()
        times.append(time.perf_counter() - start)
        time.sleep(0.01)
    connection.close()
    return times


def _seconds_until_killed(pool: ThreadPoolExecutor, server: RunningServer, max_runtime: float | None = None) -> float:
    """Seconds that a long sort runs on after its start (``max_runtime``) or after it was killed."""
    query = f"FOR i IN 1..{SORTED_ROWS} SORT RAND() RETURN i"
    start = time.perf_counter()
    sorting = pool.submit(server.db.aql.execute, query, memory_limit=2**31, max_runtime=max_runtime)
    if max_runtime is None:
        time.sleep(2.0)
        (running,) = server.db.aql.queries()
        start = time.perf_counter()
        server.db.aql.kill(running["id"])
    error = sorting.exception()
    if not isinstance(error, AQLQueryExecuteError) or error.error_code != 1500:
        raise RuntimeError(f"the sort was not killed: {error!r}")
    return time.perf_counter() - start


def many_vectors(server: RunningServer) -> Iterator[dict]:
    """Search, insertion and memory with half a million vectors in one indexed collection."""
    vectors = _load_many(server)
    params = {"metric": "cosine", "dimension": WIDTH, "nLists": 1000, "defaultNProbe": 24, "trainingIterations": 8}
    start = time.perf_counter()
    server.db.collection("movies").add_index({"type": "vector", "fields": ["embedding"], "params": params})
    built = time.perf_counter() - start
    queries = query_vectors(vectors, 40)
    exact = [{str(n) for n in np.argpartition(-(vectors @ query), 10)[:10]} for query in queries.astype(np.float32)]
    found = [set(ask(server.db, NEAR_COSINE, vector=query.tolist())) for query in queries]
    recall = statistics.mean(len(wanted & got) / 10 for wanted, got in zip(exact, found, strict=True))
    milliseconds = 1000 * median_query(server.db, NEAR_COSINE, queries)
    peer = 1000 * statistics.median(timed(lambda: np.argpartition(-(vectors @ vectors[7]), 10)[:10], 10))
    note = f"top 10 of {MANY:,} x {WIDTH}, 1,000 lists, 24 probed, recall@10 {recall:.3f}; index built in {built:.0f} s"
    yield {
        "id": "aqlite_vectors_search",
        **at_most(milliseconds, "ms", 12.0, note, sound=recall >= 0.95, peer=peer, peer_name="NumPy, exact"),
    }
    yield {"id": "aqlite_vectors_insert", **_insert_and_find(server, queries)}
    for query in query_vectors(vectors, 400):  # until nearly every list has been looked at
        ask(server.db, NEAR_COSINE, vector=query.tolist())
    note = f"peak; {MANY:,} vectors imported, indexed, searched; {server.resident_bytes / 2**30:.2f} GB at the end"
    yield {"id": "aqlite_vectors_memory", **at_most(server.peak_bytes / 2**30, "GB", 2.5, note)}


def _load_many(server: RunningServer) -> np.ndarray:
    """Collection ``movies`` with ``MANY`` unit vectors around 2,000 topics; returns them, float32 [MANY, WIDTH]."""
    generator = np.random.default_rng(3)
    topics = generator.normal(size=(2000, WIDTH)).astype(np.float32)
    vectors = np.empty((MANY, WIDTH), dtype=np.float32)
    server.db.create_collection("movies")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    for start in range(0, MANY, 2000):
        stop = min(start + 2000, MANY)
        block = topics[generator.integers(len(topics), size=stop - start)]
        block = block + generator.normal(scale=0.7, size=block.shape).astype(np.float32)
        vectors[start:stop] = block / np.linalg.norm(block, axis=1, keepdims=True)
        lines = [
            orjson.dumps({"_key": str(n), "embedding": vectors[n]}, option=orjson.OPT_SERIALIZE_NUMPY)
            for n in range(start, stop)
        ]
        path = "/_api/import?collection=movies&type=documents"
        connection.request("POST", path, body=b"\n".join(lines), headers=_authorization())
        answer = orjson.loads(connection.getresponse().read())
        if answer.get("created") != stop - start:
            raise RuntimeError(f"import failed: {answer}")
    connection.close()
    return vectors


def _insert_and_find(server: RunningServer, queries: np.ndarray) -> dict:
    """Median time from sending a new vector until a search has answered with it."""
    movies = server.db.collection("movies")
    times = []
    for number, query in enumerate(queries.tolist()):
        start = time.perf_counter()
        movies.insert({"_key": f"new{number}", "embedding": query}, silent=True)
        found = ask(server.db, NEAR_COSINE, vector=query)
        times.append(time.perf_counter() - start)
        if found[0] != f"new{number}":
            raise RuntimeError("a new vector is not found")
    note = (
        f"median of {len(times)} times: insert one more than {MANY:,} x {WIDTH}, search, found; "
        f"longest {1000 * max(times):.0f} ms"
    )
    return at_most(1000 * statistics.median(times), "ms", 24.0, note)


def open_transactions(server: RunningServer) -> dict:
    """File descriptors more than before after many attempts to open stream transactions that nobody ends."""
    server.db.create_collection("c")
    files, memory_before = server.process.num_fds(), server.resident_bytes
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    body = orjson.dumps({"collections": {"read": ["c"]}})
    statuses = Counter()
    for _ in range(ATTEMPTS):
        connection.request("POST", "/_api/transaction/begin", body=body, headers=_authorization())
        answer = connection.getresponse()
        answer.read()
        statuses[answer.status] += 1
    connection.close()
    grown = (server.resident_bytes - memory_before) / 2**20
    works = server.db.collection("c").count() == 0
    note = (
        f"file descriptors after {ATTEMPTS:,} attempts: {statuses[201]} opened, {statuses[503]} refused with an error; "
        f"memory {grown:+.0f} MB"
    )
    sound = works and grown < 200 and statuses[201] + statuses[503] == ATTEMPTS
    return at_most(server.process.num_fds() - files, "descriptors", 500, note, sound=sound)


class _Client(threading.Thread):
    """One client with a connection of its own; asks without a pause until the deadline."""

    def __init__(self, port: int, seed: int, vectors: np.ndarray, deadline: float) -> None:
        super().__init__()
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = _authorization()
        self._chance = random.Random(seed)
        self._vectors = vectors
        self._deadline = deadline
        self.times: list[float] = []
        self.failures: list[str] = []

    def run(self) -> None:
        while (start := time.perf_counter()) < self._deadline:
            method, path, body = self._request()
            self._connection.request(method, path, body=body, headers=self._headers)
            answer = self._connection.getresponse()
            content = answer.read()
            self.times.append(time.perf_counter() - start)
            if answer.status >= 400:
                self.failures.append(content[:200].decode())
        self._connection.close()

    def _request(self) -> tuple[str, str, bytes | None]:
        chance = self._chance
        product = chance.randrange(VERTICES)
        if chance.random() >= READ_SHARE:
            if chance.random() < 0.5:
                return "POST", "/_api/document/visits", orjson.dumps({"product": product, "at": time.time()})
            return "PATCH", f"/_api/document/products/{product}", orjson.dumps({"visited": time.time()})
        kind = chance.random()
        if kind < 0.5:
            return "GET", f"/_api/document/movies/{chance.randrange(MOVIES)}", None
        if kind < 0.7:
            return _cursor("FOR d IN visits FILTER d.product == @p LIMIT 10 RETURN d", p=product)
        if kind < 0.9:
            return _cursor(TWO_HOPS, start=f"products/{product}")
        vector = self._vectors[chance.randrange(MOVIES)].tolist()
        return _cursor(NEAR_COSINE, vector=vector)


class _Writer(_Client):
    def _request(self) -> tuple[str, str, bytes | None]:
        product = self._chance.randrange(VERTICES)
        return "POST", "/_api/document/visits", orjson.dumps({"product": product, "at": time.time()})


class _Reader(_Client):
    def _request(self) -> tuple[str, str, bytes | None]:
        if self._chance.random() < 0.5:
            return "GET", f"/_api/document/movies/{self._chance.randrange(MOVIES)}", None
        key = str(self._chance.randrange(VERTICES))
        return _cursor("FOR d IN products FILTER d._key == @key RETURN d", key=key)


def _cursor(query: str, **variables: object) -> tuple[str, str, bytes]:
    return "POST", "/_api/cursor", orjson.dumps({"query": query, "bindVars": variables})


def _authorization() -> dict[str, str]:
    return {"authorization": "Basic " + b64encode(f"root:{PASSWORD}".encode()).decode()}


# --- measuring ------------------------------------------------------------------------------------------------
def ask(db: StandardDatabase, query: str, **variables: object) -> list:
    """All rows of a query."""
    return list(db.aql.execute(query, bind_vars=variables))


def query_vectors(vectors: np.ndarray, count: int) -> np.ndarray:
    """Unit vectors near some of the stored ones."""
    generator = np.random.default_rng(9)
    chosen = vectors[generator.integers(len(vectors), size=count)]
    queries = chosen + generator.normal(scale=0.02, size=chosen.shape)
    return queries / np.linalg.norm(queries, axis=1, keepdims=True)


def median_query(db: StandardDatabase, query: str, vectors: np.ndarray) -> float:
    """Median seconds of a query with each vector."""
    remaining = iter(vectors.tolist())
    return statistics.median(timed(lambda: ask(db, query, vector=next(remaining)), len(vectors)))


def timed(call: Callable[[], object], repetitions: int) -> list[float]:
    """Seconds of each call."""
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def percentile(values: list[float], share: float) -> float:
    """The value that ``share`` of the values do not pass."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def at_least(value: float, unit: str, bar: float, note: str) -> dict:
    """A result that holds at or above its bar."""
    return _result(value, unit, f">= {bar:,.0f} {unit}", value >= bar, note)


def at_most(
    value: float, unit: str, bar: float, note: str, *, sound: bool = True, peer: float = 0.0, peer_name: str = ""
) -> dict:
    """A result that holds at or below its bar, provided that what was measured is ``sound``."""
    shown = _result(value, unit, f"<= {bar} {unit}", sound and value <= bar, note)
    if peer:
        shown |= {"peer": f"{peer_name}: {peer:.4f} {unit}", "ratio": round(value / peer, 1)}
    return shown


def _result(value: float, unit: str, bar: str, holds: bool, note: str) -> dict:
    digits = 0 if value >= 1000 else 1 if value >= 10 else 4
    return {
        "value": round(value, digits),
        "unit": unit,
        "peer": None,
        "ratio": None,
        "bar": bar,
        "holds": bool(holds),
        "note": note,
    }


BENCHMARKS: dict[str, Callable[[RunningServer], dict]] = {
    "aqlite_import": bulk_import,
    "aqlite_point_read": point_read,
    "aqlite_exact_cosine": exact_cosine,
    "aqlite_vector_index": vector_index,
    "aqlite_classic_cosine": classic_cosine,
    "aqlite_two_hops": two_hops,
    "aqlite_memory": memory,
    "aqlite_concurrency": concurrency,
    "aqlite_fairness": fairness,
    "aqlite_ping_under_sort": ping_under_sort,
    "aqlite_open_transactions": open_transactions,
}
MANY_VECTORS = ("aqlite_vectors_search", "aqlite_vectors_insert", "aqlite_vectors_memory")
"""Measured one after the other on the same server, because loading it takes minutes."""
