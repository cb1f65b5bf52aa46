"""The packed sentence model behind Triton's own SageMaker front end, asked as SageMaker asks it, and with boto3."""

import json

import numpy as np
import pytest

from scripts import sagemaker as command
from workshop import stack
from workshop.errors import InvocationError
from workshop.export.gates import row_cosines
from workshop.sagemaker.archive import pack, unpack
from workshop.sagemaker.front_end import FrontEnd
from workshop.sagemaker.payload import JSON_TYPE, Payload, decode, encode
from workshop.sagemaker.relay import local_runtime
from workshop.sagemaker.runtime import ask, invoke, local_client
from workshop.settings import load_settings
from workshop.stack.private import free_ports, private_settings
from workshop.text.endpoint.prepare import prepare_endpoint
from workshop.text.endpoint.signatures import BATCH_LIMIT, INPUT, OUTPUT
from workshop.text.prepare import sentence_inputs, sentence_source
from workshop.text.sentence_bert import load_sentence_bert
from workshop.triton.signature import ModelSignature, TensorSpec, write_config

TEXTS = ["a heist that goes wrong in winter", "two friends", "", "ein Film über Züge", "word " * 400]
DOUBLE = """
import triton_python_backend_utils as pb_utils
class TritonPythonModel:
    def execute(self, requests):
        answers = [2 * pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", answer)]) for answer in answers]
"""


def column(texts):
    return np.array([[text] for text in texts], dtype=object)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The archive as ``pack`` makes it, from nothing."""
    folder = tmp_path_factory.mktemp("archive")
    prepare_endpoint(load_settings(), folder / "repository")
    return pack(folder / "repository", folder / "model.tar.gz")


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    """A second archive: one small model."""
    folder = tmp_path_factory.mktemp("second")
    x, y = (TensorSpec(name, "FP32", (2,)) for name in "xy")
    write_config(ModelSignature("double", (x,), (y,), backend="python", max_batch_size=4), folder / "repository")
    (folder / "repository" / "double" / "1").mkdir()
    (folder / "repository" / "double" / "1" / "model.py").write_text(DOUBLE)
    return pack(folder / "repository", folder / "double.tar.gz")


@pytest.fixture(scope="module")
def expected():
    """Vectors of the sentence model in PyTorch."""
    source = sentence_source(load_settings())
    ids, mask = sentence_inputs(source.tokenizer(), TEXTS)
    return load_sentence_bert(source, "fp32")(ids, mask).detach().numpy()


def front_end(tmp_path_factory, repository, models):
    """A server of its own with its front end for SageMaker; yields the front end."""
    settings = private_settings(
        tmp_path_factory.mktemp("stack"), model_repository=repository, sagemaker_port=free_ports(1)[0]
    )
    with stack.running(settings, ["triton"], models=models) as (status,):
        assert status.healthy, status.models
        yield FrontEnd("127.0.0.1", settings.sagemaker_port)


@pytest.fixture(scope="module")
def single(archive, tmp_path_factory):
    """Triton as on a single-model endpoint: the unpacked archive is its repository, the ensemble its model."""
    folder = unpack(archive.path, tmp_path_factory.mktemp("opt") / "model")
    yield from front_end(tmp_path_factory, folder, [archive.model])


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """Triton as on a multi-model endpoint: it starts with nothing, and gets its models while it runs."""
    yield from front_end(tmp_path_factory, tmp_path_factory.mktemp("empty"), [])


def test_the_archive_is_small_enough_and_holds_the_ensemble(archive):
    assert archive.megabytes <= 120
    assert (archive.model, archive.models) == ("ensemble", ("core", "ensemble", "postprocess", "preprocess"))


@pytest.mark.parametrize("binary", [True, False])
def test_the_unpacked_archive_answers_as_the_model_in_pytorch(single, expected, binary):
    single.wait()
    payload = encode({INPUT: column(TEXTS)}, [OUTPUT], binary=binary)
    answer = single.invoke(payload)
    assert answer.content_type.startswith("application/vnd.sagemaker-triton.binary+json" if binary else JSON_TYPE)
    vectors = decode(answer)[OUTPUT]
    assert (vectors.dtype, vectors.shape) == (np.float32, (len(TEXTS), 384))
    assert row_cosines(expected, vectors).min() >= 0.99999
    assert np.abs(vectors - expected).max() <= 1e-4


def test_boto3_reaches_the_model(single, expected, capsys):
    with local_runtime({"films": single}) as url:
        vectors = ask(local_client(url), "films", {INPUT: column(TEXTS)}, [OUTPUT])[OUTPUT]
        given = ["invoke", "films", "--endpoint-url", url]
        assert command.main([*given, "--json", *["two friends"] * (BATCH_LIMIT + 1)]) == 0
    assert np.abs(vectors - expected).max() <= 1e-4
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(printed) == BATCH_LIMIT + 1
    assert np.abs(np.array(printed[-1]["vector"]) - expected[1]).max() <= 1e-4


def test_the_command_sends_a_file_as_it_is_and_names_a_wrong_content_type(single, tmp_path, capsys):
    body = tmp_path / "body.json"
    body.write_bytes(encode({INPUT: column(["two friends"])}, [OUTPUT], binary=False).body)
    with local_runtime({"films": single}) as url:
        given = ["invoke", "films", "--endpoint-url", url, "--body", str(body)]
        assert command.main(given) == 0
        assert len(json.loads(capsys.readouterr().out)[OUTPUT][0]) == 384
        assert command.main([*given, "--content-type", "text/csv"]) == 1
    assert "PayloadError: content type 'text/csv': Triton takes application/json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (Payload(b"two,friends\n", JSON_TYPE), "failed to parse the request JSON buffer"),
        (Payload(b"{}", JSON_TYPE), "Unable to parse 'inputs'"),
        (encode({"TEXT": column(["x"])}, [OUTPUT], binary=True), "unexpected inference input 'TEXT'"),
        (encode({INPUT: column(["x"])}, ["other"], binary=True), "unexpected inference output 'other'"),
        (encode({INPUT: column([b"\xff"])}, [OUTPUT], binary=True), "INPUT0 is not UTF-8"),
        (encode({INPUT: column(["x"] * (BATCH_LIMIT + 1))}, [OUTPUT], binary=True), "batch-size must be <= 16"),
    ],
)
def test_bad_requests_fail_with_the_reason_through_boto3_too(single, payload, message):
    with pytest.raises(InvocationError, match=message):
        single.invoke(payload)
    with local_runtime({"films": single}) as url, pytest.raises(InvocationError, match=message):
        invoke(local_client(url), "films", payload)


def test_several_archives_are_loaded_listed_asked_and_unloaded(several, archive, second, expected, tmp_path):
    folders = {name: unpack(a.path, tmp_path / name) for name, a in {"s.tar.gz": archive, "d.tar.gz": second}.items()}
    several.wait()
    assert several.models() == {}
    for name, folder in folders.items():
        several.load(name, folder)
        several.load(name, folder)  # again: the first is unloaded
    assert set(several.models()) == set(folders)
    with local_runtime({"many": several}) as url:
        client = local_client(url)
        vectors = ask(client, "many", {INPUT: column(TEXTS)}, [OUTPUT], target="s.tar.gz")[OUTPUT]
        doubled = ask(client, "many", {"x": np.ones((3, 2), np.float32)}, ["y"], target="d.tar.gz", binary=False)["y"]
        with pytest.raises(InvocationError, match="status 404"):
            ask(client, "many", {"x": np.ones((3, 2), np.float32)}, ["y"], target="missing.tar.gz")
    assert np.abs(vectors - expected).max() <= 1e-4
    assert doubled.tolist() == [[2, 2]] * 3
    for name in folders:
        several.unload(name)
        several.unload(name)
    assert several.models() == {}


def test_the_command_serves_an_archive_until_interrupted(several, archive, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORKSHOP_SAGEMAKER_PORT", str(several.port))
    monkeypatch.setenv("WORKSHOP_DATA_DIR", str(tmp_path))
    answers = []

    def ask_once():
        url = capsys.readouterr().out.split()[-2]
        answers.append(ask(local_client(url), "films", {INPUT: column(TEXTS)}, [OUTPUT])[OUTPUT])

    monkeypatch.setattr(command, "until_interrupted", ask_once)
    assert command.main(["local", "films", "--archive", str(archive.path)]) == 0
    assert np.abs(answers[0] - expected).max() <= 1e-4
    assert several.models() == {}


def test_a_folder_without_a_model_is_refused_with_the_servers_words(several, tmp_path):
    with pytest.raises(InvocationError, match=rf"model 'none' from {tmp_path}: status 400: "):
        several.load("none", tmp_path)
