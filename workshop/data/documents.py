"""Own documents: a CSV of ``product_id, title, text``, checked row by row before anything is computed from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from workshop.data.orders import Orders
from workshop.data.tables import read_columns, table_name
from workshop.errors import DataInvalidError

REQUIRED_COLUMNS = ("product_id", "text")
_SHOWN = 3


@dataclass(frozen=True)
class Documents:
    """What a catalogue says of its products, in the order of the table.

    Attributes:
        ids: the shop's id of each product, each once.
        titles: what a reader sees; the id where the table has no title.
        texts: what is embedded, none empty.
    """

    ids: list[str]
    titles: list[str]
    texts: list[str]

    def __len__(self) -> int:
        return len(self.ids)


def read_documents(
    source: Path | str | IO[bytes], *, rename: dict[str, str] | None = None, encoding: str = "utf-8"
) -> Documents:
    """Read a catalogue's texts from a CSV file.

    Needed columns are ``product_id`` and ``text``; ``title`` is used when there. Ids are kept as text. Rows are counted
    from 1 below the header in messages, since a text may hold line breaks.

    Args:
        source: path of the file, or an open binary file.
        rename: other names of these columns, ``{"name in the file": "name above"}``.
        encoding: of the text.

    Raises:
        DataMissingError: there is no such file.
        DataInvalidError: a needed column is missing, there are no rows, an id is empty or given twice, a text is blank,
            or the file is not in ``encoding``; the message says in how many rows, and which is the first.
    """
    name = table_name(source, "documents")
    table = read_columns(
        source, name, encoding, required=REQUIRED_COLUMNS, rename=rename, hint='rename={"your column": "text"}'
    )
    if table.empty:
        raise DataInvalidError(f"{name}: no rows below the header")
    faults = {
        "have no product_id": table["product_id"].str.strip().eq(""),
        "repeat a product_id": table["product_id"].duplicated(),
        "have no text": table["text"].str.strip().eq(""),
    }
    found = [_described(what, faulty, table["product_id"]) for what, faulty in faults.items() if faulty.any()]
    if found:
        raise DataInvalidError(f"{name}: {'; '.join(found)}", hint="mend these rows, or leave them out of the table")
    titles = table["title"].str.strip() if "title" in table.columns else table["product_id"]
    return Documents(
        ids=table["product_id"].tolist(),
        titles=titles.where(titles.ne(""), table["product_id"]).tolist(),
        texts=table["text"].tolist(),
    )


def on_documents(orders: Orders, documents: Documents) -> Orders:
    """The same orders with products numbered as the documents are, those that were never ordered included.

    Raises:
        DataInvalidError: orders name products that have no document.
    """
    number = {identifier: place for place, identifier in enumerate(documents.ids)}
    unknown = [identifier for identifier in orders.product_ids if identifier not in number]
    if unknown:
        shown = ", ".join(map(repr, unknown[:_SHOWN])) + (", ..." if len(unknown) > _SHOWN else "")
        raise DataInvalidError(
            f"orders name {len(unknown)} of {len(orders.product_ids)} products that have no document: {shown}",
            hint="add them to the documents, or leave their lines out of the orders; are the ids written alike?",
        )
    places = np.array([number[identifier] for identifier in orders.product_ids], dtype=np.int64)
    return replace(
        orders, product=places[orders.product], product_ids=documents.ids, titles=documents.titles, categories=None
    )


def _described(what: str, faulty: pd.Series, ids: pd.Series) -> str:
    first = int(np.flatnonzero(faulty)[0])
    rows = int(faulty.sum())
    return f"rows that {what}: {rows}, the first is row {first + 1} (product_id {ids.iloc[first]!r})"
