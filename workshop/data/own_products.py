"""Own catalogues: any PyG graph and any orders become the product graph that is stored and recommended from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch_geometric.data import Data

from workshop.data.documents import Documents
from workshop.data.keys import document_key
from workshop.data.orders import Orders, co_purchase_graph, co_purchase_links
from workshop.data.products import ProductGraph
from workshop.errors import DataInvalidError

UNKNOWN = -1
"""Number of the category that is not known."""
_MASKS = {"train": "train_mask", "valid": "val_mask", "test": "test_mask"}


def products_of_data(
    data: Data,
    name: str,
    *,
    ids: Sequence[str] | None = None,
    titles: Sequence[str] | None = None,
    category_names: Sequence[str] | None = None,
) -> ProductGraph:
    """A catalogue of any homogeneous PyG graph.

    Args:
        data: ``x`` float ``[n, features]`` and ``edge_index`` int64 ``[2, edges]``; ``y`` int64 ``[n]`` or ``[n, 1]``
            (negative where unknown) and ``train_mask``, ``val_mask``, ``test_mask`` where there are categories.
        name: the catalogue's name.
        ids: one id a node, any text; node numbers when left out.
        titles: what a reader sees; the ids when left out.
        category_names: a name for each number of ``y``; the numbers when left out.

    Raises:
        DataInvalidError: numbers of ids, titles or labels that differ from the nodes', ids given twice, or a category
            without a name.
    """
    count = data.num_nodes
    ids = [str(number) for number in range(count)] if ids is None else list(map(str, ids))
    titles = ids if titles is None else list(titles)
    y = torch.full((count,), UNKNOWN) if data.get("y") is None else data.y.view(-1).long().clamp(min=UNKNOWN)
    for what, values in (("ids", ids), ("titles", titles), ("y", y)):
        if len(values) != count:
            raise DataInvalidError(f"{what}: expected {count}, one a node, received {len(values)}")
    if len(set(ids)) != count:
        repeated = next(identifier for identifier in ids if ids.count(identifier) > 1)
        raise DataInvalidError(f"ids: {repeated!r} is given to more than one node")
    highest = int(y.max()) if count else UNKNOWN
    names = [str(number) for number in range(highest + 1)] if category_names is None else list(category_names)
    if highest >= len(names):
        raise DataInvalidError(f"category_names: {len(names)} names, but y goes up to {highest}")
    split = {part: data[mask].nonzero().view(-1) for part, mask in _MASKS.items() if data.get(mask) is not None}
    return ProductGraph(
        name=name,
        synthetic=False,
        x=data.x.float(),
        edge_index=data.edge_index,
        y=y,
        split=split,
        category_names=names,
        keys=[document_key(identifier) for identifier in ids],
        titles=titles,
        topics=[],
    )


def products_of_orders(orders: Orders, name: str, *, num_features: int = 100) -> tuple[ProductGraph, torch.Tensor]:
    """A catalogue of the products of some orders, and how strong each co-purchase is.

    Args:
        orders: from :func:`workshop.data.orders.read_orders`.
        name: the catalogue's name.
        num_features: width of the features, see :func:`workshop.data.orders.co_purchase_graph`.

    Returns:
        The catalogue, and ``edge_weight`` float32 ``[edges]`` for ``load_product_graph``.

    Raises:
        DataInvalidError: no two products were bought together.
    """
    data = co_purchase_graph(orders, num_features=num_features)
    names = sorted(set(orders.categories)) if orders.categories is not None else None
    products = products_of_data(data, name, ids=orders.product_ids, titles=orders.titles, category_names=names)
    return products, data.edge_weight


def products_of_documents(
    documents: Documents, orders: Orders, features: torch.Tensor, name: str
) -> tuple[ProductGraph, torch.Tensor]:
    """A catalogue of the products that documents describe, linked where they were bought together.

    Args:
        documents: from :func:`workshop.data.documents.read_documents`.
        orders: numbered as the documents are, see :func:`workshop.data.documents.on_documents`.
        features: float32 ``[documents, width]``, what is known of each product without any order; vectors of its text.
        name: the catalogue's name.

    Returns:
        The catalogue, products without an order included, and ``edge_weight`` float32 ``[edges]`` for
        ``load_product_graph``.

    Raises:
        DataInvalidError: orders or features of other products, or no two products were bought together.
    """
    if orders.product_ids != documents.ids:
        raise DataInvalidError(
            "the orders number other products than the documents", hint="on_documents(orders, documents)"
        )
    if len(features) != len(documents):
        raise DataInvalidError(f"features: expected {len(documents)} rows, one a document, received {len(features)}")
    edge_index, edge_weight = co_purchase_links(orders)
    data = Data(x=features, edge_index=edge_index)
    return products_of_data(data, name, ids=documents.ids, titles=documents.titles), edge_weight
