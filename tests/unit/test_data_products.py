"""Product graphs on disk: OGB's format, damaged folders, and no question ever asked."""

import gzip
import io
import json
import shutil
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch

from workshop.data import products as products_module
from workshop.data.products import (
    MINI_VERSION,
    checked_features,
    load_mini,
    load_ogbn_products,
    load_products,
    mini_folder,
    save_mini,
)
from workshop.data.products_mini import generate
from workshop.errors import DataCorruptError, DataInvalidError, DataMissingError
from workshop.settings import load_settings


@pytest.fixture(autouse=True)
def nobody_answers(monkeypatch):
    """A question on the terminal fails the test instead of waiting."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory):
    settings = load_settings(data_dir=tmp_path_factory.mktemp("data"))
    load_products(settings, "tiny")
    return mini_folder(settings.data_dir, "tiny", 0)


@pytest.fixture
def folder(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder, tmp_path / "copy")


def test_loaded_graph_is_the_generated_one(tiny_folder):
    graph, made = load_mini(tiny_folder), generate(1_000)
    assert graph.synthetic
    assert graph.name == "ogbn-products-mini"
    assert np.array_equal(graph.x.numpy(), made.x)
    assert np.array_equal(graph.edge_index.numpy(), made.edge_index)
    assert np.array_equal(graph.y.numpy(), made.y)
    assert graph.titles == made.titles
    assert graph.topics == made.topics
    assert graph.category_names == made.category_names
    assert {part: len(nodes) for part, nodes in graph.split.items()} == {"train": 80, "valid": 20, "test": 900}
    assert len(set(graph.keys)) == 1_000
    text = ["a cordless drill"]
    assert np.allclose(graph.text_features(text), made.text_features(text))


def test_data_has_the_fields_that_training_needs(tiny_folder):
    data = load_mini(tiny_folder).to_data()
    data.validate()
    assert (data.x.dtype, data.edge_index.dtype, data.y.dtype) == (torch.float32, torch.int64, torch.int64)
    assert data.y.shape == (1_000,)
    assert torch.equal(data.train_mask.int() + data.val_mask.int() + data.test_mask.int(), torch.ones(1_000).int())


def test_second_load_reads_and_does_not_generate(tmp_path, monkeypatch):
    settings = load_settings(data_dir=tmp_path)
    first = load_products(settings, "tiny")
    monkeypatch.setattr(products_module, "generate", lambda *_: pytest.fail("generated again"))
    assert torch.equal(load_products(settings, "tiny").x, first.x)


def test_size_comes_from_the_settings(tmp_path):
    assert load_products(load_settings(data_dir=tmp_path, data_size="tiny")).num_products == 1_000


def test_interrupted_generation_leaves_no_data_behind(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(products_module, "_write_manifest", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_mini(generate(200), tmp_path / "mini" / "v1")
    assert list((tmp_path / "mini").iterdir()) == []


def test_folder_written_meanwhile_by_another_process_is_kept(folder):
    before = (folder / "manifest.json").read_text()
    save_mini(generate(200), folder)
    assert (folder / "manifest.json").read_text() == before
    assert load_mini(folder).num_products == 1_000


@pytest.mark.parametrize(
    "name", ["raw/data.npz", "processed/geometric_data_processed.pt", "split/sales_ranking/split_dict.pt"]
)
def test_altered_file_is_named(folder, name):
    path = folder / "products_mini" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataCorruptError, match=f"{path.name} was altered"):
        load_mini(folder)


@pytest.mark.parametrize("name", [f"RELEASE_v{MINI_VERSION}.txt", "raw/node-label.npz"])
def test_missing_file_is_named(folder, name):
    (folder / "products_mini" / name).unlink()
    with pytest.raises(DataCorruptError, match=f"{name} is missing"):
        load_mini(folder)


@pytest.mark.parametrize("manifest", ["", "{}", "[1]"])
def test_unreadable_manifest(folder, manifest):
    (folder / "manifest.json").write_text(manifest)
    with pytest.raises(DataCorruptError, match=r"manifest\.json is missing or unreadable"):
        load_mini(folder)


def test_missing_folder(tmp_path):
    with pytest.raises(DataMissingError, match="no ogbn-products-mini at"):
        load_mini(tmp_path / "nowhere")


# --- the real ogbn-products, rehearsed on a small archive of its layout -----------------------------------------
def write_ogb_folder(root, num_nodes=30):
    """The files of OGB's ``products.zip``, for a ring of products."""
    rng = np.random.default_rng(0)
    columns = {
        "raw/edge": [[i, (i + 1) % num_nodes] for i in range(num_nodes)],
        "raw/node-feat": rng.normal(size=(num_nodes, 100)).round(4).tolist(),
        "raw/node-label": [[i % 47] for i in range(num_nodes)],
        "raw/num-node-list": [[num_nodes]],
        "raw/num-edge-list": [[num_nodes]],
        "split/sales_ranking/train": [[i] for i in range(10)],
        "split/sales_ranking/valid": [[i] for i in range(10, 20)],
        "split/sales_ranking/test": [[i] for i in range(20, num_nodes)],
    }
    for name, rows in columns.items():
        path = root / f"{name}.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_csv(path, header=False, index=False)
    (root / "mapping").mkdir()
    pd.DataFrame({"node idx": range(num_nodes), "asin": [f"B{i:09d}" for i in range(num_nodes)]}).to_csv(
        root / "mapping" / "nodeidx2asin.csv.gz", index=False
    )
    pd.DataFrame({"label idx": range(47), "product category": [f"category {i}" for i in range(47)]}).to_csv(
        root / "mapping" / "labelidx2productcategory.csv.gz", index=False
    )
    (root / "RELEASE_v1.txt").write_text("v1")


@pytest.fixture
def archive_url(tmp_path):
    write_ogb_folder(tmp_path / "source" / "products")
    archive = tmp_path / "products.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for path in sorted((tmp_path / "source").rglob("*")):
            target.write(path, path.relative_to(tmp_path / "source"))
    return archive.as_uri()


def test_absent_data_is_an_error_that_tells_size_and_memory(tmp_path):
    settings = load_settings(data_dir=tmp_path, data_size="full", allow_large_downloads=False)
    with pytest.raises(DataMissingError, match=r"1\.4 GB to download.*memory") as caught:
        load_products(settings)
    assert "WORKSHOP_ALLOW_LARGE_DOWNLOADS=1" in caught.value.hint
    assert not (tmp_path / "ogb").exists()


def test_download_by_opt_in_tells_the_cost_first_and_loads_twice(tmp_path, archive_url, caplog):
    first = load_ogbn_products(tmp_path / "ogb", download=True, url=archive_url, expected_nodes=30)
    assert "1.4 GB to download" in caplog.text
    again = load_ogbn_products(tmp_path / "ogb", expected_nodes=30)
    assert torch.equal(first.x, again.x)
    assert not again.synthetic
    assert again.edge_index.shape == (2, 60), "OGB adds the inverse of every edge"
    assert again.keys[3] == again.titles[3] == "B000000003"
    assert again.category_names[46] == "category 46"
    assert again.split["valid"].tolist() == list(range(10, 20))
    assert again.text_features is None


def test_failed_download_leaves_nothing(tmp_path):
    with pytest.raises(DataMissingError, match=r"the download from file:.* failed"):
        load_ogbn_products(tmp_path / "ogb", download=True, url=(tmp_path / "none.zip").as_uri())
    assert list((tmp_path / "ogb").iterdir()) == []


def test_truncated_archive_is_not_installed(tmp_path, archive_url):
    archive = tmp_path / "products.zip"
    archive.write_bytes(archive.read_bytes()[:5_000])
    with pytest.raises(DataMissingError, match="failed"):
        load_ogbn_products(tmp_path / "ogb", download=True, url=archive_url)
    assert list((tmp_path / "ogb").iterdir()) == []


@pytest.mark.parametrize("name", ["RELEASE_v1.txt", "raw/edge.csv.gz", "split/sales_ranking/test.csv.gz"])
def test_interrupted_folder_names_what_is_missing(tmp_path, name):
    write_ogb_folder(tmp_path / "ogbn_products")
    (tmp_path / "ogbn_products" / name).unlink()
    with pytest.raises(DataCorruptError, match=f"is incomplete: {name} missing"):
        load_ogbn_products(tmp_path, expected_nodes=30)


def test_damaged_file_inside_the_folder(tmp_path):
    write_ogb_folder(tmp_path / "ogbn_products")
    path = tmp_path / "ogbn_products" / "raw" / "node-feat.csv.gz"
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DataCorruptError, match="cannot be read"):
        load_ogbn_products(tmp_path, expected_nodes=30)


def test_folder_of_another_data_set(tmp_path):
    write_ogb_folder(tmp_path / "ogbn_products")
    with pytest.raises(DataCorruptError, match="expected 2449029 products with 100 features, found 30"):
        load_ogbn_products(tmp_path)


def test_nan_features_on_disk(tmp_path):
    write_ogb_folder(tmp_path / "ogbn_products")
    rows = np.zeros((30, 100))
    rows[4, 2] = np.nan
    with gzip.open(tmp_path / "ogbn_products" / "raw" / "node-feat.csv.gz", "wt") as target:
        np.savetxt(target, rows, delimiter=",")
    with pytest.raises(DataInvalidError, match=r"NaN or infinite, first rows: \[4\]"):
        load_ogbn_products(tmp_path, expected_nodes=30)


# --- values -----------------------------------------------------------------------------------------------------
def test_features_of_wrong_width_and_of_wrong_type():
    with pytest.raises(DataInvalidError, match=r"expected \[n, 100\], received \[2, 3\]"):
        checked_features(torch.zeros(2, 3))
    assert checked_features(torch.zeros(2, 100, dtype=torch.float64)).dtype == torch.float32


def test_manifest_lists_every_file_but_itself(tiny_folder):
    listed = set(json.loads((tiny_folder / "manifest.json").read_text())["sha256"])
    found = {path.relative_to(tiny_folder).as_posix() for path in tiny_folder.rglob("*") if path.is_file()}
    assert found - listed == {"manifest.json"}
