"""The archive for a SageMaker endpoint, and what the way through boto3 and the SageMaker front end costs locally."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tritonclient.http as triton_http

from workshop import stack
from workshop.sagemaker.archive import Archive, pack, unpack
from workshop.sagemaker.front_end import FrontEnd
from workshop.sagemaker.payload import decode, encode
from workshop.sagemaker.relay import local_runtime
from workshop.sagemaker.runtime import invoke, local_client
from workshop.settings import load_settings
from workshop.stack.private import free_ports, private_settings
from workshop.text.endpoint.prepare import prepare_endpoint
from workshop.text.endpoint.signatures import INPUT, OUTPUT

SIZE_BAR, RATIO_BAR, ROUNDS, WARM_UP = 120.0, 1.3, 300, 30
TEXT = np.array([["a storm keeps two rivals on an island where an old map leads to a ship"]], dtype=object)


def measure(ids: set[str]) -> Iterator[dict]:
    """Yield the results of the benchmarks asked for."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        prepare_endpoint(load_settings(), folder / "repository")
        archive = pack(folder / "repository", folder / "model.tar.gz")
        if "archive_size" in ids:
            yield archive_size(archive)
        if "sagemaker_invoke" in ids:
            yield sagemaker_invoke(archive, folder)


def archive_size(archive: Archive) -> dict:
    """Megabytes (10**6 bytes) of ``model.tar.gz``."""
    return {
        "id": "archive_size",
        "value": archive.megabytes,
        "unit": "MB",
        "peer": None,
        "ratio": None,
        "bar": f"<= {SIZE_BAR:g} MB",
        "holds": archive.megabytes <= SIZE_BAR,
        "note": f"{', '.join(archive.models)}: weights as ONNX float32, tokenizer, code and the package that runs it",
    }


def sagemaker_invoke(archive: Archive, folder: Path) -> dict:
    """Median time of a text through boto3, relay and SageMaker front end, and through Triton's HTTP, in turns."""
    settings = private_settings(
        folder / "stack", model_repository=unpack(archive.path, folder / "model"), sagemaker_port=free_ports(1)[0]
    )
    front_end = FrontEnd("127.0.0.1", settings.sagemaker_port)
    with (
        stack.running(settings, ["triton"], models=[archive.model]),
        local_runtime({"films": front_end}) as url,
        triton_http.InferenceServerClient(f"127.0.0.1:{settings.triton_http_port}") as plain,
    ):
        client = local_client(url)
        ways: dict[str, Callable[[], np.ndarray]] = {
            "boto3": lambda: decode(invoke(client, "films", encode({INPUT: TEXT}, [OUTPUT], binary=True)))[OUTPUT],
            "front end": lambda: decode(front_end.invoke(encode({INPUT: TEXT}, [OUTPUT], binary=True)))[OUTPUT],
            "HTTP": lambda: plain_answer(plain, archive.model),
        }
        difference = float(np.abs(ways["boto3"]() - ways["HTTP"]()).max())
        medians = {way: 1000 * seconds for way, seconds in in_turns(ways).items()}
    ratio = medians["boto3"] / medians["HTTP"]
    return {
        "id": "sagemaker_invoke",
        "value": medians["boto3"],
        "unit": "ms",
        "peer": f"Triton's HTTP front end: {medians['HTTP']:.2f} ms",
        "ratio": ratio,
        "bar": f"ratio <= {RATIO_BAR}",
        "holds": ratio <= RATIO_BAR and difference <= 1e-6,
        "note": f"p50 of {ROUNDS} texts one by one, binary both ways; the front end alone "
        f"{medians['front end']:.2f} ms; answers differ by {difference:.0e}",
    }


def plain_answer(client: triton_http.InferenceServerClient, model: str) -> np.ndarray:
    """The vector through ``POST /v2/models/NAME/infer``."""
    text = triton_http.InferInput(INPUT, list(TEXT.shape), "BYTES")
    text.set_data_from_numpy(TEXT)
    return client.infer(model, [text], outputs=[triton_http.InferRequestedOutput(OUTPUT)]).as_numpy(OUTPUT)


def in_turns(ways: dict[str, Callable[[], np.ndarray]]) -> dict[str, float]:
    """Median seconds of each way; they take turns, so that a busy moment meets all of them."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(WARM_UP + ROUNDS):
        for way, ask in ways.items():
            started = time.perf_counter()
            ask()
            if turn >= WARM_UP:
                seconds[way].append(time.perf_counter() - started)
    return {way: statistics.median(measured) for way, measured in seconds.items()}
