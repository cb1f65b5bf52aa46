"""The TorchScript backend inside the real tritonserver."""

import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tiny_models
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from workshop.stack import log_path


@pytest.fixture(scope="module")
def client(local_stack):
    with triton.InferenceServerClient(f"127.0.0.1:{local_stack.triton_grpc_port}") as client:
        yield client


def ask(client, model, outputs=None, **inputs):
    """Send arrays by tensor name; returns a dict of the outputs."""
    tensors = []
    for name, (dtype, array) in inputs.items():
        tensors.append(triton.InferInput(name, list(array.shape), dtype))
        tensors[-1].set_data_from_numpy(array)
    wanted = None if outputs is None else [triton.InferRequestedOutput(name) for name in outputs]
    result = client.infer(model, tensors, outputs=wanted, client_timeout=60)
    return {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}


def fp32(*values):
    return "FP32", np.array(values, np.float32)


def test_names_with_an_index_place_the_tensors_whatever_their_order_in_the_configuration(client):
    a, b = fp32([5.0, 7.0], [1.0, 1.0]), fp32([1.0, 2.0], [4.0, 0.5])
    answer = ask(client, "add_subtract", b__1=b, a__0=a)
    np.testing.assert_array_equal(answer["sum__0"], a[1] + b[1])
    np.testing.assert_array_equal(answer["difference__1"], a[1] - b[1])
    assert answer["rows__2"].shape == (2, 1)


def test_only_the_outputs_asked_for_are_sent(client):
    answer = ask(client, "add_subtract", ["difference__1"], a__0=fp32([1.0]), b__1=fp32([3.0]))
    assert {name: value.tolist() for name, value in answer.items()} == {"difference__1": [[-2.0]]}


def test_names_of_the_forward_arguments_place_the_tensors(client):
    answer = ask(client, "divide", divisor=fp32(2.0, 4.0), dividend=fp32(1.0, 1.0))
    np.testing.assert_array_equal(answer["quotient"], [0.5, 0.25])


def test_a_repeated_request_is_answered_from_the_response_cache(client):
    def hits():
        return client.get_inference_statistics("divide").model_stats[0].inference_stats.cache_hit.count

    before = hits()
    sent = {"divisor": fp32(8.0), "dividend": fp32(2.0)}
    answers = [ask(client, "divide", **sent)["quotient"].tolist() for _ in range(3)]
    assert answers == [[0.25]] * 3
    assert hits() >= before + 2


def test_requests_in_flight_together_share_one_forward_pass(client):
    def rows_seen(value):
        answer = ask(client, "add_subtract", a__0=fp32([value] * 3), b__1=fp32([1.0] * 3))
        return answer["rows__2"].item(), answer["sum__0"].tolist()

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(rows_seen, range(8)))
    assert max(rows for rows, _ in results) > 1
    assert [total for _, total in results] == [[[value + 1.0] * 3] for value in range(8)]


def test_requests_of_unequal_length_in_flight_together_are_answered_each_in_its_own_shape(client):
    def add(width):
        ones = fp32([1.0] * width)
        return ask(client, "add_subtract", a__0=ones, b__1=ones)["sum__0"]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(add, [1, 2, 3, 1, 2, 3, 1, 2]))
    assert [answer.tolist() for answer in answers] == [[[2.0] * width] for width in [1, 2, 3, 1, 2, 3, 1, 2]]


def test_a_bad_request_fails_alone_among_its_batch_mates(client):
    def look_up(identifier):
        try:
            return ask(client, "look_up", ids__0=("INT64", np.array([[identifier]])))["v__0"].shape
        except InferenceServerException as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(look_up, [0, 1, 2, 99, 4, 5, 6, 7]))
    assert answers.pop(3) == "[StatusCode.INTERNAL] model 'look_up': RuntimeError: index out of range in self"
    assert answers == [(1, 1, 3)] * 7


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_every_numeric_dtype_goes_through_unchanged_also_when_empty(client, rows):
    sent = {}
    for index, dtype in enumerate(tiny_models.NUMERIC):
        values = np.arange(rows * 2).reshape(rows, 2) - (index % 2 if "U" not in dtype else 0)
        sent[f"in__{index}"] = (dtype, values.astype(triton_to_np_dtype(dtype)))
    answer = ask(client, "echo_all", **sent)
    for index in range(len(sent)):
        got, expected = answer[f"out__{index}"], sent[f"in__{index}"][1]
        assert got.dtype == expected.dtype
        assert got.shape == (rows, 2)
        np.testing.assert_array_equal(got, expected)


def test_strings_reach_the_model_and_come_back_as_utf8(client):
    texts = np.array(["größer", "", "Ωmega 漢字"], dtype=object)
    answer = ask(client, "shout", texts__0=("BYTES", texts))
    assert [text.decode() for text in answer["loud__0"]] == ["größer!", "!", "Ωmega 漢字!"]


def test_bytes_that_are_not_utf8_are_an_error_of_the_request(client):
    with pytest.raises(InferenceServerException, match="model 'shout': UnicodeDecodeError: 'utf-8' codec"):
        ask(client, "shout", texts__0=("BYTES", np.array([b"\xff\xfe"], dtype=object)))


def test_an_output_that_lost_the_batch_axis_is_an_error(client):
    with pytest.raises(InferenceServerException, match=r"output 0 has shape \[3\], but the batch has 2 rows"):
        ask(client, "mean", values__0=("FP32", np.ones((2, 3), np.float32)))


def test_an_output_the_model_does_not_return_is_an_error(client):
    with pytest.raises(InferenceServerException, match="output 'third__5' asks for result 5, but the model returns 3"):
        ask(client, "wrong_count", a__0=fp32(1.0), b__1=fp32(1.0))


def test_an_output_of_another_dtype_than_configured_is_an_error(client):
    with pytest.raises(InferenceServerException, match=r"output 'mean__0' is TYPE_INT64, .* returned torch\.float32"):
        ask(client, "wrong_dtype", values__0=fp32([1.0, 2.0]))


def test_a_list_of_tensors_is_refused_as_by_the_native_backend(client):
    with pytest.raises(InferenceServerException, match="result 0 of forward is a list of Tensor: Triton takes a Tens"):
        ask(client, "returns_list", values__0=fp32(1.0, 2.0))


def test_a_dictionary_of_tensors_is_filled_by_name(client):
    answer = ask(client, "takes_dict", left=fp32(5.0), right=fp32(2.0))
    assert answer["difference__0"].tolist() == [3.0]


def test_the_parameters_of_the_native_backend_are_honoured(client, local_stack):
    answer = ask(client, "tuned", values__0=fp32(1.0, 2.0))
    assert answer["values__0"].tolist() == [2.0, 3.0]
    assert answer["flags__1"].tolist() == [False, False], "gradients are off, and so is inference mode"
    log = log_path(local_stack, "triton").read_text()
    assert log.count("model 'tuned': other.pt on cpu, 1 threads, optimised execution off") == 2
    assert "model 'tuned': no effect in the local backend: ENABLE_NVFUSER" in log
    instances = client.get_model_config("tuned", as_json=True)["config"]["instance_group"]
    assert [group["count"] for group in instances] == [2]


def test_an_ensemble_joins_both_backends(client):
    answer = ask(client, "add_twice", a=fp32([1.0, 2.0]), b=fp32([10.0, 20.0]))
    assert answer["total"].tolist() == [[21.0, 42.0]]


def test_models_that_cannot_be_served_say_why_and_leave_the_others_serving(client, model_repository, tmp_path):
    reasons = tiny_models.write_broken_torch_models(tmp_path / "broken")
    shutil.copytree(tmp_path / "broken", model_repository, dirs_exist_ok=True)

    def refusal(name):
        with pytest.raises(InferenceServerException) as refused:
            client.load_model(name)
        return str(refused.value)

    with ThreadPoolExecutor(len(reasons)) as pool:
        refusals = dict(zip(reasons, pool.map(refusal, reasons), strict=True))
    for name, reason in reasons.items():
        assert re.search(reason, refusals[name]), refusals[name]
        assert not client.is_model_ready(name)
        shutil.rmtree(model_repository / name)
    assert ask(client, "divide", divisor=fp32(2.0), dividend=fp32(1.0))["quotient"].tolist() == [0.5]
