"""Measure the project's claims: ``python benchmarks/run.py [id ...]``; without an id, all but the longest, see below.

Writes ``benchmarks/results.json`` (for each machine ``machine``, and ``results``, a list of ``{id, value, unit, peer,
ratio, bar, holds, note, measured, commit}``) and ``benchmarks/RESULTS.md``. Ids that were not asked for keep the
earlier result of this machine when it is of committed code. The page has a part for each machine, this one's first, and
in it a table for each commit: figures of different machines, or of different code, do not belong into one.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from workshop.evaluate.kept import processor_name
from workshop.files import write_text
from workshop.text.sources import cpu_has_bf16_units

FOLDER = Path(__file__).resolve().parent
sys.path.append(str(FOLDER.parent / "packages/aqlite/benchmarks"))  # aqlite brings its own benchmark

# the order is that of the table; the whole run of the notebooks comes last
MODULES: dict[str, tuple[str, ...]] = {
    "bench_stack": ("stack_start", "server_memory"),
    "bench_text": (
        "text_like_for_like",
        "embed_vs_one_by_one",
        "embed_vs_classic",
        "embed_min_cosine",
        "ensemble_latency",
        "zero_shot_auc",
    ),
    "bench_accelerate": ("best_form", "best_form_overlap"),
    "bench_load": ("dynamic_batching", "load_generator_cost"),
    "bench_fleet": ("fleet_scaling", "simulator_error"),
    "bench_generation": ("stream_first_token", "stream_rate", "generate_batch", "cancel_latency"),
    "bench_sentiment": ("sentiment_accuracy", "sentiment_onnx"),
    "bench_aqlite": (
        "aqlite_import",
        "aqlite_point_read",
        "aqlite_exact_cosine",
        "aqlite_vector_index",
        "aqlite_classic_cosine",
        "aqlite_two_hops",
        "aqlite_memory",
        "aqlite_concurrency",
        "aqlite_fairness",
        "aqlite_ping_under_sort",
        "aqlite_open_transactions",
        "aqlite_vectors_search",
        "aqlite_vectors_insert",
        "aqlite_vectors_memory",
    ),
    "bench_movies": (
        "catalogue_efficiency",
        "likes_hybrid",
        "likes_text_only",
        "movie_relevance",
        "hybrid_genre_overlap",
        "vector_recall",
        "vector_latency",
    ),
    "bench_graphsage": (
        "mini_accuracy",
        "mini_methods",
        "train_epoch",
        "sampler_rate",
        "graphsage_in_process",
        "graphsage_vs_classic",
    ),
    "bench_products": ("orders_recall", "catalogue_products", "live_product"),
    "bench_vision": ("vit_two_ways", "vit_int8", "image_top1", "image_jpeg"),
    "bench_sagemaker": ("archive_size", "sagemaker_invoke"),
    "bench_scale": ("ray_vs_client", "ray_worker_loss", "products_layerwise"),
    "bench_packages": ("client_import", "setup_warm", "aqlite_wheel"),
    "bench_notebooks": ("prose_literals", "exercise_refusals"),
    "bench_demo": ("demo_start", "demo_first_result", "demo_memory"),
    "bench_room": ("docs_build", "two_hour_path"),
    "bench_faults": ("fault_cases", "fuzz_cases", "soak"),
    "bench_run": ("warm_run",),
}
ONLY_BY_NAME = frozenset({"fuzz_cases", "soak"})
"""Ten minutes each, and longer: measured when they are asked for."""
DIRTY = "+"
ALL_IDS = tuple(name for names in MODULES.values() for name in names)
RESULTS, TABLE = FOLDER / "results.json", FOLDER / "RESULTS.md"


def machine_facts() -> dict:
    """What the figures depend on."""
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "bf16_units": cpu_has_bf16_units(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def measure(ids: set[str]) -> list[dict]:
    """Run the benchmarks of ``ids`` and return their results; one that fails is a result that does not hold."""
    results = []
    for module, names in MODULES.items():
        wanted = ids & set(names)
        if not wanted:
            continue
        done = set()
        try:
            for result in importlib.import_module(module).measure(wanted):
                done.add(result["id"])
                results.append(result)
                print(row_text(result), flush=True)
        except Exception as error:
            for name in sorted(wanted - done):
                results.append(failed(name, error))
                print(row_text(results[-1]), flush=True)
    return results


def failed(name: str, error: Exception) -> dict:
    """The result of a benchmark that raised."""
    note = f"failed: {type(error).__name__}: {error}".splitlines()[0]
    return {"id": name, **dict.fromkeys(("value", "unit", "peer", "ratio", "bar")), "holds": False, "note": note}


def row_text(result: dict) -> str:
    """One result as a line."""
    state = "holds" if result["holds"] else "MISSED"
    ratio = "" if result["ratio"] is None else f", ratio {result['ratio']:.3g} to {result['peer']}"
    value = "-" if result["value"] is None else f"{result['value']:.4g} {result['unit'] or ''}"
    return f"{result['id']:36s} {value:>14s}{ratio}; bar {result['bar']}: {state}. {result['note'] or ''}"


def code_version() -> str:
    """The last commit that changed more than the results themselves, with ``DIRTY`` where files differ from it."""
    only_code = ["--", ".", ":!benchmarks/results.json", ":!benchmarks/RESULTS.md"]

    def git(*arguments: str) -> str:
        command = ["git", *arguments, *only_code]
        return subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True, check=True).stdout.strip()

    return git("log", "-1", "--format=%h") + (DIRTY if git("status", "--porcelain") else "")


def merge(earlier: dict, results: list[dict], machine: dict, commit: str) -> dict:
    """Earlier results of this machine with the new ones in their place, then those of other machines as they were.

    Those of uncommitted code are dropped: what changed may have changed again.
    """
    machines = {json.dumps(part["machine"]): part for part in earlier.get("machines", [])}
    own = machines.pop(json.dumps(machine), {"results": []})
    kept = {r["id"]: r for r in own["results"] if not r["commit"].endswith(DIRTY)}
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M")
    kept |= {result["id"]: {**result, "measured": now, "commit": commit} for result in results}
    part = {"machine": machine, "results": [kept[name] for name in ALL_IDS if name in kept]}
    return {"machines": [part, *machines.values()]}


def markdown(report: dict) -> str:
    """The results as a page: a part for each machine, in it a table for each commit, the newest measurement's first."""
    lines = [
        "# Measured claims",
        "",
        "By `make bench`. A ratio compares with its peer in the same run. Each table is of",
        "one commit of the code on one machine: figures of two tables do not compare.",
    ]
    for part in report["machines"]:
        lines += ["", f"## {machine_text(part['machine'])}"]
        last: dict[str, str] = {}
        for r in part["results"]:
            last[r["commit"]] = max(last.get(r["commit"], ""), r["measured"])
        for commit in sorted(last, key=last.__getitem__, reverse=True):
            lines += ["", f"### Commit {commit}, until {last[commit]}", ""]
            lines += ["| id | value | peer | ratio | bar | holds | note |", "|---|---|---|---|---|---|---|"]
            lines += [table_row(r) for r in part["results"] if r["commit"] == commit]
    return "\n".join(lines) + "\n"


def machine_text(machine: dict) -> str:
    """A machine in a line; what it lacks is left out."""
    facts = [
        machine["processor"],
        f"{machine['cores']} cores",
        "bf16 units" if machine["bf16_units"] else "no bf16 units",
    ]
    units = {"memory_gb": "{} GB of memory", "gpu": "{}", "python": "Python {}", "torch": "torch {}"}
    facts += [text.format(machine[name]) for name, text in units.items() if machine[name] is not None]
    return ", ".join(facts)


def table_row(result: dict) -> str:
    """One result as a row of its commit's table."""
    cells = (
        f"`{result['id']}`",
        "-" if result["value"] is None else f"{result['value']:.4g} {result['unit'] or ''}".strip(),
        result["peer"] or "",
        "" if result["ratio"] is None else f"{result['ratio']:.3g}",
        result["bar"],
        "yes" if result["holds"] else "**no**",
        result["note"] or "",
    )
    return "| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |"


def main(arguments: list[str] | None = None) -> int:
    """Measure, write both files, show a table; returns 1 when a bar was missed."""
    parser = argparse.ArgumentParser(description="Measure the project's claims")
    parser.add_argument(
        "ids",
        nargs="*",
        metavar="id",
        help=f"any of: {' '.join(ALL_IDS)}; none: all but {', '.join(sorted(ONLY_BY_NAME))}",
    )
    ids = set(parser.parse_args(arguments).ids) or set(ALL_IDS) - ONLY_BY_NAME
    unknown = sorted(ids - set(ALL_IDS))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(ALL_IDS)}")
    results = measure(ids)
    earlier = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    report = merge(earlier, results, machine_facts(), code_version())
    write_text(RESULTS, json.dumps(report, indent=2) + "\n")
    write_text(TABLE, markdown(report))
    table = Table("id", "value", "peer", "ratio", "bar", "holds", title=f"Measured; all results are in {TABLE.name}")
    for r in results:
        value = "-" if r["value"] is None else f"{r['value']:.4g} {r['unit'] or ''}"
        ratio = "" if r["ratio"] is None else f"{r['ratio']:.3g}"
        table.add_row(
            r["id"], value, str(r["peer"] or ""), ratio, str(r["bar"]), "yes" if r["holds"] else "[red]no[/red]"
        )
    Console().print(table)
    return 0 if all(r["holds"] for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())
