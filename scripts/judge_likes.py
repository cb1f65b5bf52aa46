"""Judge the movie recommender by a table of ratings: which methods find what the same people like.

python scripts/judge_likes.py [ratings.csv]; the store must hold the films with their vectors (notebook 06).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from workshop.data.movies import load_movies
from workshop.errors import WorkshopError
from workshop.evaluate.likes import LikesReport, judge_by_likes, load_ratings
from workshop.recommend.movie_graph import MovieCollections
from workshop.recommend.movies import MovieRecommender
from workshop.settings import load_settings
from workshop.store.connection import connect
from workshop.store.vector_index import VectorSearch


def main(arguments: list[str] | None = None) -> int:
    """Print how each method did; the exit code is 1 when the table or the store will not do."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "ratings", nargs="?", type=Path, help="columns user, item, rating, time; default: WORKSHOP_RATINGS_CSV"
    )
    parser.add_argument("--most-asked", type=int, default=300, help="films asked about, at most")
    options = parser.parse_args(arguments)
    console = Console(soft_wrap=True)
    try:
        settings = load_settings(**({"ratings_csv": options.ratings} if options.ratings else {}))
        movies = load_movies(settings).movies
        ratings = load_ratings(settings, movies)
        console.print(str(ratings))
        recommender = MovieRecommender(
            connect(settings),
            _no_wishes,
            VectorSearch(False, "not needed", len(movies)),
            collections=MovieCollections(settings.movies_prefix),
        )
        with Progress(console=console, transient=True) as bar:
            task = bar.add_task("films asked for")
            report = judge_by_likes(
                recommender,
                ratings,
                {movie.key: movie for movie in movies},
                most_asked=options.most_asked,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
    except WorkshopError as error:
        console.print(f"[red]failed[/red]  {error}")
        return 1
    console.print(_shown(report))
    return 0


def _shown(report: LikesReport) -> Table:
    found = report.table()
    table = Table("method", *found.columns, title=f"{report.num_asked} films asked about")
    for name, row in found.iterrows():
        table.add_row(str(name), *row)
    return table


def _no_wishes(texts: list[str]) -> None:
    raise AssertionError(f"films are asked for by key, not by {texts}")


if __name__ == "__main__":
    sys.exit(main())
