"""The vector index: made from the data it will serve, and its recall measured, not assumed.

ArangoDB's vector index is an inverted file (IVF): k-means cuts the vectors into ``nLists`` cells, and a query looks at
the ``nProbe`` cells nearest to it. https://docs.arango.ai/arangodb/stable/indexes-and-search/indexing/working-with-indexes/vector-indexes/
"""

from __future__ import annotations

import logging
import math
import re
from dataclasses import dataclass, replace
from typing import Any

from arango.collection import StandardCollection
from arango.database import StandardDatabase
from arango.exceptions import IndexCreateError

from workshop.errors import DataInvalidError
from workshop.store.connection import server_version, store_errors
from workshop.store.embeddings import EMBEDDING
from workshop.store.pending import embedding_indexes
from workshop.store.queries import run_query

logger = logging.getLogger(__name__)

MINIMUM_DOCUMENTS = 500
"""With fewer vectors an exact comparison is as fast, and k-means has too little to learn from."""
DOCUMENTS_PER_LIST = 15
"""Vectors in a cell of a small index; with fewer, k-means learns noise."""
LISTS_PER_ROOT = 15
"""Cells for each root of the number of vectors: the factor that ArangoDB's documentation gives, for large ones."""
FIRST_VERSION_WITH_FILTERS = (3, 12, 6)
"""Before it, a query may not filter between ``FOR`` and ``APPROX_NEAR_COSINE``."""
TARGET_RECALL = 0.95


@dataclass(frozen=True)
class VectorSearch:
    """How the vectors of a collection are searched.

    ``approximate`` says whether the vector index is used; ``reason`` says why or why not, in words for a reader.
    ``n_lists`` and ``n_probe`` are 0 when it is not.
    """

    approximate: bool
    reason: str
    documents: int
    n_lists: int = 0
    n_probe: int = 0


@dataclass(frozen=True)
class RecallPoint:
    """Recall@k of the index at one search effort."""

    n_probe: int
    recall: float


def ensure_vector_index(
    database: StandardDatabase, collection: str, *, minimum: int = MINIMUM_DOCUMENTS
) -> VectorSearch:
    """Build the vector index over ``embedding``, or say why exact search is used instead.

    On a cluster each shard has an index over its own documents, so that the number of cells is that of a shard.

    An index that was built when the collection was less than half or more than twice as large is built anew: its cells
    were learnt from other data.

    Raises:
        DataInvalidError: the collection's vectors differ in length, or there are none.
    """
    dimension, documents = _vectors(database, collection)
    if documents < minimum:
        return VectorSearch(False, f"{documents} vectors: below {minimum}, exact search is as fast", documents)
    version = server_version(database)
    if _as_tuple(version) < FIRST_VERSION_WITH_FILTERS:
        return VectorSearch(False, f"server {version}: filters with the vector index need 3.12.6", documents)
    target = database.collection(collection)
    with store_errors(f"build the vector index of {collection!r}"):
        n_lists = cells(documents, target.properties().get("shard_count") or 1)
        found = _existing(target, dimension, n_lists)
        if found is None:
            try:
                target.add_index(_definition(dimension, n_lists))
            except IndexCreateError as error:
                logger.warning("no vector index on %r: %s", collection, error.error_message)
                return VectorSearch(False, f"the server builds no vector index: {error.error_message}", documents)
    n_lists = found or n_lists
    n_probe = math.ceil(math.sqrt(n_lists))
    return VectorSearch(True, f"vector index with {n_lists} cells", documents, n_lists, n_probe)


def cells(documents: int, shards: int = 1) -> int:
    """How many cells the index of one shard gets, of a collection with so many vectors in so many shards."""
    of_a_shard = documents // shards
    return max(1, min(of_a_shard // DOCUMENTS_PER_LIST, round(LISTS_PER_ROOT * math.sqrt(of_a_shard))))


def with_effort(search: VectorSearch, n_probe: int) -> VectorSearch:
    """The same index, searched in ``n_probe`` cells."""
    return replace(search, n_probe=n_probe, reason=f"{search.reason}, {n_probe} of them searched")


def recall_curve(
    database: StandardDatabase,
    collection: str,
    search: VectorSearch,
    *,
    target: float = TARGET_RECALL,
    k: int = 10,
    queries: int = 50,
) -> list[RecallPoint]:
    """Recall@k against exact search, at growing ``nProbe`` until ``target`` is reached.

    The queries are ``queries`` stored vectors; a document's own vector does not count as found. The effort starts at
    the square root of the number of cells and grows by half.

    Returns:
        One point per effort; the last is the first that reaches ``target``, or a search of all cells.
    """
    sample = run_query(database, "sample_vectors", {"@collection": collection, "limit": queries})
    exact = [_neighbours(database, collection, item, k) for item in sample]
    curve: list[RecallPoint] = []
    n_probe = search.n_probe
    while True:
        found = [_neighbours(database, collection, item, k, n_probe) for item in sample]
        hits = sum(len(near & true) for near, true in zip(found, exact, strict=True))
        curve.append(RecallPoint(n_probe, hits / max(1, sum(map(len, exact)))))
        if curve[-1].recall >= target or n_probe >= search.n_lists:
            return curve
        n_probe = min(math.ceil(1.5 * n_probe), search.n_lists)


def _vectors(database: StandardDatabase, collection: str) -> tuple[int, int]:
    lengths = run_query(database, "count_embedded", {"@collection": collection})
    if len(lengths) != 1:
        found = {item["length"]: item["documents"] for item in lengths} or "none"
        raise DataInvalidError(
            f"{collection!r}: expected vectors of one length, found lengths {found}",
            hint="run embed_collection with one model, then build the index",
        )
    return lengths[0]["length"], lengths[0]["documents"]


def _existing(target: StandardCollection, dimension: int, n_lists: int) -> int | None:
    """``nLists`` of an index that fits; one that does not is dropped."""
    for index in embedding_indexes(target):
        params: dict[str, Any] = index["params"]
        fits = params["dimension"] == dimension and 0.5 <= params["nLists"] / n_lists <= 2
        if fits and params["metric"] == "cosine" and index.get("training_state", "ready") == "ready":
            return params["nLists"]
        target.delete_index(index["id"])
    return None


def _definition(dimension: int, n_lists: int) -> dict[str, Any]:
    return {
        "type": "vector",
        "name": "by_embedding",
        "fields": [EMBEDDING],
        "sparse": True,
        "params": {
            "metric": "cosine",
            "dimension": dimension,
            "nLists": n_lists,
            "defaultNProbe": math.ceil(math.sqrt(n_lists)),
        },
    }


def _neighbours(
    database: StandardDatabase, collection: str, query: dict[str, Any], k: int, n_probe: int | None = None
) -> set[str]:
    """Keys of the ``k`` documents nearest to the one ``query`` was taken from, without itself."""
    bind_vars: dict[str, Any] = {"@collection": collection, "vector": query["vector"], "limit": k + 1}
    if n_probe is None:
        keys = run_query(database, "neighbours_exact", bind_vars)
    else:
        keys = run_query(database, "neighbours_approximate", {**bind_vars, "n_probe": n_probe})
    return set(keys) - {query["key"]}


def _as_tuple(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
