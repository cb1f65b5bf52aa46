#!/usr/bin/env python3
"""Build the site from an executed run of the notebooks: pages, library reference, search; all of it works offline.

python scripts/build_docs.py            # the newest run that holds every notebook
python scripts/build_docs.py runs/2026-01-31_10-00-00
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import nbformat

from workshop.errors import RunnerError, WorkshopError
from workshop.runner.index import load_index
from workshop.runner.reading import make_readable
from workshop.settings import PROJECT_ROOT

PAGES = (
    "README.md",
    "TROUBLESHOOTING.md",
    "CONTRIBUTING.md",
    "benchmarks/RESULTS.md",
    "deploy/kubernetes/README.md",
    "packages/aqlite/README.md",
    "packages/aqlite/PERMISSIONS.md",
    "packages/aqlite/CHANGELOG.md",
)
PATHS = {  # as `make run NOTEBOOKS=` takes them
    "two hours": ["core"],
    "half a day": ["core", "03", "04", "07"],
    "one day, with 11 and 12": ["core", "03", "04", "07", "11", "12", "90"],
    "one day, with 13 and 14": ["core", "03", "04", "07", "13", "14", "90"],
    "on your own": [],
}


def newest_run(runs: Path, names: Iterable[str]) -> Path:
    """The newest folder of ``runs`` whose report says that each of ``names`` passed.

    Raises:
        RunnerError: there is none.
    """
    wanted = set(names)
    for report in sorted(runs.glob("*/report.json"), reverse=True):
        notebooks = json.loads(report.read_text())["notebooks"]
        if wanted <= {notebook["name"] for notebook in notebooks if notebook["status"] == "passed"}:
            return report.parent
    raise RunnerError(f"{runs}: no run in which all {len(wanted)} notebooks passed", hint="make run")


def gather(run: Path, names: Iterable[str], source: Path) -> None:
    """Lay the pages out as in the project, with the executed notebooks in the place of the committed ones."""
    shutil.rmtree(source, ignore_errors=True)
    tracked = subprocess.run(["git", "ls-files"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    linked = [name for name in tracked.stdout.split("\n") if name and not name.startswith(("workshop/", "docs/"))]
    for name in linked:
        path = PROJECT_ROOT / name
        is_page = path.suffix in (".md", ".ipynb", ".rst")
        if path.is_file() and (name in PAGES or not is_page):
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    shutil.copytree(PROJECT_ROOT / "docs", source / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    (source / "docs" / "timings.md").write_text(timings(run))
    (source / "library").symlink_to(PROJECT_ROOT)
    for name in names:
        executed = nbformat.read(run / f"{name}.ipynb", as_version=4)
        make_readable(executed)
        nbformat.write(executed, source / "notebooks" / f"{name}.ipynb")


def timings(run: Path) -> str:
    """How long each notebook of a run took, and the sums of the paths that the facilitator's guide proposes."""
    report = json.loads((run / "report.json").read_text())
    seconds = {notebook["name"]: notebook["seconds"] for notebook in report["notebooks"]}
    rows = ["| notebook | seconds |", "|---|---|", *(f"| {name} | {taken:.0f} |" for name, taken in seconds.items())]
    for path, wanted in PATHS.items():
        entries = load_index().select(wanted)
        total = sum(seconds[entry.name] for entry in entries)
        rows.append(f"| **{path}: {', '.join(entry.number for entry in entries)}** | **{total:.0f}** |")
    machine = f"Data size {report['data_size']}, {report['machine']}, Python {report['python']}."
    return "\n".join([*rows, "", machine, ""])


def build(source: Path, site: Path) -> int:
    """Run Sphinx; a warning, such as a link that leads nowhere, is an error. Returns its exit status."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-j", "auto"]
    return subprocess.run([*command, "-c", str(source / "docs"), str(source), str(site)], cwd=PROJECT_ROOT).returncode


def main(arguments: list[str] | None = None) -> int:
    """Build, and say where the site is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, help="folder of an executed run; default: the newest whole one")
    parser.add_argument("--site", type=Path, default=PROJECT_ROOT / "site", help="where to; default: site")
    options = parser.parse_args(arguments)
    names = [entry.name for entry in load_index().notebook]
    try:
        run = options.run or newest_run(PROJECT_ROOT / "runs", names)
    except WorkshopError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    source = options.site / "source"
    gather(run, names, source)
    status = build(source, options.site / "html")
    if status == 0:
        print(f"the site of {run.name}: {options.site / 'html' / 'docs' / 'index.html'}")
    return status


if __name__ == "__main__":
    sys.exit(main())
