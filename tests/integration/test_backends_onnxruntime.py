"""The ONNX Runtime backend inside the real tritonserver."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tiny_models
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException


@pytest.fixture(scope="module")
def address(local_stack):
    return f"127.0.0.1:{local_stack.triton_http_port}"


def ask(address, model, **inputs):
    tensors = []
    for name, (dtype, array) in inputs.items():
        tensors.append(triton.InferInput(name, list(array.shape), dtype))
        tensors[-1].set_data_from_numpy(array)
    with triton.InferenceServerClient(address) as client:
        result = client.infer(model, tensors)
        return {output["name"]: result.as_numpy(output["name"]) for output in result.get_response()["outputs"]}


def test_inputs_go_by_the_names_in_the_graph_and_merge_into_batches(address):
    def add(width):
        a = np.full((2, width), 3.0, np.float32)
        return ask(address, "onnx_add", a=("FP32", a), b=("FP32", a * 2))["sum"]

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(add, [1, 2, 1, 2, 1, 5]))
    assert [answer.tolist() for answer in answers] == [[[9.0] * width] * 2 for width in [1, 2, 1, 2, 1, 5]]


def test_strings_go_through_as_utf8(address):
    texts = np.array(["größer", "", "漢字"], dtype=object)
    answer = ask(address, "onnx_text", **{"in": ("BYTES", texts)})
    assert [text.decode() for text in answer["out"]] == list(texts)


def test_an_empty_string_tensor_goes_through(address):
    answer = ask(address, "onnx_text", **{"in": ("BYTES", np.array([], dtype=object))})
    assert answer["out"].shape == (0,)


def test_models_that_cannot_be_served_say_why_and_leave_the_others_serving(address, model_repository, tmp_path):
    reasons = tiny_models.write_broken_onnx_models(tmp_path / "broken")
    shutil.copytree(tmp_path / "broken", model_repository, dirs_exist_ok=True)
    with triton.InferenceServerClient(address, network_timeout=60) as client:
        for name, reason in reasons.items():
            with pytest.raises(InferenceServerException, match=reason):
                client.load_model(name)
            assert not client.is_model_ready(name)
            shutil.rmtree(model_repository / name)
    ones = np.ones((1, 1), np.float32)
    assert ask(address, "onnx_add", a=("FP32", ones), b=("FP32", ones))["sum"].tolist() == [[2.0]]
