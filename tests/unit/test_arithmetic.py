"""The arithmetic of docs/scaling.md against the things themselves, where they are small enough to be made."""

from __future__ import annotations

import gzip
import json

import faiss
import numpy as np
import pytest

from workshop.errors import SettingsError
from workshop.scale import arithmetic
from workshop.scale.arithmetic import CATALOGUES, Catalogue, servers_for
from workshop.settings import PROJECT_ROOT
from workshop.store.vector_index import cells

SMALL = Catalogue("small", 6_000, 30_000, width=48)
VECTORS = np.random.default_rng(0).standard_normal((SMALL.products, SMALL.width), dtype=np.float32)


def written(index) -> int:
    """Bytes of a FAISS index as it is saved, which is what it holds in memory."""
    return len(faiss.serialize_index(index))


def test_an_ivf_index_is_as_large_as_it_is():
    lists = SMALL.lists() // 10  # fewer, so that the few vectors suffice to train it
    quantizer = faiss.IndexFlatL2(SMALL.width)
    index = faiss.IndexIVFFlat(quantizer, SMALL.width, lists)
    index.train(VECTORS)
    index.add(VECTORS)
    centres = (SMALL.lists() - lists) * SMALL.width * arithmetic.FP32
    assert written(index) == pytest.approx(SMALL.ivf() - centres, rel=0.02)


def test_an_hnsw_index_is_as_large_as_it_is():
    index = faiss.IndexHNSWFlat(SMALL.width, arithmetic.HNSW_LINKS)
    index.add(VECTORS)
    assert written(index) == pytest.approx(SMALL.hnsw(), rel=0.1)


def test_arrays_are_as_large_as_numpys():
    assert SMALL.vectors() == VECTORS.nbytes
    starts, neighbours = np.zeros(SMALL.products + 1, np.int64), np.zeros(SMALL.edges, np.int64)
    assert SMALL.edge_arrays() == 2 * (starts.nbytes + neighbours.nbytes)
    layer = np.zeros((SMALL.products, arithmetic.GRAPH_WIDTH), np.float32)
    assert SMALL.layerwise() == 2 * layer.nbytes


@pytest.mark.parametrize(
    ("pattern", "bytes_each", "system"),
    # what a dump leaves out: _id and _rev, which every document has
    [("bought_together", arithmetic.EDGE_DOCUMENT, 80), ("products", arithmetic.DOCUMENT, 80)],
)
def test_documents_are_of_the_size_of_our_own(pattern, bytes_each, system):
    (path,) = (PROJECT_ROOT / "dump/products").glob(f"{pattern}_*.data.json.gz")
    documents = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()[1:500]]
    for document in documents:
        document.pop("embedding", None)
    mean = np.mean([len(json.dumps(document, separators=(",", ":"))) for document in documents]) + system
    assert mean == pytest.approx(bytes_each, rel=0.5)


def test_the_rate_of_two_cores_is_a_measured_one():
    machines = json.loads((PROJECT_ROOT / "benchmarks/results.json").read_text())["machines"]
    measured = [one["value"] for part in machines for one in part["results"] if one["id"] == "text_like_for_like"]
    assert any(value / 2 < arithmetic.TWO_CORES < value * 2 for value in measured), measured


@pytest.mark.parametrize(
    ("vectors", "shards", "expected"),
    [(4_800, 1, 320), (20_000, 1, 1_333), (50_625, 1, 3_375), (1_000_000, 1, 15_000), (1_000_000, 9, 5_000), (8, 9, 1)],
)
def test_an_index_gets_the_cells_that_the_page_says(vectors, shards, expected):
    assert cells(vectors, shards) == expected
    catalogue = Catalogue("any", vectors, 0)
    if vectors / shards >= 50_625:  # from where on a cell has 15 vectors and more by the root too
        assert catalogue.lists(shards) == expected


def test_shards_cut_the_index_and_not_the_work_of_a_query():
    largest = CATALOGUES[-1]
    assert largest.lists(12) < largest.lists()
    assert largest.training(12) < largest.products / 12
    assert largest.ivf(12) == pytest.approx(largest.ivf(), rel=0.01)
    assert largest.scanned(20, 12) > largest.scanned(20)
    assert largest.scanned(10**9) == largest.products


def test_servers_hold_all_copies_and_keep_room():
    assert servers_for(100, 100) == 2
    assert servers_for(70, 100) == 1
    assert servers_for(100, 100, copies=3) == 5
    assert servers_for(1, 100, copies=2) == 2


def test_hours_go_down_with_workers_and_rate():
    assert Catalogue("a", 3_600_000, 0).embedding_hours(100) == 10
    assert Catalogue("a", 3_600_000, 0).embedding_hours(100, workers=4) == 2.5


@pytest.mark.parametrize(
    ("size", "text"), [(999, "999 B"), (1000, "1 kB"), (1_536_000_000, "1.54 GB"), (10**12, "1 TB")]
)
def test_sizes_are_said_in_the_unit_that_fits(size, text):
    assert arithmetic._size(size) == text


def test_a_catalogue_has_products():
    with pytest.raises(SettingsError, match="has products and a width"):
        Catalogue("none", 0, 0)
