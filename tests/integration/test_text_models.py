"""The served text models and the client, over gRPC and HTTP, on the real tritonserver."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from workshop import stack
from workshop.errors import (
    InferenceError,
    ModelNotFoundError,
    ModelNotReadyError,
    ServerUnreachableError,
    ServingTimeoutError,
    TensorNameError,
    TensorShapeError,
    TensorTypeError,
    TensorValueError,
)
from workshop.export.gates import TOLERANCES
from workshop.export.torchscript import load_traced
from workshop.text.classifier import ZeroShotClassifier
from workshop.text.embedder import TOKENS_PER_REQUEST, TextEmbedder
from workshop.text.prepare import (
    prepare_sentence_bert,
    prepare_zero_shot,
    sentence_inputs,
    sentence_source,
    zero_shot_inputs,
)
from workshop.text.sentence_bert import load_sentence_bert
from workshop.triton.client import TritonClient

MODELS = ["sentence_bert", "text_tokenizer", "text_embedding", "zero_shot", "zero_shot_tokenizer", "zero_shot_text"]
LABELS = ["business", "space and science", "politics"]
TEXTS = ["who will win the election", "the moons of Jupiter", "your payment is overdue", "", "word " * 10_000]


@pytest.fixture(scope="module")
def served(local_stack):
    """Settings of the running stack, with the text models traced and loaded."""
    prepare_sentence_bert(local_stack)
    prepare_zero_shot(local_stack)
    with TritonClient.from_settings(local_stack) as client:
        for name in MODELS:
            client.load_model(name)
    return local_stack


@pytest.fixture(scope="module")
def tokenizer(served):
    return sentence_source(served).tokenizer()


@pytest.fixture
def embed(client, served):
    return TextEmbedder(client)


def test_served_vectors_are_those_of_the_file_and_close_to_fp32(embed, served, tokenizer):
    traced = load_traced(served.model_repository / "sentence_bert/1/model.pt")
    reference = load_sentence_bert(sentence_source(served), "fp32")
    vectors = embed(TEXTS)
    with torch.no_grad():
        local = traced(*sentence_inputs(tokenizer, TEXTS)).numpy()
        exact = reference(*sentence_inputs(tokenizer, TEXTS)).numpy()
    assert np.abs(vectors - local).max() <= TOLERANCES["bf16"]
    assert (vectors * exact).sum(axis=1).min() >= 0.999


def test_the_client_says_what_computes_a_model(client):
    assert client.engine("sentence_bert") == "TorchScript by the local Python backend"
    assert client.engine("text_embedding") == "an ensemble of other models"
    assert client.engine("text_tokenizer") == "the python backend"


def test_order_is_kept_over_many_requests(embed):
    texts = [f"film {n} " + "again " * (n % 50) for n in range(300)]
    vectors = embed(texts)
    assert np.abs(vectors[[7, 123, 299]] - embed([texts[7], texts[123], texts[299]])).max() <= TOLERANCES["bf16"]


def test_fewer_tokens_a_request_give_the_same_vectors_in_more_requests(client, embed, monkeypatch):
    texts = [f"film {n} " + "again " * (n % 50) for n in range(60)]
    vectors, sent = embed(texts), []
    infer_many = client.infer_many

    def counted(model, requests):
        return infer_many(model, (sent.append(request["input_ids__0"].size) or request for request in requests))

    monkeypatch.setattr(client, "infer_many", counted)
    assert np.abs(vectors - embed(texts)).max() <= TOLERANCES["bf16"]
    usual = list(sent)
    sent.clear()
    assert np.abs(vectors - TextEmbedder(client, tokens_per_request=256)(texts)).max() <= TOLERANCES["bf16"]
    assert max(sent) <= 256 < max(usual) <= TOKENS_PER_REQUEST


def test_no_texts_give_no_vectors(embed):
    assert embed([]).shape == (0, 384)


def test_a_batch_over_the_limit_is_split(client, tokenizer):
    ids, mask = (part.numpy() for part in sentence_inputs(tokenizer, [f"text {n}" for n in range(300)]))
    assert client.signature("sentence_bert").max_batch_size == 64
    answer = client.infer("sentence_bert", {"input_ids__0": ids, "attention_mask__1": mask})
    assert answer["embedding__0"].shape == (300, 384)


def test_strings_and_tokens_give_the_same_vectors(client, embed):
    strings = client.infer("text_embedding", {"TEXT": [[text] for text in TEXTS]})["EMBEDDING"]
    assert np.abs(strings - embed(TEXTS)).max() <= TOLERANCES["bf16"]


def test_the_classic_demonstration(client):
    answers = ZeroShotClassifier(client)(TEXTS[:3], LABELS)
    assert [answer.labels[0] for answer in answers] == ["politics", "space and science", "business"]
    assert all(abs(answer.probabilities.sum() - 1) < 1e-5 for answer in answers)


def test_progress_is_told_until_all_texts_are_classified(client):
    told = []
    ZeroShotClassifier(client)(TEXTS * 9, LABELS, progress=lambda done, wanted: told.append((done, wanted)))
    assert told == [(32, 45), (45, 45)]


def test_served_scores_are_those_of_the_file(client, served, tokenizer):
    traced = load_traced(served.model_repository / "zero_shot/1/model.pt")
    with torch.no_grad():
        scores, probabilities = traced(*zero_shot_inputs(tokenizer, TEXTS, LABELS))
    answer = client.infer("zero_shot_text", {"TEXT": [[t] for t in TEXTS], "LABELS": [LABELS] * len(TEXTS)})
    assert np.abs(answer["SCORES"] - scores.numpy()).max() <= TOLERANCES["bf16"]
    assert np.abs(answer["PROBABILITIES"] - probabilities.numpy()).max() <= 0.1


@pytest.mark.parametrize("count", [1, 2, 7, 20, 1000])
def test_any_number_of_labels(client, count):
    labels = [f"topic {n}" for n in range(count - 1)] + ["politics"]
    best = ZeroShotClassifier(client)([TEXTS[0]], labels)[0]
    assert len(best.labels) == count
    assert best.labels[0] == "politics"


def test_each_text_may_bring_its_own_labels(client):
    own = [["politics", "food"], ["astronomy", "food", "sport"], ["money"], ["a"], ["b", "c"]]
    answers = ZeroShotClassifier(client)(TEXTS, own)
    assert [sorted(answer.labels) for answer in answers] == [sorted(labels) for labels in own]
    assert [answer.labels[0] for answer in answers[:3]] == ["politics", "astronomy", "money"]


def test_the_template_changes_the_scores(client):
    plain, about = (
        ZeroShotClassifier(client)([TEXTS[0]], LABELS, template)[0] for template in ("{}", "This is about {}.")
    )
    assert not np.allclose(plain.scores, about.scores)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([], TensorShapeError, "labels of text 0: the list is empty"),
        ([["a"], []], TensorShapeError, "2 texts|labels of text 1: the list is empty"),
        ([["a"], ["b"], ["c"]], TensorShapeError, "2 texts and 3 label lists"),
        ([["a"], [None]], TensorTypeError, "labels of text 1: entry 0 is NoneType"),
    ],
)
def test_wrong_label_lists_are_refused_before_sending(client, labels, error, message):
    with pytest.raises(error, match=message):
        ZeroShotClassifier(client)(TEXTS[:2], labels)


@pytest.mark.parametrize("text", [None, 3, float("nan"), b"bytes"])
def test_a_text_that_is_no_string_is_refused(client, embed, text):
    with pytest.raises(TensorTypeError, match="texts: entry 1 is"):
        embed(["fine", text])
    with pytest.raises(TensorTypeError, match="texts: entry 1 is"):
        ZeroShotClassifier(client)(["fine", text], LABELS)


def ids(length=5, dtype=np.int64, value=7):
    return np.full((1, length), value, dtype=dtype)


@pytest.mark.parametrize(
    ("model", "inputs", "error", "message"),
    [
        ("sentence_bert", {"input_ids__0": ids()}, TensorNameError, "missing inputs .'attention_mask__1'"),
        (
            "sentence_bert",
            {"input_ids__0": ids(dtype=np.float32), "attention_mask__1": ids()},
            TensorTypeError,
            "expected INT64, received FP32",
        ),
        (
            "sentence_bert",
            {"input_ids__0": ids()[0], "attention_mask__1": ids()},
            TensorShapeError,
            "expected shape .'rows', 'any'., received .5.",
        ),
        (
            "sentence_bert",
            {"input_ids__0": ids(600), "attention_mask__1": ids(600, value=1)},
            TensorShapeError,
            "received 600 along the last axis, the model takes at most 256",
        ),
        (
            "sentence_bert",
            {"input_ids__0": ids(value=10**9), "attention_mask__1": ids(value=1)},
            TensorValueError,
            r"expected values from 0 to 30521, received 1000000000",
        ),
        (
            "sentence_bert",
            {"input_ids__0": ids(5), "attention_mask__1": ids(6, value=1)},
            InferenceError,
            "model 'sentence_bert'",
        ),
        ("text_embedding", {"TEXT": [[b"\xff\xfe"]]}, InferenceError, "TEXT is not UTF-8"),
        ("zero_shot_text", {"TEXT": [["a"]], "LABELS": np.empty((1, 0), object)}, InferenceError, "LABELS is empty"),
        (
            "zero_shot_text",
            {"TEXT": [["a"]], "LABELS": [["b"]], "TEMPLATE": [["no place"]]},
            InferenceError,
            "has no {} for the label",
        ),
        ("nobody", {}, ModelNotFoundError, "model 'nobody' is not in the repository"),
    ],
)
def test_bad_requests_are_named_and_the_server_goes_on(client, model, inputs, error, message):
    with pytest.raises(error, match=message):
        client.infer(model, inputs)
    assert client.infer("text_embedding", {"TEXT": [["still here"]]})["EMBEDDING"].shape == (1, 384)


def test_a_request_that_failed_fails_again_and_a_good_one_comes_from_the_cache_unchanged(client):
    for _ in range(2):
        with pytest.raises(InferenceError, match="TEXT is not UTF-8"):
            client.infer("text_embedding", {"TEXT": [[b"\xfe\xff"]]})
    first, second = (client.infer("text_embedding", {"TEXT": [["again"]]})["EMBEDDING"] for _ in range(2))
    assert np.array_equal(first, second)


def test_a_model_that_is_not_loaded_is_another_error_than_an_unknown_one(client):
    client.unload_model("zero_shot_text")
    try:
        with pytest.raises(ModelNotReadyError, match=r"zero_shot_text.*not loaded"):
            client.wait_ready("zero_shot_text", timeout=5)
        with pytest.raises(ModelNotReadyError, match="zero_shot_text"):
            client.infer("zero_shot_text", {"TEXT": [["a"]], "LABELS": [["b"]]})
        with pytest.raises(ModelNotFoundError, match=r"'nobody' is not in the repository .* it holds \["):
            client.wait_ready("nobody", timeout=5)
    finally:
        client.load_model("zero_shot_text")
    assert "READY" in {model.state for model in client.models() if model.name == "zero_shot_text"}


def test_a_corrupt_file_and_a_broken_configuration_fail_alone(client, served):
    repository = served.model_repository
    for name in ("corrupt", "misconfigured"):
        shutil.copytree(repository / "sentence_bert", repository / name)
        config = repository / name / "config.pbtxt"
        config.write_text(config.read_text().replace('name: "sentence_bert"', f'name: "{name}"'))
    (repository / "corrupt/1/model.pt").write_bytes(b"not a model")
    (repository / "misconfigured/config.pbtxt").write_text("input [")
    try:
        with pytest.raises(ModelNotReadyError, match=r"model 'corrupt' at .* is not loaded: .*model\.pt"):
            client.load_model("corrupt")
        with pytest.raises((ModelNotReadyError, ModelNotFoundError), match="model 'misconfigured'"):
            client.load_model("misconfigured")
        assert client.infer("text_embedding", {"TEXT": [["still here"]]})["EMBEDDING"].shape == (1, 384)
    finally:
        for name in ("corrupt", "misconfigured"):
            shutil.rmtree(repository / name)


def test_a_request_that_takes_too_long_is_a_timeout(served, tokenizer):
    with TritonClient.from_settings(served) as client:
        part = sentence_inputs(tokenizer, ["word " * 300] * 128)
        inputs = {"input_ids__0": part[0].numpy(), "attention_mask__1": part[1].numpy()}
        client.signature("sentence_bert")
        client.timeout = 0.01
        with pytest.raises(ServingTimeoutError, match=r"model 'sentence_bert'.*\nTry: raise WORKSHOP_TRITON_"):
            client.infer("sentence_bert", inputs)


def test_one_grpc_client_serves_several_threads(served):
    with TritonClient.from_settings(served) as client, ThreadPoolExecutor(4) as threads:
        embed = TextEmbedder(client)
        answers = list(threads.map(lambda n: embed([f"text {n}"])[0], range(16)))
        assert np.abs(np.array(answers) - embed([f"text {n}" for n in range(16)])).max() <= TOLERANCES["bf16"]


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_nobody_listening_is_said_at_once(protocol, served):
    with TritonClient("127.0.0.1:1", protocol=protocol) as client:
        assert not client.is_live()
        with pytest.raises(ServerUnreachableError, match=r"no Triton server answers at 127\.0\.0\.1:1"):
            client.infer("text_embedding", {"TEXT": [["a"]]})
        with pytest.raises(ServerUnreachableError, match=r"within 0 s\nTry: make up"):
            client.wait_ready(timeout=0.3)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_server_that_stops_in_mid_run_ends_the_run_with_a_clear_error(tmp_path, model_repository, served, protocol):
    from workshop.stack.private import private_settings

    settings = private_settings(tmp_path / "stack", model_repository=model_repository, triton_protocol=protocol)
    with (
        stack.running(settings, ["triton"], models=["text_tokenizer"]),
        TritonClient.from_settings(settings, in_flight=2, retries=1) as client,
    ):
        answers = client.infer_many("text_tokenizer", ({"TEXT": [[f"text {n}"]]} for n in range(1000)))
        next(answers)
        stack.down(settings, ["triton"])
        with pytest.raises(ServerUnreachableError, match=r"model 'text_tokenizer': no Triton server answers"):
            list(answers)
