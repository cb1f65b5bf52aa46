"""Trace and save a tiny model, also where its disk is too small for the next one: python tiny_trace.py REPOSITORY

Prints one JSON line: the error, what the repository's check says afterwards, and the files before and after.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from workshop.export.torchscript import trace_and_save
from workshop.triton.repository import check_repository
from workshop.triton.signature import ModelSignature, TensorSpec

WIDTH = 16
SIGNATURE = ModelSignature(
    "tiny",
    (TensorSpec("values__0", "FP32", (WIDTH,)),),
    (TensorSpec("scaled__0", "FP32", (WIDTH,)),),
    platform="pytorch_libtorch",
    max_batch_size=8,
)


def trace_tiny(repository: Path, *, hidden: int = 4, times: int = 1) -> None:
    """Write version 1 of ``tiny`` so many times, a model with ``hidden`` numbers between its two layers."""
    model = torch.nn.Sequential(torch.nn.Linear(WIDTH, hidden), torch.nn.Linear(hidden, WIDTH)).eval()
    example, *others = (torch.rand(rows, WIDTH) for rows in (2, 3, 5))
    for _ in range(times):
        trace_and_save(
            model,
            SIGNATURE,
            (example,),
            {f"{len(other)} rows": (other,) for other in others},
            repository,
            source="random weights",
            source_sha256="0" * 64,
            replace=True,
        )


def main(repository: Path) -> None:
    """Trace a model that fits, then one that does not."""
    trace_tiny(repository)
    before = {path.name: path.stat().st_size for path in sorted(repository.rglob("*")) if path.is_file()}
    try:
        trace_tiny(repository, hidden=100_000)
        error = ""
    except (OSError, RuntimeError) as problem:
        error = str(problem)
    left = {path.name: path.stat().st_size for path in sorted(repository.rglob("*")) if path.is_file()}
    problems = [str(problem) for problem in check_repository(repository, [SIGNATURE])]
    sys.stdout.write(json.dumps({"error": error, "problems": problems, "before": before, "left": left}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
