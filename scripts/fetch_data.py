"""Download the data files the notebooks read; a second run finds them on disk and needs no network.

python scripts/fetch_data.py            all files
python scripts/fetch_data.py smollm2    one file by name
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from workshop.data.fetch import ARTEFACTS, fetch
from workshop.errors import DataError
from workshop.settings import load_settings
from workshop.text.generation.smollm2 import prepare_smollm2


def main(arguments: list[str] | None = None) -> int:
    """Fetch what was asked; the exit code is the number of files that could not be had."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(ARTEFACTS)}; default: all")
    parser.add_argument("--data-dir", type=Path, help="default: the setting WORKSHOP_DATA_DIR")
    options = parser.parse_args(arguments)
    data_dir = options.data_dir or load_settings().data_dir
    console = Console(soft_wrap=True)
    ready, failures = {}, 0
    for name in options.names or ARTEFACTS:
        try:
            ready[name] = fetch(name, data_dir)
        except DataError as error:
            console.print(f"[red]failed[/red]  {name}: {error}")
            failures += 1
    if "smollm2" in ready:
        prepare_smollm2(data_dir)
    if ready:
        megabytes = sum(path.stat().st_size for path in ready.values()) / 1e6
        console.print(f"[green]ready[/green]   data files: {', '.join(ready)}, {megabytes:.0f} MB", highlight=False)
    return failures


if __name__ == "__main__":
    sys.exit(main())
