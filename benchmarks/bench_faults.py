"""Whether the workshop holds: minutes of mixed load, servers that are killed, and readers on bytes that are wrong."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
from torch import Tensor

from workshop import stack
from workshop.data.images import sample_photos
from workshop.data.movies import load_movies
from workshop.data.products import load_products
from workshop.graph.product_training import find_checkpoint
from workshop.graph.sampling import CSRGraph
from workshop.graph.served import request_inputs, trace_checkpoint
from workshop.graph.signature import PRODUCTS_MODEL
from workshop.loadtest.generator import Send
from workshop.loadtest.senders import encode_grpc, grpc_sender
from workshop.loadtest.soak import Soak, mixed, soak
from workshop.settings import PROJECT_ROOT, Settings, load_settings
from workshop.stack.private import private_settings
from workshop.store.bulk import upsert
from workshop.store.connection import connect
from workshop.text.prepare import prepare_sentence_bert, prepare_zero_shot
from workshop.triton.client import TritonClient
from workshop.triton.endpoint import Endpoint
from workshop.triton.tensors import Arrays
from workshop.vision.prepare import prepare_image_classifier

sys.path.append(str(PROJECT_ROOT / "tests" / "fuzz"))

SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
WARM_UP_SECONDS = min(180.0, SOAK_SECONDS)
GROWTH_BAR = 0.05
LEAST_CASES = 24
NOT_PASSED = ("failure", "error", "skipped")  # elements of a case in pytest's report; it has properties besides
FUZZ_CASES = int(os.environ.get("FUZZ_CASES", "1000000"))
# shares of all cases: what a reader costs decides, the tables of pandas take milliseconds each
FUZZ_SHARES = {
    "model configuration": 0.17,
    "dump, a data file": 0.29,
    "dump, its structure and manifest": 0.12,
    "sidecar of a model": 0.10,
    "text": 0.08,
    "picture": 0.10,
    "picture's preparation": 0.08,
    "table of documents": 0.01,
    "table of orders": 0.01,
    "table of ratings": 0.01,
    "tables of films": 0.02,
    "table of reviews": 0.01,
}
PROCESSES = 2
FILMS = 2000
MODELS = ("text_embedding", "zero_shot_text", "image_classification", PRODUCTS_MODEL.name)
PRODUCTS_A_REQUEST = 16


def measure(ids: set[str]) -> Iterator[dict]:
    """Yield the results of the benchmarks asked for."""
    if "fault_cases" in ids:
        yield fault_cases()
    if "fuzz_cases" in ids:
        yield fuzz_cases()
    if "soak" in ids:
        yield soaked()


# --- faults -----------------------------------------------------------------------------------------------------
def fault_cases() -> dict:
    """Every case of tests/faults; one that is skipped has not passed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        began = time.monotonic()
        command = [sys.executable, "-m", "pytest", "tests/faults", "-m", "fault", f"--junitxml={report}"]
        run = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=1800, check=False)
        if not report.is_file():
            raise RuntimeError(f"pytest wrote no report: {run.stdout[-500:]}{run.stderr[-500:]}")
        cases = outcomes(report)
    passed = sum(cases.values())
    failed = sorted(name for name, good in cases.items() if not good)
    return {
        "id": "fault_cases",
        "value": passed,
        "unit": "cases",
        "peer": None,
        "ratio": None,
        "bar": f">= {LEAST_CASES}, all pass",
        "holds": passed >= LEAST_CASES and not failed,
        "note": f"of {len(cases)} in tests/faults, {time.monotonic() - began:.0f} s; not passed: "
        f"{', '.join(failed) or 'none'}",
    }


def outcomes(report: Path) -> dict[str, bool]:
    """Whether each case of pytest's XML report passed, by its name; one with parameters if it passed with all."""
    cases: dict[str, bool] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = case.get("name", "").partition("[")[0]
        cases[name] = cases.get(name, True) and not any(case.findall(outcome) for outcome in NOT_PASSED)
    return cases


# --- fuzzing ----------------------------------------------------------------------------------------------------
def fuzz_cases() -> dict:
    """Mutated examples for every reader, in processes with seeds of their own."""
    began = time.monotonic()
    # its pool notices a worker that a reader's C code ended, by BrokenProcessPool; one of multiprocessing would wait
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        crashes = [crash for part in pool.map(_fuzz_share, range(PROCESSES)) for crash in part]
    cases = {name: round(share * FUZZ_CASES / PROCESSES) * PROCESSES for name, share in FUZZ_SHARES.items()}
    shown = "; ".join(f"{name} {count:,}" for name, count in cases.items())
    return {
        "id": "fuzz_cases",
        "value": sum(cases.values()),
        "unit": "cases",
        "peer": None,
        "ratio": None,
        "bar": "1,000,000 without a crash",
        "holds": not crashes and sum(cases.values()) >= 1_000_000,
        "note": f"{len(crashes)} crashes{f', such as {crashes[0]}' if crashes else ''}; {shown}; "
        f"{time.monotonic() - began:.0f} s in {PROCESSES} processes",
    }


def _fuzz_share(seed: int) -> list[str]:
    import logging
    import warnings

    from mutations import fuzz
    from readers import all_readers

    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    in_memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=in_memory if in_memory.is_dir() else None) as folder:
        found = {reader.name: reader for reader in all_readers(Path(folder))}
        if found.keys() != FUZZ_SHARES.keys():
            raise ValueError(f"readers {sorted(found)}, expected {sorted(FUZZ_SHARES)}")
        return [
            f"{crash.reader}: {crash.error[:200]}"
            for name, share in FUZZ_SHARES.items()
            for crash in fuzz(found[name], round(share * FUZZ_CASES / PROCESSES), seed)
        ]


# --- soak -------------------------------------------------------------------------------------------------------
def soaked() -> dict:
    """Texts, zero-shot questions, pictures, products, writes and queries at 80 % of what the servers do together."""
    with tempfile.TemporaryDirectory() as folder:
        settings = private_settings(
            Path(folder) / "stack", model_repository=Path(folder) / "models", arango_password=""
        )
        committed = load_settings().model_repository  # with the code of the tokenizers and of the image decoder
        shutil.copytree(committed, settings.model_repository, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        prepare_sentence_bert(settings)
        prepare_zero_shot(settings)
        prepare_image_classifier(settings)
        goods = load_products(load_settings(), "default")
        csr = CSRGraph.from_edge_index(goods.edge_index, goods.num_products)
        weights = find_checkpoint(settings, goods, precomputed=True)
        trace_checkpoint(weights, goods.x, csr, settings.model_repository)
        with stack.running(settings, models=MODELS):
            done = asyncio.run(_soak(settings, _neighbourhoods(goods.x, csr)))
    growth = done.growth
    errors = done.load.errors.total()
    worst = max(growth.values())
    shown = ", ".join(f"{name} {share:+.1%} of {done.memory[name][0]:.0f} MB" for name, share in growth.items())
    return {
        "id": "soak",
        "value": 100 * worst,
        "unit": "% memory growth",
        "peer": None,
        "ratio": None,
        "bar": f"<= {100 * GROWTH_BAR:.0f} % and 0 errors",
        "holds": not errors and worst <= GROWTH_BAR,
        "note": f"{done.load.seconds:.0f} s at {done.load.offered:.1f} of {done.capacity:.1f} requests/s, "
        f"{done.load.completed} answered, {errors} errors {dict(done.load.errors) or ''}; p95 "
        f"{done.load.percentile(95):.0f} ms; {shown}",
    }


async def _soak(settings: Settings, neighbourhoods: list[Arrays]) -> Soak:
    async with AsyncExitStack() as open_ones:
        sends = []
        for weight, requests in _requests(settings, neighbourhoods):
            sends.append((weight, await open_ones.enter_async_context(grpc_sender(_grpc(settings), requests))))
        sends += [(2, send) for send in _store_sends(settings)]

        def memory() -> Mapping[str, float]:
            return {name: stack.memory_mb(settings.stack_dir.resolve(), name) for name in stack.SERVICES}

        return await soak(mixed(sends), memory, seconds=SOAK_SECONDS, warm_up=WARM_UP_SECONDS)


def _grpc(settings: Settings) -> Endpoint:
    return Endpoint.from_settings(settings, "grpc")


def _requests(settings: Settings, neighbourhoods: list[Arrays]) -> list[tuple[int, list[bytes]]]:
    """Weights and encoded requests of the three served ensembles and of GraphSAGE."""
    texts = [movie.overview for movie in load_movies(load_settings(), "default").movies if movie.overview][:200]
    photos = [photo.path.read_bytes() for photo in sample_photos() if photo.labels]
    labels = np.array([["war", "love", "crime"]], object)
    with TritonClient.from_settings(settings) as client:
        embedding, zero_shot, image, products = (client.signature(name) for name in MODELS)
    inputs = [
        (4, embedding, [{"TEXT": [[text]]} for text in texts]),
        (1, zero_shot, [_zero_shot(zero_shot, text, labels) for text in texts]),
        (1, image, [{"IMAGE": np.array([[photo]], object)} for photo in photos]),
        (2, products, neighbourhoods),
    ]
    return [(weight, [encode_grpc(model, one) for one in many]) for weight, model, many in inputs]


def _neighbourhoods(x: Tensor, csr: CSRGraph) -> list[Arrays]:
    """Inputs of GraphSAGE: each some products with the neighbourhoods that were sampled for them."""
    rng = np.random.default_rng(0)
    chosen = rng.permutation(csr.num_nodes)[: 50 * PRODUCTS_A_REQUEST].reshape(-1, PRODUCTS_A_REQUEST)
    names = [spec.name for spec in PRODUCTS_MODEL.signature.inputs]
    sampled = (request_inputs(x, csr, some.tolist(), rng) for some in chosen)
    return [dict(zip(names, (tensor.numpy() for tensor in tensors), strict=True)) for tensors in sampled]


def _zero_shot(signature, text: str, labels: np.ndarray) -> dict[str, object]:
    given = {"TEXT": [[text]], "LABELS": labels, "TEMPLATE": [["This film is about {}."]]}
    return {spec.name: given[spec.name] for spec in signature.inputs}


def _store_sends(settings: Settings) -> list[Send]:
    """Writes that replace what is there, and queries over it, so that the data keep their size."""
    database = connect(settings)
    database.create_collection("films").add_index({"type": "persistent", "fields": ["year"]})
    upsert(database, "films", _films(0, FILMS))
    query = "FOR f IN films FILTER f.year == @year SORT f._key LIMIT 20 RETURN f"

    def write(number: int) -> None:
        upsert(database, "films", _films(number * 20, 20))

    def ask(number: int) -> None:
        list(database.aql.execute(query, bind_vars={"year": 1950 + number % 70}))

    return [_in_thread(write), _in_thread(ask)]


def _films(start: int, count: int) -> list[dict]:
    numbers = [number % FILMS for number in range(start, start + count)]
    return [{"_key": f"f{number}", "year": 1950 + number % 70, "text": "word " * 40} for number in numbers]


def _in_thread(action: Callable[[int], None]) -> Send:
    async def send(number: int) -> str:
        await asyncio.to_thread(action, number)
        return ""

    return send
