"""Dump a graph of the store in ArangoDB's own format, with a manifest.

python scripts/make_dump.py movies
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path

from arango.database import StandardDatabase
from rich.console import Console
from rich.progress import Progress

from workshop.data.fetch import ARTEFACTS
from workshop.data.products import MINI_NAME
from workshop.errors import StoreSchemaError, WorkshopError
from workshop.recommend.movie_graph import MOVIE_GRAPH, MOVIES
from workshop.recommend.product_graph import PRODUCT_COLLECTIONS, PRODUCT_GRAPH
from workshop.settings import load_settings
from workshop.store.connection import connect
from workshop.store.data_sets import stored_data_sets
from workshop.store.dump import make_dump


@dataclass(frozen=True)
class Recipe:
    """What a dump of the workshop holds.

    Attributes:
        graph: name of the graph.
        documents: the collection whose documents are marked with their data set.
        mark: name of the data set that they must be of.
        data_set: what the manifest says of it.
        leave_out: attributes not to dump, by collection.
    """

    graph: str
    documents: str
    mark: str
    data_set: str
    leave_out: dict[str, list[str]] = field(default_factory=dict)


FILMS, PRODUCTS = ARTEFACTS["movies"].requirement, PRODUCT_COLLECTIONS.products
MINI = f"{MINI_NAME}, 20000 products"
RECIPES = {
    # the overviews belong to their authors; they are joined back from the downloaded file
    "movies": Recipe(MOVIE_GRAPH.graph, MOVIES, FILMS, FILMS, {MOVIES: ["overview"]}),
    "products": Recipe(PRODUCT_GRAPH.graph, PRODUCTS, MINI, f"{MINI_NAME}, synthetic, 20000 products, seed 0"),
}


def check_marks(database: StandardDatabase, recipe: Recipe) -> None:
    """Refuse to dump documents under the name of a data set that they are not of.

    Raises:
        StoreSchemaError: some are of another one, by their marks.
    """
    if not database.has_collection(recipe.documents):
        return
    if others := {found.name for found in stored_data_sets(database, recipe.documents)} - {recipe.mark}:
        raise StoreSchemaError(
            f"collection {recipe.documents!r} of {database.name!r} holds {', '.join(sorted(others))}; expected only "
            f"{recipe.mark}, whose name the dump would have",
            hint="WORKSHOP_ARANGO_DATABASE=dumped and the notebooks again, which fill another database",
        )


def main(arguments: list[str] | None = None) -> int:
    """Write one dump; the exit code is 1 when that failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("--folder", type=Path, help="default: the setting WORKSHOP_DUMP_DIR, and the name below it")
    parser.add_argument("--vector-decimals", type=int, default=4, help="digits kept of an embedding's numbers")
    options = parser.parse_args(arguments)
    recipe = RECIPES[options.name]
    settings = load_settings()
    folder = options.folder or settings.dump_dir / options.name
    console = Console(soft_wrap=True)
    try:
        with Progress(console=console, transient=True) as bar:
            task = bar.add_task(f"dumping {recipe.graph}")
            database = connect(settings)
            check_marks(database, recipe)
            manifest = make_dump(
                database,
                folder,
                recipe.graph,
                data_set=recipe.data_set,
                leave_out=recipe.leave_out,
                vector_decimals=options.vector_decimals,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
    except WorkshopError as error:
        console.print(f"[red]failed[/red]  {error}")
        return 1
    documents = sum(entry["documents"] for entry in manifest["collections"].values())
    megabytes = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    console.print(f"[green]written[/green] {folder}: {documents} documents, {megabytes:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
