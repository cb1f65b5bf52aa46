"""Merging requests into forward passes, and reading the parameters of a model configuration."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from workshop.stack.backends import batching
from workshop.stack.backends.batching import OutputShapeError, Parameters, default_threads, run_batched

requests_of_two_inputs = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 3)).flatmap(
        lambda shape: st.tuples(
            hnp.arrays(np.float32, shape, elements=st.floats(-9, 9, width=32)),
            hnp.arrays(np.int64, (shape[0],), elements=st.integers(-9, 9)),
        ).map(list)
    ),
    max_size=8,
)


def row_sums(inputs):
    values, offsets = inputs
    return [values.sum(axis=1) + offsets, values * 2]


@given(requests_of_two_inputs)
def test_merged_answers_equal_the_answers_one_by_one(requests):
    answers = run_batched(requests, row_sums, np.concatenate, batching=True)
    assert len(answers) == len(requests)
    for inputs, answer in zip(requests, answers, strict=True):
        for got, expected in zip(answer, row_sums(inputs), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5)
            assert got.shape == expected.shape


@given(requests_of_two_inputs)
def test_there_is_one_pass_per_distinct_row_shape(requests):
    passes = []

    def forward(inputs):
        passes.append(inputs[0].shape)
        return row_sums(inputs)

    run_batched(requests, forward, np.concatenate, batching=True)
    assert len(passes) == len({values.shape[1:] for values, _ in requests})
    assert sum(shape[0] for shape in passes) == sum(len(values) for values, _ in requests)


def test_without_a_batch_axis_each_request_runs_alone():
    passes = []

    def forward(inputs):
        passes.append(len(inputs[0]))
        return [inputs[0].sum(keepdims=True)]

    answers = run_batched([[np.ones(3)], [np.ones(3)]], forward, np.concatenate, batching=False)
    assert passes == [3, 3]
    assert [answer[0].tolist() for answer in answers] == [[3.0], [3.0]]


def test_other_dtypes_are_not_merged():
    dtypes = []

    def forward(inputs):
        dtypes.append(inputs[0].dtype)
        return inputs

    run_batched([[np.ones((1, 2), "f4")], [np.ones((1, 2), "f8")]], forward, np.concatenate, batching=True)
    assert sorted(map(str, dtypes)) == ["float32", "float64"]


def test_one_bad_request_does_not_fail_its_batch_mates():
    table = np.arange(10.0)

    def look_up(inputs):
        return [table[inputs[0]]]

    requests = [[np.array([[1]])], [np.array([[99]])], [np.array([[3], [4]])]]
    first, bad, last = run_batched(requests, look_up, np.concatenate, batching=True)
    assert first[0].tolist() == [[1.0]]
    assert isinstance(bad, IndexError)
    assert "99" in str(bad)
    assert last[0].tolist() == [[3.0], [4.0]]


@pytest.mark.parametrize("count", [1, 2])
def test_an_output_without_the_batch_axis_is_an_error_and_no_wrong_answer(count):
    requests = [[np.ones((2, 3))] for _ in range(count)]
    answers = run_batched(requests, lambda inputs: [inputs[0].sum(axis=0)], np.concatenate, batching=True)
    for answer in answers:
        assert isinstance(answer, OutputShapeError)
        assert "output 0 has shape [3], but the batch has 2 rows" in str(answer)


def test_lists_of_strings_are_never_merged():
    requests = [[["a", "b"]], [["c", "d"]]]
    answers = run_batched(requests, lambda inputs: [[text.upper() for text in inputs[0]]], pytest.fail, batching=True)
    assert answers == [[["A", "B"]], [["C", "D"]]]


def config(**parameters):
    return {"parameters": {key: {"string_value": value} for key, value in parameters.items()}}


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("1", True), ("On", True), ("FALSE", False), ("off", False), ("0", False)]
)
def test_flags_are_spelt_as_for_the_native_backends(text, value):
    assert Parameters(config(INFERENCE_MODE=text)).flag("INFERENCE_MODE", not value) is value


@pytest.mark.parametrize("text", ["yes", "no", " true", "off ", "", "t", "2"])
def test_other_spellings_of_flags_are_refused_as_there(text):
    with pytest.raises(ValueError, match=f"parameter INFERENCE_MODE must be true, on or 1, .* got '{text}'"):
        Parameters(config(INFERENCE_MODE=text)).flag("INFERENCE_MODE", True)


def test_a_key_in_another_case_is_not_read():
    parameters = Parameters(config(inference_mode="false", intra_op_thread_count="3", disable_cudnn="true"))
    assert parameters.flag("INFERENCE_MODE", True) is True
    assert parameters.count("INTRA_OP_THREAD_COUNT", 7) == 7
    assert parameters.present(["DISABLE_CUDNN"]) == []


def test_absent_parameters_give_the_default_and_wrong_ones_are_named():
    assert Parameters({}).flag("INFERENCE_MODE", True) is True
    assert Parameters({}).count("INTRA_OP_THREAD_COUNT", 7) == 7
    assert Parameters(config(INTRA_OP_THREAD_COUNT="0")).count("INTRA_OP_THREAD_COUNT", 7) == 7
    assert Parameters(config(INTRA_OP_THREAD_COUNT="3")).count("INTRA_OP_THREAD_COUNT", 7) == 3
    with pytest.raises(ValueError, match="parameter INTRA_OP_THREAD_COUNT must be a whole number, got 'two'"):
        Parameters(config(INTRA_OP_THREAD_COUNT="two")).count("INTRA_OP_THREAD_COUNT", 1)


def test_only_the_parameters_that_are_set_are_present():
    assert Parameters(config(ENABLE_NVFUSER="true")).present(["ENABLE_NVFUSER", "DISABLE_CUDNN"]) == ["ENABLE_NVFUSER"]


@pytest.mark.parametrize(
    ("groups", "threads"), [([], 8), ([{"count": 1}], 8), ([{"count": 2}], 4), ([{"count": 2}, {"count": 1}], 2)]
)
def test_the_instances_of_a_model_share_the_processor(monkeypatch, groups, threads):
    monkeypatch.setattr(batching, "cpu_count", lambda: 8)
    assert default_threads({"instance_group": groups}) == threads


def test_more_instances_than_processors_leave_one_thread_each(monkeypatch):
    monkeypatch.setattr(batching, "cpu_count", lambda: 2)
    assert default_threads({"instance_group": [{"count": 5}]}) == 1


def test_the_cpu_count_never_exceeds_the_affinity():
    assert 1 <= batching.cpu_count() <= len(os.sched_getaffinity(0))
