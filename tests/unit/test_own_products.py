"""Own ids as document keys, and own graphs and orders as catalogues."""

from __future__ import annotations

import io
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import Data

from workshop.data.keys import document_key, pair_key
from workshop.data.orders import co_purchase_graph, read_orders
from workshop.data.own_products import products_of_data, products_of_orders
from workshop.errors import DataInvalidError
from workshop.recommend.baskets import popularity, recommend

# https://docs.arango.ai/arangodb/stable/concepts/data-structure/documents/#document-keys
LEGAL = re.compile(r"[A-Za-z0-9_\-:.@()+,=;$!*'%]{1,254}")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300))
def test_any_id_becomes_a_legal_key_and_so_does_a_pair(identifier):
    key = document_key(identifier)
    assert LEGAL.fullmatch(key)
    assert LEGAL.fullmatch(pair_key(key, key))


@given(st.sets(st.text("ab/=%:2F~ä", min_size=1, max_size=4), min_size=2))
def test_different_ids_have_different_keys(identifiers):
    keys = {document_key(identifier) for identifier in identifiers}
    assert len(keys) == len(identifiers)
    assert len({pair_key(a, b) for a in keys for b in keys}) == len(keys) ** 2


def test_usual_ids_stay_and_an_empty_one_is_refused():
    assert [document_key(name) for name in ("B00-1", "42", "a/b", "x" * 200)][:3] == ["B00-1", "42", "a=2Fb"]
    with pytest.raises(DataInvalidError, match="an id is empty"):
        document_key("")


def graph(**changes) -> Data:
    data = {"x": torch.ones(3, 2), "edge_index": torch.tensor([[0, 1], [1, 0]]), "y": torch.tensor([[0], [1], [-5]])}
    return Data(**{**data, **changes})


def test_a_graph_without_masks_and_with_unknown_categories():
    products = products_of_data(graph(), "own", ids=["a b", "c", "d"])
    assert products.keys == ["a=20b", "c", "d"]
    assert products.titles == ["a b", "c", "d"]
    assert products.y.tolist() == [0, 1, -1]
    assert products.category_names == ["0", "1"]
    assert not products.to_data().train_mask.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ids": ["a", "b"]}, "ids: expected 3, one a node, received 2"),
        ({"ids": ["a", "b", "a"]}, "ids: 'a' is given to more than one node"),
        ({"titles": ["a"]}, "titles: expected 3"),
        ({"category_names": ["one"]}, "category_names: 1 names, but y goes up to 1"),
    ],
)
def test_what_does_not_fit_the_graph_is_refused(options, message):
    with pytest.raises(DataInvalidError, match=message):
        products_of_data(graph(), "own", **options)


def test_orders_of_one_product_only_are_refused():
    orders = read_orders(io.BytesIO(b"order_id,product_id\n1,lamp\n2,lamp\n2,lamp\n3,lamp\n"))
    with pytest.raises(DataInvalidError, match="no two of 1 products were bought together in 3 orders"):
        co_purchase_graph(orders)
    with pytest.raises(DataInvalidError, match="no two of 1 products"):
        products_of_orders(orders, "lamps")
    with pytest.raises(DataInvalidError, match="k: 10 products cannot be chosen from 1 beside a basket of 1"):
        recommend(popularity(orders), orders.matrix())
