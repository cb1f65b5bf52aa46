"""A database for AQL tests: a real store in a temporary folder, with short ways to run queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from aqlite.aql import QueryOptions, QueryResult, explain_query, run_query
from aqlite.errors import ArangoError
from aqlite.storage import ddl
from aqlite.storage.api import EdgeDefinition, GraphInfo, IndexInfo
from aqlite.storage.graphs import GRAPHS, graph_to_document
from aqlite.storage.store import Store


class Database:
    """Runs queries, each in a transaction of its own."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)

    def close(self) -> None:
        self.store.close()

    def collection(self, name: str, documents: Iterable[dict] = (), kind: str = "document") -> None:
        with self.store.write("_system") as view:
            ddl.create_collection(view, name, kind, {})
            for document in documents:
                view.insert(name, document)

    def drop(self, name: str) -> None:
        with self.store.write("_system") as view:
            ddl.drop_collection(view, name)

    def index(self, collection: str, *fields: str, type_: str = "persistent", **settings: Any) -> None:
        paths = tuple(tuple(field.split(".")) for field in fields)
        with self.store.write("_system") as view:
            ddl.create_index(view, collection, IndexInfo("", "_".join(fields), type_, paths, **settings))

    def graph(self, name: str, edges: str, vertices: str) -> None:
        with self.store.write("_system") as view:
            graph = GraphInfo(name, (EdgeDefinition(edges, (vertices,), (vertices,)),))
            view.insert(GRAPHS, graph_to_document(graph))

    def result(
        self, text: str, bind_vars: Mapping[str, Any] | None = None, options: QueryOptions | None = None
    ) -> QueryResult:
        with self.store.write("_system") as view:
            return run_query(view, text, bind_vars or {}, options)

    def rows(self, text: str, bind_vars: Mapping[str, Any] | None = None) -> list[Any]:
        return self.result(text, bind_vars).rows

    def value(self, expression: str, bind_vars: Mapping[str, Any] | None = None) -> Any:
        (value,) = self.rows(f"RETURN {expression}", bind_vars)
        return value

    def error(self, text: str, bind_vars: Mapping[str, Any] | None = None) -> ArangoError:
        try:
            rows = self.rows(text, bind_vars)
        except ArangoError as error:
            return error
        raise AssertionError(f"no error, but {rows!r:.200} from {text!r:.200}")

    def plan(self, text: str, bind_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        with self.store.read("_system") as view:
            return explain_query(view, text, bind_vars)["plan"]

    def node_types(self, text: str, bind_vars: Mapping[str, Any] | None = None) -> list[str]:
        return [node["type"] for node in self.plan(text, bind_vars)["nodes"]]

    def indexes_used(self, text: str, bind_vars: Mapping[str, Any] | None = None) -> list[str]:
        nodes = self.plan(text, bind_vars)["nodes"]
        lists = [node["indexes"] for node in nodes if isinstance(node.get("indexes"), list)]
        return [index["name"] for indexes in lists for index in indexes]
