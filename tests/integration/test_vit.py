"""The vision transformer in its two served forms, on the real tritonserver: one checkpoint, one answer."""

import numpy as np
import pytest
import torch
import tritonclient.http as triton_http
from pictures import encoded, noise, unusable
from tritonclient.utils import InferenceServerException, triton_to_np_dtype
from waiting import wait_for

from scripts import vit_client
from workshop.data.digits import load_digits
from workshop.errors import InferenceError, TensorShapeError, TensorTypeError
from workshop.triton.client import TritonClient
from workshop.vision.prepare_vit import prepare_vit
from workshop.vision.vit import VitFeatures, load_processor, load_vit, pixel_values, vit_checkpoint
from workshop.vision.vit_signatures import TOLERANCE

WAYS = ["python_vit", "ensemble_vit"]
MODELS = ["vit", "vit_preprocessing", *WAYS]


@pytest.fixture(scope="module")
def served(local_stack):
    prepare_vit(local_stack)
    with TritonClient.from_settings(local_stack) as client:
        for name in MODELS:
            client.load_model(name)
    return local_stack


@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (5, 8, 8), (33, 8, 8), (2, 300, 211), (3, 2, 2), (2, 3, 3), (1, 5, 700), (1, 2, 4000)]
)
def test_both_ways_give_the_answer_of_the_checkpoint(client, served, shape):
    images = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    checkpoint = vit_checkpoint("", served.checkpoint_dir)
    with torch.no_grad():
        pixels = torch.from_numpy(pixel_values(load_processor(checkpoint), images))
        probabilities, hidden = (part.numpy() for part in VitFeatures(load_vit(checkpoint))(pixels))
    for way in WAYS:
        answer = client.infer(way, {"image": images})
        assert np.abs(answer["probabilities"] - probabilities).max() <= TOLERANCE
        assert np.abs(answer["last_hidden_state"] - hidden).max() <= TOLERANCE * max(1, np.abs(hidden).max())


def test_digits_that_were_held_out_are_recognised(client):
    test = load_digits()[1]
    for way in WAYS:
        answer = client.infer(way, {"image": test.images})
        assert (answer["probabilities"].argmax(axis=1) == test.labels).mean() >= 0.975


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("image", "error", "reason"),
    [
        (np.zeros((1, 8, 8, 4), np.uint8), TensorShapeError, r"expected shape \['rows', 'any', 'any', 3\]"),
        (np.zeros((8, 8, 3), np.uint8), TensorShapeError, "add the leading batch axis"),
        (np.zeros((0, 8, 8, 3), np.uint8), TensorShapeError, "at least one row"),
        (np.zeros((1, 8, 8, 3), np.float32), TensorTypeError, "expected UINT8"),
        (np.zeros((1, 0, 8, 3), np.uint8), InferenceError, "expected pictures of at least 2 x 2 pixels"),
        (
            np.zeros((3, 1, 1, 3), np.uint8),
            InferenceError,
            r"\[3, 1, 1, 3\]: expected pictures of at least 2 x 2",
        ),
    ],
)
def test_bad_input_is_a_clear_error_and_the_server_goes_on(client, way, image, error, reason):
    with pytest.raises(error, match=reason):
        client.infer(way, {"image": image})
    assert client.infer(way, {"image": np.zeros((1, 8, 8, 3), np.uint8)})["probabilities"].shape == (1, 10)


@pytest.mark.parametrize(
    ("model", "name", "dtype", "shape"),
    [
        ("python_vit", "image", "UINT8", [1, 8, 8, 4]),
        ("python_vit", "image", "FP32", [1, 8, 8, 3]),
        ("python_vit", "image", "UINT8", [8, 8, 3]),
        ("python_vit", "image", "UINT8", [33, 8, 8, 3]),
        ("python_vit", "image", "UINT8", [0, 8, 8, 3]),
        ("ensemble_vit", "image", "UINT8", [1, 3, 8, 8]),
        ("ensemble_vit", "image", "UINT8", [33, 8, 8, 3]),
        ("ensemble_vit", "image", "UINT8", [0, 8, 8, 3]),
        ("vit_preprocessing", "image", "UINT8", [1, 8, 8, 1]),
        ("vit_preprocessing", "image", "INT8", [1, 8, 8, 3]),
        ("vit_preprocessing", "image", "UINT8", [0, 8, 8, 3]),
        ("vit", "pixel_values", "FP32", [1, 3, 9, 8]),
        ("vit", "pixel_values", "FP32", [1, 8, 8, 3]),
        ("vit", "pixel_values", "FP64", [1, 3, 8, 8]),
        ("vit", "pixel_values", "FP32", [0, 3, 8, 8]),
    ],
)
def test_wrong_shapes_and_types_into_each_step_are_refused_by_the_server_itself(served, model, name, dtype, shape):
    tensor = triton_http.InferInput(name, shape, dtype)
    tensor.set_data_from_numpy(np.zeros(shape, dtype=triton_to_np_dtype(dtype)))
    with triton_http.InferenceServerClient(f"127.0.0.1:{served.triton_http_port}") as raw:
        with pytest.raises(InferenceServerException, match=r"shape|data-type|batch-size|byte size|unexpected"):
            raw.infer(model, [tensor])
        assert raw.is_model_ready(model)


def test_a_wrong_size_into_the_second_step_is_refused(client):
    with pytest.raises(TensorShapeError, match=r"expected shape \['rows', 3, 8, 8\]"):
        client.infer("vit", {"pixel_values": np.zeros((1, 3, 9, 8), np.float32)})


def test_the_server_says_who_spent_the_time(client):
    before = {model: client.server_time(model).seconds["infer"] for model in MODELS}
    client.infer("ensemble_vit", {"image": np.zeros((8, 8, 8, 3), np.uint8)})

    def worked(model: str) -> bool:
        return client.server_time(model).seconds["infer"] > before[model]

    wait_for(lambda: worked("vit") and worked("vit_preprocessing"), "the time of both steps, told after the answer")
    assert not worked("python_vit")


@pytest.mark.parametrize("way", WAYS)
def test_the_command_line_client_names_what_it_cannot_use(served, monkeypatch, capsys, tmp_path, way):
    monkeypatch.setenv("WORKSHOP_TRITON_GRPC_PORT", str(served.triton_grpc_port))
    (tmp_path / "good.png").write_bytes(encoded(noise()))
    files = [tmp_path / "good.png"]
    for name, (data, _) in unusable().items():
        files.append(tmp_path / name)
        files[-1].write_bytes(data)
    assert vit_client.main(["--model_name", way, *map(str, files)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("good.png: class ")
    assert said.err.count("skipped") == len(files) - 1
    assert vit_client.main(["--model_name", way, str(files[-1])]) == 1
    assert vit_client.main(["--model_name", way]) == 0
