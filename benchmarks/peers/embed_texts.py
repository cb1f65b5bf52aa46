"""One way of embedding texts in process, timed on request; runs in an environment of its own.

``embed_texts.py VARIANT MODEL_FOLDER TEXTS_JSON THREADS`` prints ``ready``. Each line on its standard input, a batch
size and a number of texts, makes it embed so many of the texts and print the seconds that took. At the end it writes
the vectors of the last round beside the texts, as ``.npy``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

Embed = Callable[[Sequence[str], int], np.ndarray]
"""Texts and a batch size in, one vector a text out."""


def sentence_transformers(folder: str, threads: int, **options: object) -> Embed:
    """``SentenceTransformer.encode``, which sorts by length itself."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    if "dtype" in options:
        options["model_kwargs"] = {"dtype": getattr(torch, str(options.pop("dtype")))}
    if "hint" in options:  # left to itself, OpenVINO computes in bf16 where the processor can
        options["model_kwargs"] = {"ov_config": {"INFERENCE_PRECISION_HINT": options.pop("hint")}}
    model = SentenceTransformer(folder, device="cpu", **options)
    return lambda texts, batch: model.encode(texts, batch_size=batch, show_progress_bar=False)


def process_pool(folder: str, threads: int, **options: object) -> Embed:
    """``encode`` over a pool of processes with one thread each, as many as ``threads``."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    if "dtype" in options:
        options["model_kwargs"] = {"dtype": getattr(torch, str(options.pop("dtype")))}
    model = SentenceTransformer(folder, device="cpu", **options)
    pool = model.start_multi_process_pool(["cpu"] * threads)
    return lambda texts, batch: model.encode(texts, pool=pool, batch_size=batch, chunk_size=4 * batch)


def fastembed(folder: str, threads: int, *, by_length: bool) -> Embed:
    """fastembed on an ONNX file of the same weights, in the order given or sorted by length first."""
    from fastembed import TextEmbedding

    model = TextEmbedding("sentence-transformers/all-MiniLM-L6-v2", specific_model_path=folder, threads=threads)

    def embed(texts: Sequence[str], batch: int) -> np.ndarray:
        order = sorted(range(len(texts)), key=lambda i: len(texts[i])) if by_length else range(len(texts))
        vectors = np.array(list(model.embed([texts[i] for i in order], batch_size=batch)))
        return vectors[np.argsort(order)]

    return embed


VARIANTS: dict[str, Callable[[str, int], Embed]] = {
    "fp32": sentence_transformers,
    "bf16": lambda *arguments: sentence_transformers(*arguments, dtype="bfloat16"),
    "fp32 pool": process_pool,
    "bf16 pool": lambda *arguments: process_pool(*arguments, dtype="bfloat16"),
    "fp32 ONNX": lambda *arguments: sentence_transformers(*arguments, backend="onnx"),
    "fp32 OpenVINO": lambda *arguments: sentence_transformers(*arguments, backend="openvino", hint="f32"),
    "bf16 OpenVINO": lambda *arguments: sentence_transformers(*arguments, backend="openvino", hint="bf16"),
    "fastembed": lambda *arguments: fastembed(*arguments, by_length=False),
    "fastembed sorted": lambda *arguments: fastembed(*arguments, by_length=True),
}


def main() -> None:
    """Serve timings until the standard input ends."""
    variant, folder, texts_file, threads = sys.argv[1:]
    texts = json.loads(Path(texts_file).read_text())
    embed = VARIANTS[variant](folder, int(threads))
    vectors = embed(texts[:64], 32)
    print("ready", flush=True)
    for line in sys.stdin:
        batch, count = map(int, line.split())
        started = time.perf_counter()
        vectors = embed(texts[:count], batch)
        print(time.perf_counter() - started, flush=True)
    np.save(Path(texts_file).with_suffix(".npy"), np.asarray(vectors, dtype=np.float32))


if __name__ == "__main__":
    main()
