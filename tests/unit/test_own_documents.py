"""Own documents and orders on them: what is taken, and what the message says of the rows that are not."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from workshop.data.documents import Documents, on_documents, read_documents
from workshop.data.example_shop import Recipe, example_shop
from workshop.data.orders import co_purchase_weights, read_orders
from workshop.data.own_products import products_of_documents
from workshop.errors import DataInvalidError, DataMissingError, RepositoryError
from workshop.recommend.product_graph import ProductCollections
from workshop.settings import load_settings
from workshop.text.prepare import prepare_own_sentence_bert


def csv(text: str) -> io.BytesIO:
    return io.BytesIO(text.encode())


def test_ids_stay_text_and_a_missing_title_is_the_id():
    documents = read_documents(csv('product_id,title,text\n007, Tent ,"two\nlines"\n8,,light\n'))
    assert documents == Documents(["007", "8"], ["Tent", "8"], ["two\nlines", "light"])
    assert read_documents(csv("sku,text\nNA,null\n"), rename={"sku": "product_id"}).texts == ["null"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("product_id,description\n1,a\n", "column text missing; found product_id, description"),
        ("product_id,text\n", "no rows below the header"),
        ("product_id,text\n1,a\n ,b\n", "rows that have no product_id: 1, the first is row 2"),
        ("product_id,text\n1,a\n2,b\n1,c\n2,d\n", r"repeat a product_id: 2, the first is row 3 \(product_id '1'\)"),
        ("product_id,text\n1,a\n2, \n3,\n", r"have no text: 2, the first is row 2 \(product_id '2'\)"),
        ('product_id,text\n1,"a\n', "is not a CSV table"),
    ],
)
def test_a_faulty_table_is_refused_by_row(table, message):
    with pytest.raises(DataInvalidError, match=message):
        read_documents(csv(table))


def test_a_missing_file_and_another_encoding_are_named(tmp_path):
    with pytest.raises(DataMissingError, match="no file at"):
        read_documents(tmp_path / "gone.csv")
    (tmp_path / "latin.csv").write_bytes("product_id,text\n1,Käse\n".encode("latin-1"))
    with pytest.raises(DataInvalidError, match="is not utf-8 text"):
        read_documents(tmp_path / "latin.csv")
    assert read_documents(tmp_path / "latin.csv", encoding="latin-1").texts == ["Käse"]


def test_orders_take_the_numbers_of_the_documents():
    documents = Documents(["a", "b", "c"], ["A", "B", "C"], ["x", "y", "z"])
    orders = on_documents(read_orders(csv("order_id,product_id\n1,c\n1,a\n2,c\n")), documents)
    assert orders.product.tolist() == [2, 0, 2]
    assert orders.num_products == 3
    products, weight = products_of_documents(documents, orders, torch.eye(3), "shop")
    assert products.keys == ["a", "b", "c"]
    assert products.edge_index.tolist() == [[0, 2], [2, 0]]
    assert weight.tolist() == [1.0, 1.0]
    with pytest.raises(DataInvalidError, match="expected 3 rows, one a document, received 2"):
        products_of_documents(documents, orders, torch.eye(2), "shop")
    other = read_orders(csv("order_id,product_id\n1,c\n1,a\n"))
    with pytest.raises(DataInvalidError, match="number other products"):
        products_of_documents(documents, other, torch.eye(3), "shop")


def test_ordered_products_without_a_document_are_named():
    orders = read_orders(csv("order_id,product_id\n1,a\n1,b\n2,c\n2,d\n2,e\n"))
    with pytest.raises(DataInvalidError, match=r"4 of 5 products that have no document: 'b', 'c', 'd', \.\.\."):
        on_documents(orders, Documents(["a"], ["A"], ["x"]))


def test_the_example_shop_is_the_same_for_a_seed_and_fits_the_loaders(tmp_path):
    documents, orders = example_shop(80, 120, seed=3)
    again, others = example_shop(80, 120, seed=3), example_shop(80, 120, seed=4)
    assert documents.equals(again[0])
    assert orders.equals(again[1])
    assert not orders.equals(others[1])
    documents.to_csv(tmp_path / "documents.csv", index=False)
    orders.to_csv(tmp_path / "orders.csv", index=False)
    read = read_documents(tmp_path / "documents.csv")
    bought = on_documents(read_orders(tmp_path / "orders.csv"), read)
    assert len(read) == 80
    assert 100 < bought.num_orders <= 120
    assert 0 < len(set(range(80)) - set(bought.product.tolist())) < 40
    with pytest.raises(DataInvalidError, match="at most 672"):
        example_shop(673, 1)


def test_without_strays_the_example_shops_baskets_keep_to_one_occasion():
    documents, orders = example_shop(200, 100, recipe=Recipe(stray=0.0, says_occasion=1.0))
    occasion = documents["text"].str.extract(r"Good for (.*)\.$")[0].set_axis(documents["product_id"])
    assert orders.groupby("order_id")["product_id"].agg(lambda ids: occasion[ids].nunique()).eq(1).all()
    bought = on_documents(
        read_orders(csv(orders.to_csv(index=False))), read_documents(csv(documents.to_csv(index=False)))
    )
    linked = np.unique(co_purchase_weights(bought).nonzero()[0])
    assert len(linked) > 100


@pytest.mark.parametrize("prefix", ["", "1_", "a b", "_x"])
def test_collections_of_ones_own_want_a_prefix(prefix):
    with pytest.raises(DataInvalidError, match="expected a letter"):
        ProductCollections.prefixed(prefix)
    assert ProductCollections.prefixed("own_").graph == "own_product_graph"


def test_an_own_sentence_model_may_not_take_the_workshops_name():
    with pytest.raises(RepositoryError, match="workshop's own"):
        prepare_own_sentence_bert(load_settings(), "sentence_bert")
