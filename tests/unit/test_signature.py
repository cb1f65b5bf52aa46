"""Signatures: the committed configurations are what they generate, and naming and batching rules hold."""

import pytest
from tritonclient.grpc import model_config_pb2 as pb

from workshop.catalogue import SIGNATURES
from workshop.errors import RepositoryError
from workshop.settings import PROJECT_ROOT
from workshop.triton.signature import EnsembleStep, ModelSignature, TensorSpec, parse_config, write_config

INPUT = TensorSpec("x__0", "INT64", (-1,))
OUTPUT = TensorSpec("y__0", "FP32", (384,))


@pytest.mark.parametrize("signature", SIGNATURES, ids=lambda signature: signature.name)
def test_committed_configuration_is_what_the_signature_generates(signature):
    committed = PROJECT_ROOT / "model_repository" / signature.name / "config.pbtxt"
    assert committed.read_text() == signature.config_text()


@pytest.mark.parametrize("signature", SIGNATURES, ids=lambda signature: signature.name)
def test_configuration_survives_the_round_trip_through_text(signature):
    assert parse_config(signature.config_text()) == signature.to_config()


def test_no_configuration_names_a_device_but_that_of_a_package_compiled_for_one():
    for signature in SIGNATURES:
        kinds = {group.kind for group in signature.to_config().instance_group}
        compiled = signature.platform == "torch_aoti"
        allowed = pb.ModelInstanceGroup.KIND_CPU if compiled else pb.ModelInstanceGroup.KIND_AUTO
        assert kinds <= {allowed}, signature.name


def test_ensembles_only_chain_models_of_the_catalogue():
    names = {signature.name for signature in SIGNATURES}
    steps = [step for signature in SIGNATURES for step in signature.steps]
    assert steps
    assert {step.model for step in steps} <= names


def test_batch_limit_of_zero_is_written_out():
    text = ModelSignature("m", (INPUT,), (OUTPUT,), platform="pytorch_libtorch").config_text()
    assert text.startswith("max_batch_size: 0\n")


def test_every_part_reaches_the_configuration():
    config = ModelSignature(
        "m",
        (INPUT, TensorSpec("t__1", "BYTES", (1,), optional=True)),
        (OUTPUT,),
        platform="pytorch_libtorch",
        max_batch_size=8,
        queue_delay_us=100,
        instances=2,
        parameters={"key": "value"},
        response_cache=True,
    ).to_config()
    assert [i.optional for i in config.input] == [False, True]
    assert config.input[1].data_type == pb.TYPE_STRING
    assert config.dynamic_batching.max_queue_delay_microseconds == 100
    assert config.instance_group[0].count == 2
    assert config.parameters["key"].string_value == "value"
    assert config.response_cache.enable


def test_ensemble_maps_its_tensors():
    step = EnsembleStep("inner", {"a": "TEXT"}, {"b": "OUT"})
    config = ModelSignature("m", (INPUT,), (OUTPUT,), platform="ensemble", steps=(step,)).to_config()
    assert config.ensemble_scheduling.step[0].input_map == {"a": "TEXT"}


def test_libtorch_names_are_enforced():
    with pytest.raises(RepositoryError, match=r"'x' does not follow LibTorch's <name>__<index>"):
        ModelSignature("m", (TensorSpec("x", "FP32", (1,)),), (OUTPUT,), platform="pytorch_libtorch")


def test_broken_configuration_names_the_place():
    with pytest.raises(RepositoryError, match=r"here/config\.pbtxt is not .*2:"):
        parse_config('name: "a"\nplatfrom: "b"', "here/config.pbtxt")


@pytest.mark.parametrize("number", [2**31, -(2**63) - 1, 10**25])
@pytest.mark.parametrize("text", ["input {{ data_type: {} }}", "instance_group {{ kind: {} }}", "max_batch_size: {}"])
def test_a_number_that_is_too_large_is_named(text, number):
    with pytest.raises(RepositoryError, match=f"is not a Triton model configuration: .*{number}"):
        parse_config(text.format(number))


def test_writing_twice_leaves_the_file_alone(tmp_path):
    signature = ModelSignature("m", (INPUT,), (OUTPUT,), platform="pytorch_libtorch")
    path = write_config(signature, tmp_path)
    before = path.stat().st_mtime_ns
    assert write_config(signature, tmp_path).stat().st_mtime_ns == before
    assert [p.name for p in path.parent.iterdir()] == ["config.pbtxt"]


def test_dtypes_map_to_numpy():
    assert INPUT.numpy_dtype == "int64"
    assert TensorSpec("t", "BYTES", (1,)).numpy_dtype.kind == "O"
