"""The image classifier on photos, JPEG bytes against tensors, the vision transformer served two ways, and in int8."""

from __future__ import annotations

import io
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from onnxruntime import InferenceSession

from workshop import stack
from workshop.data.digits import load_digits
from workshop.data.images import sample_photos
from workshop.export.onnx import load_onnx, quantise
from workshop.settings import Settings, load_settings
from workshop.stack.private import private_settings
from workshop.triton.client import TritonClient
from workshop.vision.classification import classifier_form
from workshop.vision.prepare import prepare_image_classifier
from workshop.vision.prepare_vit import prepare_vit
from workshop.vision.preprocessing import decode
from workshop.vision.vit import load_processor, pixel_values, vit_checkpoint

ROUNDS, BATCH, REQUESTS = 5, 8, 12
DIGIT_REQUESTS, DIGIT_BATCHES = 150, (1, 8, 32)  # a digit takes a hundredth of a photo's time
PYTHON_MODELS = ("image_decoder", "python_vit", "vit_preprocessing")
IMAGE_MODELS = ("image_classifier", "image_decoder", "image_classification")
VIT_MODELS = ("python_vit", "vit_preprocessing", "vit", "ensemble_vit")


def measure(ids: set[str]) -> Iterator[dict]:
    """Yield the results of the benchmarks asked for."""
    if "vit_int8" in ids:
        yield vit_int8()
    if not ids - {"vit_int8"}:
        return
    with served() as client:
        if "vit_two_ways" in ids:
            yield vit_two_ways(client)
        if "image_top1" in ids:
            yield image_top1(client)
        if "image_jpeg" in ids:
            yield image_jpeg(client)


@contextmanager
def served() -> Iterator[TritonClient]:
    """A stack of its own that serves the image models."""
    with tempfile.TemporaryDirectory() as directory:
        source: Settings = load_settings()
        settings = private_settings(Path(directory) / "stack", model_repository=Path(directory) / "repository")
        for name in PYTHON_MODELS:
            code = settings.model_repository / name / "1" / "model.py"
            code.parent.mkdir(parents=True)
            shutil.copy(source.model_repository / name / "1" / "model.py", code)
        prepare_image_classifier(settings)
        prepare_vit(settings)
        models = (*IMAGE_MODELS, *VIT_MODELS)
        with stack.running(settings, ["triton"], models=models), TritonClient.from_settings(settings) as client:
            yield client


def rate(client: TritonClient, model: str, inputs: dict[str, np.ndarray], requests: int = REQUESTS) -> float:
    """Pictures a second over some equal requests."""
    pictures = requests * len(next(iter(inputs.values())))
    started = time.perf_counter()
    for _ in client.infer_many(model, (inputs for _ in range(requests))):
        pass
    return pictures / (time.perf_counter() - started)


def compared(ours: Callable[[], float], theirs: Callable[[], float]) -> tuple[float, float, float]:
    """Median rates of both, and the median of their ratios, measured in turn so that noise meets both."""
    ours(), theirs()
    pairs = [(ours(), theirs()) for _ in range(ROUNDS)]
    ratio = statistics.median(mine / other for mine, other in pairs)
    return statistics.median(mine for mine, _ in pairs), statistics.median(other for _, other in pairs), ratio


def vit_two_ways(client: TritonClient) -> dict:
    """Throughput of the ensemble against the single Python model; the bar is for a batch of 8."""
    images = load_digits()[1].images
    found = {
        batch: compared(
            *(
                lambda model=model, batch=batch: rate(client, model, {"image": images[:batch]}, DIGIT_REQUESTS)
                for model in ("ensemble_vit", "python_vit")
            )
        )
        for batch in DIGIT_BATCHES
    }
    ensemble, python, ratio = found[BATCH]
    others = ", ".join(f"batch {batch}: ratio {found[batch][2]:.2f}" for batch in DIGIT_BATCHES if batch != BATCH)
    return {
        "id": "vit_two_ways",
        "value": ensemble,
        "unit": "pictures/s",
        "peer": "the same checkpoint in one Python-backend model",
        "ratio": ratio,
        "bar": "ratio >= 1.0",
        "holds": ratio >= 1.0,
        "note": f"python_vit {python:.0f} pictures/s at batch {BATCH}; {others}",
    }


def vit_int8() -> dict:
    """Speed, size and accuracy of the transformer's int8 variant against float32, both in ONNX Runtime, batch 32."""
    with tempfile.TemporaryDirectory() as directory:
        settings = load_settings(model_repository=Path(directory))
        prepare_vit(settings)
        whole, small = settings.model_repository / "vit/1/model.onnx", Path(directory) / "int8.onnx"
        quantise(whole, small)
        sessions = [load_onnx(file) for file in (small, whole)]
        sizes = small.stat().st_size / whole.stat().st_size
    digits = load_digits()[1]
    pixels = pixel_values(load_processor(vit_checkpoint("", settings.checkpoint_dir)), digits.images)

    def speed(session: InferenceSession) -> float:
        started = time.perf_counter()
        for _ in range(DIGIT_REQUESTS):
            session.run(["probabilities"], {"pixel_values": pixels[:32]})
        return 32 * DIGIT_REQUESTS / (time.perf_counter() - started)

    ours, theirs, ratio = compared(lambda: speed(sessions[0]), lambda: speed(sessions[1]))
    right = [
        float((session.run(["probabilities"], {"pixel_values": pixels})[0].argmax(axis=1) == digits.labels).mean())
        for session in sessions
    ]
    return {
        "id": "vit_int8",
        "value": ours,
        "unit": "pictures/s",
        "peer": "the same graph in float32",
        "ratio": ratio,
        "bar": "accuracy within 0.01",
        "holds": abs(right[0] - right[1]) <= 0.01,
        "note": (
            f"float32 {theirs:.0f} pictures/s; {sizes:.0%} of its bytes; accuracy {right[0]:.4f} against {right[1]:.4f}"
        ),
    }


def image_top1(client: TritonClient) -> dict:
    """Share of the labelled photos whose first class is right."""
    form = classifier_form(client.signature("image_classifier"))
    photos = [photo for photo in sample_photos() if photo.labels]
    tensors = [form.tensor(decode(photo.path.read_bytes())) for photo in photos]
    answers = form.classes(client.infer("image_classifier", form.inputs(tensors), classes=1))
    wrong = [
        f"{photo.name}: {classes[0].label}"
        for photo, classes in zip(photos, answers, strict=True)
        if classes[0].label not in photo.labels
    ]
    top1 = 1 - len(wrong) / len(photos)
    return {
        "id": "image_top1",
        "value": top1,
        "unit": "",
        "peer": None,
        "ratio": None,
        "bar": ">= 0.7",
        "holds": top1 >= 0.7,
        "note": f"{len(photos)} photos; wrong: {'; '.join(wrong)}",
    }


def image_jpeg(client: TritonClient) -> dict:
    """Images a second of the ensemble that takes JPEG bytes against tensors that lie ready, and its share of bytes."""
    form = classifier_form(client.signature("image_classifier"))
    jpegs = []
    for photo in sample_photos()[:BATCH]:
        picture, buffer = decode(photo.path.read_bytes()), io.BytesIO()
        picture.thumbnail((512, 512))
        picture.save(buffer, "JPEG", quality=85)
        jpegs.append(buffer.getvalue())
    tensors = form.inputs([form.tensor(decode(jpeg)) for jpeg in jpegs])
    encoded = {"IMAGE": np.array([[jpeg] for jpeg in jpegs], dtype=object)}
    ours, raw, ratio = compared(
        lambda: rate(client, "image_classification", encoded),
        lambda: rate(client, "image_classifier", tensors),
    )
    share = sum(map(len, jpegs)) / sum(array.nbytes for array in tensors.values())
    return {
        "id": "image_jpeg",
        "value": ours,
        "unit": "images/s",
        "peer": "float32 tensors that lie ready, batch 8",
        "ratio": ratio,
        "bar": "ratio >= 0.8, bytes <= 10 %",
        "holds": ratio >= 0.8 and share <= 0.1,
        "note": f"tensors {raw:.1f} images/s; {share:.1%} of their bytes",
    }
