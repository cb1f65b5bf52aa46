"""Product co-purchase graphs: the real ogbn-products and the synthetic ogbn-products-mini, through OGB's classes.

OGB asks questions on the terminal when a download is large or a folder looks old. Nothing here ever does: what is
not on disk, or not whole, is an error that says what to do, and the one large download needs an explicit opt-in.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch_geometric.data import Data
from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
from torch_geometric.data.storage import GlobalStorage

from workshop.data.products_mini import SIZES, MiniProducts, Recipe, TextFeatures, generate
from workshop.errors import DataCorruptError, DataInvalidError, DataMissingError
from workshop.files import sha256_of
from workshop.settings import DataSize, Settings

os.environ.setdefault("OUTDATED_IGNORE", "1")  # OGB otherwise looks for a newer release of itself on the network

logger = logging.getLogger(__name__)

MINI_VERSION = 2
"""Raise when the generator's output changes; the version is part of the cache folder's name."""

FULL_NAME, MINI_NAME = "ogbn-products", "ogbn-products-mini"
FULL_URL = "https://snap.stanford.edu/ogb/data/nodeproppred/products.zip"
FULL_COST = "1.4 GB to download, 5 GB on disk, about 16 GB of memory the first time it is read and 4 GB afterwards"
FULL_NODES, FULL_FEATURES = 2_449_029, 100


@dataclass(frozen=True)
class ProductGraph:
    """A catalogue with its co-purchase graph.

    Attributes:
        name: data set name; ``synthetic`` says whether its products are made up.
        x: features, float32 ``[n, features]``.
        edge_index: both directions of every co-purchase, int64 ``[2, edges]``.
        y: category number, int64 ``[n]``; -1 where it is not known.
        split: node numbers of ``train``, ``valid`` and ``test``, int64; own data may have none.
        category_names: name of each category number.
        keys: one unique id per product, usable as an ArangoDB ``_key``.
        titles: what a reader sees; for ogbn-products the Amazon ids (ASIN), as OGB publishes no titles.
        topics: the generator's sub-topic of each product; empty for real data.
        text_features: turns text into features of the same space; only for generated data.
    """

    name: str
    synthetic: bool
    x: torch.Tensor
    edge_index: torch.Tensor
    y: torch.Tensor
    split: dict[str, torch.Tensor]
    category_names: list[str]
    keys: list[str]
    titles: list[str]
    topics: list[str]
    text_features: TextFeatures | None = None

    @property
    def num_products(self) -> int:
        """Number of products, isolated ones included."""
        return self.x.shape[0]

    @property
    def num_categories(self) -> int:
        """Number of categories, also those without a product."""
        return len(self.category_names)

    def to_data(self) -> Data:
        """The graph as a PyG ``Data`` with ``x``, ``edge_index``, ``y`` and the three boolean masks."""
        masks = {}
        for part in ("train", "valid", "test"):
            mask = torch.zeros(self.num_products, dtype=torch.bool)
            if part in self.split:
                mask[self.split[part]] = True
            masks["val_mask" if part == "valid" else f"{part}_mask"] = mask
        return Data(x=self.x, edge_index=self.edge_index, y=self.y, **masks)


def load_products(settings: Settings, size: DataSize | None = None, *, seed: int = 0) -> ProductGraph:
    """Load the product graph of a size: ``tiny`` and ``default`` are generated once, ``full`` is ogbn-products.

    Args:
        settings: gives the data folder, and the size when ``size`` is None.
        size: ``tiny`` (1,000 products), ``default`` (20,000) or ``full`` (2,449,029).
        seed: of the generator; has no meaning for ``full``.

    Raises:
        DataMissingError: ``full`` is not on disk and downloading was not allowed.
        DataCorruptError: the folder is incomplete or was altered.
    """
    size = size or settings.data_size
    if size == "full":
        return load_ogbn_products(settings.data_dir / "ogb", download=settings.allow_large_downloads)
    folder = mini_folder(settings.data_dir, size, seed)
    if not folder.exists():
        save_mini(generate(SIZES[size], seed), folder)
    return load_mini(folder)


# --- ogbn-products-mini ---------------------------------------------------------------------------------------
def mini_folder(data_dir: Path, size: DataSize, seed: int) -> Path:
    """Cache folder of a generated graph; its name changes with the generator, its recipe and its vocabulary."""
    vocabulary = resources.files("workshop.data").joinpath("product_topics.json").read_bytes()
    fingerprint = hashlib.sha256(vocabulary + json.dumps(asdict(Recipe())).encode()).hexdigest()[:8]
    return data_dir / "ogbn_products_mini" / f"v{MINI_VERSION}-{fingerprint}-{size}-seed{seed}"


def save_mini(products: MiniProducts, folder: Path) -> None:
    """Write a generated graph in OGB's format, through OGB's ``DatasetSaver``.

    The folder appears under its name only when all of it is written, so an interrupted run leaves nothing behind
    that could be mistaken for data. When another process was faster, its folder is kept.
    """
    from ogb.io import DatasetSaver

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder.parent) as scratch, _quiet(), _ogb_pickles():
        saver = DatasetSaver(MINI_NAME, is_hetero=False, version=MINI_VERSION, root=str(Path(scratch) / "submission"))
        graph = {"edge_index": products.edge_index, "num_nodes": len(products.y), "node_feat": products.x}
        saver.save_graph_list([graph])
        saver.save_target_labels(products.y[:, None])
        saver.save_split(products.split, split_name="sales_ranking")
        mapping = Path(scratch) / "mapping"
        _write_mapping(products, mapping)
        saver.copy_mapping_dir(str(mapping))
        saver.save_task_info("multiclass classification", "acc", num_classes=len(products.category_names))
        _pyg_dataset(saver.get_meta_dict())  # converts once, so that the folder below is complete
        written = Path(saver.submission_dir)
        _write_manifest(written)
        try:
            os.rename(written, folder)
        except OSError:
            if not folder.exists():
                raise
            logger.info("%s was written by another process meanwhile", folder)


def load_mini(folder: Path) -> ProductGraph:
    """Read a folder that :func:`save_mini` wrote, through OGB's ``PygNodePropPredDataset``.

    Raises:
        DataMissingError: there is no such folder.
        DataCorruptError: a file is missing, was added to, or differs from the manifest.
    """
    _check_manifest(folder)
    with _quiet(), _ogb_pickles():
        meta = torch.load(folder / "meta_dict.pt", weights_only=True)
        meta["dir_path"] = str(folder / "products_mini")
        dataset = _pyg_dataset(meta)
        split = dataset.get_idx_split()
    mapping = folder / "products_mini" / "mapping"
    products = pd.read_csv(mapping / "nodeidx2product.csv.gz", keep_default_na=False)
    with np.load(mapping / "text_features.npz") as arrays:
        text_features = TextFeatures(
            arrays["vocabulary"].tolist(), arrays["idf"], arrays["mean"], arrays["components"], float(arrays["scale"])
        )
    return _as_product_graph(
        MINI_NAME,
        dataset[0],
        split,
        category_names=_read_category_names(mapping),
        keys=products["key"].tolist(),
        titles=products["title"].tolist(),
        topics=products["topic"].tolist(),
        text_features=text_features,
    )


def _write_mapping(products: MiniProducts, folder: Path) -> None:
    folder.mkdir()
    (folder / "README.md").write_text(
        "# ogbn-products-mini\n\nSynthetic products, made by `workshop.data.products_mini`; no real product, order or"
        " person is in them. `nodeidx2product.csv.gz` names the products, `labelidx2productcategory.csv.gz` the"
        " categories, `text_features.npz` holds the TF-IDF and PCA behind the features.\n"
    )
    compression = {"method": "gzip", "mtime": 1}  # the same products give the same bytes
    pd.DataFrame(
        {
            "node idx": np.arange(len(products.y)),
            "key": [f"P{i:07d}" for i in range(len(products.y))],
            "title": products.titles,
            "topic": products.topics,
            "sales rank": products.sales_rank,
        }
    ).to_csv(folder / "nodeidx2product.csv.gz", index=False, compression=compression)
    pd.DataFrame(
        {"label idx": np.arange(len(products.category_names)), "product category": products.category_names}
    ).to_csv(folder / "labelidx2productcategory.csv.gz", index=False, compression=compression)
    np.savez_compressed(
        folder / "text_features.npz", **{k: np.asarray(v) for k, v in vars(products.text_features).items()}
    )


def _write_manifest(folder: Path) -> None:
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    manifest = {"data set": MINI_NAME, "synthetic": True, "sha256": {f: sha256_of(folder / f) for f in files}}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))


def _check_manifest(folder: Path) -> None:
    hint = f"delete {folder}, then load again: it is generated anew in seconds"
    if not folder.is_dir():
        raise DataMissingError(f"no {MINI_NAME} at {folder}", hint="load_products(settings, size) generates it")
    try:
        expected = json.loads((folder / "manifest.json").read_text())["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataCorruptError(f"{folder}: manifest.json is missing or unreadable", hint=hint) from error
    for name, digest in expected.items():
        path = folder / name
        if not path.is_file():
            raise DataCorruptError(f"{folder} is incomplete: {name} is missing", hint=hint)
        if sha256_of(path) != digest:
            raise DataCorruptError(f"{path} was altered: its SHA-256 is not the manifest's", hint=hint)


# --- ogbn-products --------------------------------------------------------------------------------------------
def load_ogbn_products(
    root: Path, *, download: bool = False, url: str = FULL_URL, expected_nodes: int = FULL_NODES
) -> ProductGraph:
    """Load ogbn-products from ``root/ogbn_products``; fetch it first when that is allowed.

    Args:
        root: folder that holds, or will hold, ``ogbn_products``.
        download: permit the download. Size, disk and memory are logged before it starts; nothing is asked.
        url: where the archive comes from.
        expected_nodes: number of products a complete data set has.

    Raises:
        DataMissingError: the data is not on disk and ``download`` is False, or the download failed.
        DataCorruptError: the folder is incomplete, from an interrupted download for instance, or damaged.
    """
    folder = root / "ogbn_products"
    if not folder.exists():
        if not download:
            raise DataMissingError(
                f"{FULL_NAME} is not at {folder}; getting it means {FULL_COST}",
                hint="set WORKSHOP_ALLOW_LARGE_DOWNLOADS=1 to download it, or WORKSHOP_DATA_SIZE=default",
            )
        _download_ogb_archive(url, folder)
    _check_ogb_folder(folder)
    with _quiet(), _ogb_pickles(), _as_corrupt(folder):
        from ogb.nodeproppred import PygNodePropPredDataset

        dataset = PygNodePropPredDataset(FULL_NAME, root=str(root))
        data, split = dataset[0], dataset.get_idx_split()
        keys = pd.read_csv(folder / "mapping" / "nodeidx2asin.csv.gz", keep_default_na=False).iloc[:, 1].tolist()
        category_names = _read_category_names(folder / "mapping")
    if (data.num_nodes, data.x.shape[1], len(keys)) != (expected_nodes, FULL_FEATURES, expected_nodes):
        raise DataCorruptError(
            f"{folder}: expected {expected_nodes} products with {FULL_FEATURES} features, found {data.num_nodes} with"
            f" {data.x.shape[1]} and {len(keys)} ids",
            hint=f"delete {folder} and download it again",
        )
    return _as_product_graph(FULL_NAME, data, split, category_names=category_names, keys=keys, titles=keys, topics=[])


def _download_ogb_archive(url: str, folder: Path) -> None:
    """Download and unpack beside the target, then rename; an interruption leaves no half-filled folder."""
    from ogb.utils.url import download_url, extract_zip

    logger.warning("downloading %s: %s", FULL_NAME, FULL_COST)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".downloading-", dir=folder.parent) as scratch:
        try:
            archive = download_url(url, scratch, log=False)
            extract_zip(archive, scratch, log=False)
        except Exception as error:  # OGB raises bare RuntimeError, urllib and zipfile their own
            raise DataMissingError(
                f"{FULL_NAME}: the download from {url} failed: {error}", hint="check the network, then run it again"
            ) from error
        unpacked = Path(scratch) / "products"
        _check_ogb_folder(unpacked)
        os.rename(unpacked, folder)


def _check_ogb_folder(folder: Path) -> None:
    """OGB asks a question when the release note is missing and crashes on missing files; say which it is first."""
    needed = ["RELEASE_v1.txt", "mapping/nodeidx2asin.csv.gz", "mapping/labelidx2productcategory.csv.gz"]
    needed += [f"split/sales_ranking/{part}.csv.gz" for part in ("train", "valid", "test")]
    if not (folder / "processed" / "geometric_data_processed.pt").is_file():
        needed += [f"raw/{n}.csv.gz" for n in ("edge", "node-feat", "node-label", "num-node-list", "num-edge-list")]
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise DataCorruptError(
            f"{folder} is incomplete: {', '.join(missing)} missing", hint=f"delete {folder} and download it again"
        )


@contextlib.contextmanager
def _as_corrupt(folder: Path) -> Iterator[None]:
    """OGB reads damaged files with whatever error pandas, gzip or pickle raises; name the folder instead."""
    try:
        yield
    except Exception as error:
        raise DataCorruptError(
            f"{folder} cannot be read: {type(error).__name__}: {error}",
            hint=f"delete {folder / 'processed'}; if that does not help, the whole folder, and download it again",
        ) from error


# --- shared ---------------------------------------------------------------------------------------------------
def checked_features(x: torch.Tensor, num_features: int = FULL_FEATURES) -> torch.Tensor:
    """The features as float32, after a check of rank, width and finiteness.

    Raises:
        DataInvalidError: wrong rank or width, or a value is NaN or infinite; the message names the first rows.
    """
    if x.ndim != 2 or x.shape[1] != num_features:
        raise DataInvalidError(f"features: expected [n, {num_features}], received {list(x.shape)}")
    bad = (~torch.isfinite(x).all(dim=1)).nonzero().flatten()
    if len(bad):
        raise DataInvalidError(f"features of {len(bad)} products are NaN or infinite, first rows: {bad[:5].tolist()}")
    return x.to(torch.float32)


def _as_product_graph(
    name: str, data: Data, split: dict[str, np.ndarray | torch.Tensor], **about: object
) -> ProductGraph:
    return ProductGraph(
        name=name,
        synthetic=name == MINI_NAME,
        x=checked_features(data.x),
        edge_index=data.edge_index,
        y=data.y.flatten(),
        split={part: torch.as_tensor(indices, dtype=torch.int64) for part, indices in split.items()},
        **about,
    )


def _read_category_names(mapping: Path) -> list[str]:
    table = pd.read_csv(mapping / "labelidx2productcategory.csv.gz", keep_default_na=False)
    return table.sort_values(table.columns[0]).iloc[:, 1].tolist()


def _pyg_dataset(meta: dict[str, object]) -> object:
    from ogb.nodeproppred import PygNodePropPredDataset

    return PygNodePropPredDataset(MINI_NAME, meta_dict=meta)


@contextlib.contextmanager
def _ogb_pickles() -> Iterator[None]:
    """Let ``torch.load`` inside OGB read what OGB itself wrote, and nothing more.

    OGB 1.3.6 predates ``weights_only=True`` as the default (snap-stanford/ogb#497); the allow-list keeps that
    safety on instead of switching it off.
    """
    core = np.core.multiarray
    array_parts = [np.ndarray, np.dtype, type(np.dtype(np.int64)), core._reconstruct, core.scalar]
    with torch.serialization.safe_globals([Data, DataEdgeAttr, DataTensorAttr, GlobalStorage, *array_parts]):
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Send OGB's prints and progress bars to the debug log."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        yield
    logger.debug("ogb: %s", said.getvalue())
