"""The sentiment ensembles on the real tritonserver: answers, bad input, and a step that fails."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import tritonclient.grpc as triton_grpc
from tritonclient.utils import InferenceServerException

from workshop.errors import InferenceError, ServingError, TensorTypeError
from workshop.settings import PROJECT_ROOT
from workshop.text.generation.client import classify
from workshop.text.prepare import prepare_sentence_bert
from workshop.text.sentiment import wordpiece
from workshop.text.sentiment.checkpoint import load_published
from workshop.text.sentiment.client import SentimentClient
from workshop.text.sentiment.prepare import prepare_sentence_steps, prepare_sentiment, review_inputs
from workshop.text.sentiment.signatures import NO_TEXT, SENTIMENT_MODELS, sentence_steps
from workshop.text.signatures import SENTENCE_BERT
from workshop.text.sources import minilm_source
from workshop.triton.client import TritonClient

GOOD, BAD = "A moving, beautifully acted film that stays with you.", "A tedious mess; avoid this dull, clumsy film."
ENSEMBLES = ["end_to_end_pytorch", "end_to_end_onnx"]


@pytest.fixture(scope="module")
def served(local_stack):
    """Settings of the running stack, with both forms of the classifier and the sentence model in steps loaded."""
    sidecars = prepare_sentiment(local_stack)
    assert all(max(sidecar.parity.values()) <= 1e-4 for sidecar in sidecars.values())
    prepare_sentence_bert(local_stack)
    prepare_sentence_steps(local_stack)
    with TritonClient.from_settings(local_stack) as client:
        names = [signature.name for signature in (*SENTIMENT_MODELS, *sentence_steps(SENTENCE_BERT))]
        for name in ("text_tokenizer", "sentence_bert", "text_embedding", *names):
            client.load_model(name)
    return local_stack


@pytest.fixture
def command(served):
    """Run scripts/sentiment.py as a user does; gives its exit code, what it printed, and its complaints."""
    ports = {
        "WORKSHOP_TRITON_HTTP_PORT": str(served.triton_http_port),
        "WORKSHOP_TRITON_GRPC_PORT": str(served.triton_grpc_port),
        "COLUMNS": "120",
    }

    def run(*arguments, stdin=b""):
        done = subprocess.run(
            [sys.executable, "scripts/sentiment.py", *map(str, arguments)],
            cwd=PROJECT_ROOT,
            env={**os.environ, **ports},
            input=stdin,
            capture_output=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    return run


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_answers_are_those_of_the_local_model(client, served, ensemble):
    source = minilm_source()
    texts = [GOOD, BAD, "word " * 400, "Café, naïve & 電影!"]
    path = str(source.tokenizer_file)
    inputs = review_inputs(wordpiece.HuggingFaceEngine(path), wordpiece.marker_ids(path), texts)
    model, _ = load_published(served, source)
    with torch.inference_mode():
        expected = torch.softmax(model(*inputs), dim=1)[:, 1].numpy()
    answers = SentimentClient(client, ensemble)(texts)
    assert [answer.label for answer in answers[:2]] == ["positive", "negative"]
    assert [answer.truncated for answer in answers] == [False, False, True, False]
    assert np.allclose([answer.positive for answer in answers], expected, atol=1e-4)


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_raw_answers_have_the_shapes_of_the_signature(client, ensemble):
    answer = client.infer(ensemble, {"product_reviews": [[GOOD], [""], [BAD]]})
    assert answer["label"][:, 0].tolist() == [b"positive", NO_TEXT.encode(), b"negative"]
    assert answer["review_index"][:, 0].tolist() == [0, 1, 2]
    assert answer["probability"].shape == (3, 1)
    assert answer["probability"][1, 0] == 0
    assert not answer["truncated"].any()


def test_the_generic_clients_ask_the_classifier_by_prompt_and_score(client):
    good, bad = classify(client, "sentiment", [GOOD, BAD])
    raw = client.infer("end_to_end_onnx", {"product_reviews": [[GOOD], [BAD]]})
    assert (good.label, bad.label) == ("positive", "negative")
    assert np.allclose([good.score, bad.score], raw["probability"][:, 0], atol=1e-6)


def test_the_tokenizer_gives_rows_of_256_and_the_number_of_tokens(client):
    answer = client.infer("rapids_tokenizer", {"product_reviews": [[GOOD], ["word " * 400], [""]]})
    assert {name: array.shape for name, array in answer.items()} == {
        "input_ids": (3, 256),
        "attention_mask": (3, 256),
        "metadata": (3, 3),
    }
    assert answer["metadata"][1:].tolist() == [[1, 254, 400], [2, 0, 0]]
    assert answer["attention_mask"].sum(axis=1).tolist() == [answer["metadata"][0, 1] + 2, 256, 2]


def test_ten_thousand_reviews_in_one_request_are_refused_and_many_requests_keep_their_order(served):
    raw = triton_grpc.InferenceServerClient(f"127.0.0.1:{served.triton_grpc_port}")
    tensor = triton_grpc.InferInput("product_reviews", [10_000, 1], "BYTES")
    tensor.set_data_from_numpy(np.full((10_000, 1), b"good", dtype=object))
    with pytest.raises(InferenceServerException, match="batch-size must be <= 64"):
        raw.infer("end_to_end_onnx", [tensor])
    raw.close()
    reviews, steps = [BAD if n % 3 else GOOD for n in range(2000)], []
    with TritonClient.from_settings(served) as client:
        answers = SentimentClient(client)(reviews, progress=lambda done, wanted: steps.append((done, wanted)))
    assert [answer.label for answer in answers] == ["negative" if n % 3 else "positive" for n in range(2000)]
    assert steps == sorted(set(steps)), "each request is a step forward"
    assert steps[-1] == (2000, 2000)


def test_half_a_surrogate_pair_is_read_as_a_question_mark(client):
    broken, replaced = SentimentClient(client)([f"{GOOD} \ud800", f"{GOOD} ?"])
    assert broken == replaced


def test_no_reviews_give_no_answers(client):
    assert SentimentClient(client)([]) == []


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_bytes_that_are_no_text_fail_with_the_review_and_the_server_goes_on(client, ensemble):
    with pytest.raises(InferenceError, match="review 1 is not UTF-8"):
        client.infer(ensemble, {"product_reviews": [[GOOD], [b"\xff\xfe"]]})
    assert client.infer(ensemble, {"product_reviews": [[GOOD]]})["label"][0, 0] == b"positive"


@pytest.mark.parametrize("review", [None, 3, float("nan"), b"bytes"])
def test_a_review_that_is_no_string_is_refused(client, review):
    with pytest.raises(TensorTypeError, match="reviews: entry 1 is"):
        SentimentClient(client)([GOOD, review])


def test_logits_that_are_not_finite_are_refused(client):
    logits = np.array([[0, 1], [np.nan, 0]], dtype=np.float32)
    with pytest.raises(InferenceError, match=r"logits of rows \[1\] are not finite"):
        client.infer("sentiment_postprocessing", {"logits": logits, "metadata": np.ones((2, 3), dtype=np.int64)})


def test_an_ensemble_whose_step_is_gone_says_so_and_the_other_one_serves_on(served):
    with TritonClient.from_settings(served) as client:
        client.unload_model("sentiment_model_pytorch")
        try:
            with pytest.raises(ServingError, match=r"sentiment_model_pytorch|end_to_end_pytorch"):
                SentimentClient(client, "end_to_end_pytorch")([GOOD])
            assert SentimentClient(client, "end_to_end_onnx")([GOOD])[0].label == "positive"
        finally:
            client.load_model("sentiment_model_pytorch")
            client.load_model("end_to_end_pytorch")
        assert SentimentClient(client, "end_to_end_pytorch")([GOOD])[0].label == "positive"


def test_the_sentence_model_in_steps_gives_the_vectors_of_the_fused_one(client):
    texts = [[GOOD], [""], ["word " * 400], [BAD]]
    steps = client.infer("sentence_embedding_steps", {"TEXT": texts})["EMBEDDING"]
    fused = client.infer("text_embedding", {"TEXT": texts})["EMBEDDING"]
    assert np.allclose(np.linalg.norm(steps, axis=1), 1, atol=1e-5)
    assert (steps * fused).sum(axis=1).min() >= 0.999


def test_a_second_preparation_exports_nothing(served):
    files = [
        served.model_repository / name / "1" / file
        for name, file in (("sentiment_model_pytorch", "model.pt"), ("sentiment_model_onnx", "model.onnx"))
    ]
    before = [file.stat().st_mtime_ns for file in files]
    prepare_sentiment(served)
    assert [file.stat().st_mtime_ns for file in files] == before


# --- scripts/sentiment.py -----------------------------------------------------------------------------------------
def test_texts_come_back_as_a_table(command):
    code, shown, complaints = command(GOOD, "-", "--model", "end_to_end_pytorch", stdin=f"[bold]{BAD}\n\n".encode())
    assert (code, complaints) == (0, "")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if line.startswith("│")]
    assert [row[0] for row in rows] == [GOOD, f"[bold]{BAD}", ""]
    assert [row[1] for row in rows] == ["positive", "negative", "no text"]
    assert [float(row[2]) > 0.9 for row in rows] == [True, True, False]


def test_a_csv_comes_back_with_its_columns_and_the_answers(command, tmp_path):
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    pd.DataFrame({"id": ["007", "8"], "said": [BAD, "word " * 400]}).to_csv(source, index=False)
    code, shown, _ = command("--csv", source, "--column", "said", "--output", target)
    assert code == 0
    assert "wrote 2 answers" in shown
    answers = pd.read_csv(target, dtype=str)
    assert answers.columns.tolist() == ["id", "said", "label", "probability", "truncated"]
    assert answers["id"].tolist() == ["007", "8"]
    assert answers["label"][0] == "negative"
    assert answers["truncated"].tolist() == ["False", "True"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id\n1\n", "no column 'text'; found id"),
        (b"text,label\na,b\n", "the answers would replace the column label"),
        (b"text\n\xff\n", "is not utf-8 text"),
        (None, "no file at"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_and_nothing_is_written(command, tmp_path, content, message):
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    if content is not None:
        source.write_bytes(content)
    code, _, complaints = command("--csv", source, "--output", target)
    assert code == 1
    assert message in complaints.replace("\n", "")
    assert not target.exists()


def test_standard_input_that_is_no_text_is_refused(command):
    code, shown, complaints = command("-", stdin=b"\xff")
    assert (code, shown) == (1, "")
    assert "standard input is not UTF-8" in complaints
    assert "holds no review" in command("-")[2]
    assert command()[0] == 2
