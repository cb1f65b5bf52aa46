"""Embed the pending documents of a collection with Ray; a run that failed or was stopped is continued by the next.

python scripts/embed_with_ray.py movies
On a machine of a Ray cluster, with addresses of servers that all its machines reach:
RAY_ADDRESS=head:6379 WORKSHOP_TRITON_ENDPOINTS=gpu1:8001,gpu2:8001 python scripts/embed_with_ray.py movies --workers 8
"""

from __future__ import annotations

import argparse
import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from workshop.errors import WorkshopError
from workshop.scale.embedding import RANGE_DOCUMENTS, BulkReport, StoredBlock, embed_with_ray
from workshop.settings import load_settings
from workshop.text.signatures import SENTENCE_BERT
from workshop.triton.artefact import served_sidecar


def main(arguments: list[str] | None = None) -> int:
    """Embed one collection; the exit code is 1 when that failed."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog="the servers are those of the settings, see README.md"
    )
    parser.add_argument("collection")
    parser.add_argument("--database", help="default: the setting WORKSHOP_ARANGO_DATABASE")
    parser.add_argument("--model", default=SENTENCE_BERT.name, help="name of the served model (default: %(default)s)")
    parser.add_argument("--text", nargs="+", default=["title", "overview"], help="attributes that make up the text")
    parser.add_argument("--workers", type=int, help="processes that ask Triton; default: one for each endpoint")
    parser.add_argument("--range", type=int, default=RANGE_DOCUMENTS, help="documents a block (default: %(default)s)")
    options = parser.parse_args(arguments)
    console = Console(soft_wrap=True)
    try:
        report = embed(options, console)
    except WorkshopError as error:
        console.print(f"[red]failed[/red]  {error}")
        return 1
    console.print(
        f"[green]stored[/green] {report.stored} vectors in {report.seconds:.0f} s, of which Ray took "
        f"{report.start_seconds:.0f} s to start; {report.already_there} were there, {report.skipped} have no text"
    )
    return 0


def embed(options: argparse.Namespace, console: Console) -> BulkReport:
    """Embed as the options say."""
    settings = load_settings(**({"arango_database": options.database} if options.database else {}))
    sidecar = served_sidecar(settings.model_repository, options.model)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting Ray", total=None)

        def on_block(block: StoredBlock) -> None:
            bar.update(task, description="vectors stored", completed=block.done, total=block.wanted)

        return embed_with_ray(
            settings,
            options.collection,
            model=options.model,
            model_version=sidecar.version_name,
            equivalent_versions=sidecar.equivalent_version_names,
            text_attributes=options.text,
            range_documents=options.range,
            workers=options.workers,
            on_block=on_block,
        )


if __name__ == "__main__":
    sys.exit(main())
