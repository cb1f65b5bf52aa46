"""Hub models on the Python backend of the running server: texts, streams, labels, cancelling, and bad input."""

from __future__ import annotations

import json
import re
import socket
import time
from contextlib import suppress

import numpy as np
import psutil
import pytest
import requests
import tiny_hub
import torch
import tritonclient.grpc as triton_grpc
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from workshop.errors import InferenceError, ModelNotReadyError, ServingError
from workshop.settings import load_settings
from workshop.stack.process import members
from workshop.text.generation.client import classify, generate, stream
from workshop.text.generation.entries import classifier_entry, generator_entries, write_entry
from workshop.text.generation.hub import find_hub_model
from workshop.text.generation.smollm2 import GGUF_FILE, prepare_smollm2
from workshop.triton.client import TritonClient

TEXT = {"prompt_format": "text"}
PROMPTS = ["the sea", "a", "two rivals on an island look for a map", "it rains in the north"]


@pytest.fixture(scope="module")
def expected(folders):
    """Greedy continuation by transformers itself, one prompt at a time."""
    tokenizer = AutoTokenizer.from_pretrained(folders["tiny-llama"])
    model = AutoModelForCausalLM.from_pretrained(folders["tiny-llama"]).eval()

    def continuation(prompt: str, tokens: int) -> str:
        ids = tokenizer(prompt, return_tensors="pt")
        out = model.generate(**ids, max_new_tokens=tokens, do_sample=False, pad_token_id=1)
        return tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)

    return continuation


def still_serves(hub):
    assert generate(hub, "tiny-llama", ["the sea"], parameters={**TEXT, "max_tokens": 2})[0][0].tokens <= 2


def generated_tokens(settings, model: str) -> float:
    text = requests.get(f"http://127.0.0.1:{settings.triton_metrics_port}/metrics", timeout=5).text
    found = re.search(rf'^generated_tokens\{{[^}}]*model="{model}"[^}}]*\}} ([\d.e+]+)$', text, re.MULTILINE)
    assert found, text[-2000:]
    return float(found.group(1))


def processes(settings, model: str) -> list[list[str]]:
    """Command lines of the processes in which the server runs a model."""
    lines = []
    for member in members(settings.stack_dir, "triton"):
        with suppress(psutil.Error):  # it has ended since it was listed
            lines.append(member.cmdline())
    return [line for line in lines if any(f"/{model}/" in part for part in line)]


def test_a_padded_batch_gives_what_transformers_gives_alone(hub, expected):
    answers = generate(hub, "tiny-llama", PROMPTS, parameters={**TEXT, "max_tokens": 12})
    for prompt, (answer,) in zip(PROMPTS, answers, strict=True):
        wanted = expected(prompt, 12)
        shared = min(len(wanted), len(answer.text))  # an unfinished character at the end shows in one of them only
        assert answer.text.rstrip("\ufffd")[:shared] == wanted.rstrip("\ufffd")[:shared]
        assert answer.finish_reason in ("length", "stop")
        assert answer.prompt_tokens == len(prompt)


def test_max_length_of_the_configuration_is_the_default(hub):
    ((answer,),) = generate(hub, "tiny-llama", ["the sea"], parameters=TEXT)
    assert answer.tokens == 15


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_stream_is_the_whole_text_in_pieces(local_stack, hub, protocol):
    parameters = {**TEXT, "max_tokens": 20, "temperature": 0.8, "seed": 3}
    ((whole,),) = generate(hub, "tiny-llama", ["the sea"], parameters=parameters)
    settings = local_stack.model_copy(update={"triton_protocol": protocol})
    with TritonClient.from_settings(settings) as own:
        pieces = [piece for _, piece in stream(own, "tiny-llama", "the sea", parameters=parameters)]
    assert "".join(piece.text for piece in pieces) == whole.text
    assert pieces[-1].finish_reason == whole.finish_reason
    assert pieces[-1].tokens == whole.tokens
    assert len(pieces) > 5


def test_streams_of_several_clients_advance_together(local_stack, hub):
    with TritonClient.from_settings(local_stack) as other:
        parameters = {**TEXT, "max_tokens": 400, "temperature": 1, "seed": 1, "top_k": 50}
        long = stream(hub, "tiny-llama", "a", parameters=parameters)
        next(long)
        short = [piece for _, piece in stream(other, "tiny-llama", "b", parameters={**TEXT, "max_tokens": 3})]
        assert short[-1].tokens <= 3
        _, piece = next(long)
        assert piece.finish_reason == ""
        long.close()


def test_sampling_repeats_with_a_seed_and_rows_do_not_touch_each_other(hub):
    parameters = {**TEXT, "seed": 7, "temperature": 1.2, "top_p": 0.9, "top_k": 40, "num_sequences": 3}
    ((first, second, third),) = generate(hub, "tiny-llama", ["the sea"], parameters=parameters)
    assert len({first.text, second.text, third.text}) == 3
    again = generate(hub, "tiny-llama", ["the sea", "another prompt"], parameters=parameters)
    assert [answer.text for answer in again[0]] == [first.text, second.text, third.text]
    ((other,),) = generate(hub, "tiny-llama", ["the sea"], parameters={**parameters, "num_sequences": 1, "seed": 8})
    assert other.text == second.text


def test_stop_texts_end_the_generation_and_are_left_out(hub):
    parameters = {**TEXT, "max_tokens": 30, "seed": 5}
    ((free,),) = generate(hub, "tiny-llama", ["the sea"], parameters=parameters)
    stop = free.text[8:10]
    ((stopped,),) = generate(
        hub, "tiny-llama", ["the sea"], parameters={**parameters, "stop": json.dumps([stop, "never there"])}
    )
    assert stopped.text == free.text[: free.text.index(stop)]
    assert stopped.finish_reason == "stop"
    pieces = [piece for _, piece in stream(hub, "tiny-llama", "the sea", parameters={**parameters, "stop": stop})]
    assert "".join(piece.text for piece in pieces) == stopped.text


def test_the_full_text_begins_with_the_prompt(hub):
    parameters = {**TEXT, "max_tokens": 5}
    ((bare,),) = generate(hub, "tiny-llama", ["the sea"], parameters=parameters)
    ((full,),) = generate(hub, "tiny-llama", ["the sea"], parameters={**parameters, "return_full_text": True})
    assert full.text == "the sea" + bare.text


def test_the_chat_template_is_used_where_there_is_one(hub, folders):
    tokenizer = AutoTokenizer.from_pretrained(folders["tiny-llama"])
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]

    def length(messages):
        return len(
            tokenizer(tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)).input_ids
        )

    ((user,),) = generate(hub, "tiny-llama", ["hello"])
    assert user.prompt_tokens == length(messages[1:])
    ((talk,),) = generate(hub, "tiny-llama", [json.dumps(messages)], parameters={"prompt_format": "messages"})
    assert talk.prompt_tokens == length(messages)


def test_a_cancelled_stream_ends_long_before_its_text_and_gives_its_place_up(local_stack, hub):
    """How many tokens a cancelled row still makes, none, is tested on the engine; here the news has to travel first."""
    model = "tiny-llama_stream"
    pieces = stream(hub, "tiny-llama", "the sea", parameters={**TEXT, "max_tokens": 1900, "seed": 1})
    received = 0
    before = generated_tokens(local_stack, model)
    for _, piece in pieces:
        received = piece.tokens
        if received >= 5:
            break
    pieces.close()
    # the next stream takes its turn after the cancelled one was met, so its end shows what was made in between
    rest = [piece for _, piece in stream(hub, "tiny-llama", "b", parameters={**TEXT, "max_tokens": 1})]
    made = generated_tokens(local_stack, model) - before - rest[-1].tokens
    assert made < 200, f"{made} tokens made, {received} received"
    assert generated_tokens(local_stack, model) - before - rest[-1].tokens == made, "it went on"


def test_a_cancelled_whole_text_ends_too(local_stack, hub):
    before = generated_tokens(local_stack, "tiny-llama")
    raw = triton_grpc.InferenceServerClient(f"127.0.0.1:{local_stack.triton_grpc_port}")
    tensor = triton_grpc.InferInput("prompt", [1, 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[b"the sea"]], dtype=object))
    call = raw.async_infer(
        "tiny-llama", [tensor], lambda result, error: None, parameters={**TEXT, "max_tokens": 2000, "seed": 1}
    )
    call.cancel()
    still_serves(hub)
    assert generated_tokens(local_stack, "tiny-llama") - before < 1000
    raw.close()


def test_a_client_that_disconnects_in_the_middle_ends_its_stream(local_stack, hub):
    before = generated_tokens(local_stack, "tiny-llama_stream")
    body = json.dumps({"text_input": "the sea", "parameters": {**TEXT, "max_tokens": 1900, "seed": 1}})
    with socket.create_connection(("127.0.0.1", local_stack.triton_http_port), timeout=10) as connection:
        head = f"POST /v2/models/tiny-llama_stream/generate_stream HTTP/1.1\r\nHost: t\r\nContent-Length: {len(body)}"
        connection.sendall(f"{head}\r\n\r\n{body}".encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    list(stream(hub, "tiny-llama", "b", parameters={**TEXT, "max_tokens": 30}))
    assert generated_tokens(local_stack, "tiny-llama_stream") - before < 1500
    still_serves(hub)


def test_labels_and_scores_are_those_of_the_model_alone(hub, folders):
    texts = ["good", "bad film", "a long text about everything"]
    tokenizer = AutoTokenizer.from_pretrained(folders["tiny-bert"])
    model = AutoModelForSequenceClassification.from_pretrained(folders["tiny-bert"]).eval()
    for text, answer in zip(texts, classify(hub, "tiny-bert", texts), strict=True):
        with torch.inference_mode():
            probabilities = model(**tokenizer(text, return_tensors="pt")).logits.softmax(dim=1)[0]
        assert answer.label == model.config.id2label[int(probabilities.argmax())]
        assert answer.score == pytest.approx(float(probabilities.max()), abs=1e-5)


@pytest.mark.parametrize(
    ("prompt", "parameters", "message"),
    [
        (" ", {}, "prompt 0: the prompt is empty"),
        ("a" * 3000, {}, "the prompt has 3000 tokens .* context window of 2048; shorten the prompt"),
        ("a" * 2000, {"max_tokens": 100}, "max_tokens can be at most 48"),
        (b"\xff\xfe", {}, "not UTF-8"),
        ("a", {"max_tokens": 0}, "max_tokens must be a whole number from 1"),
        ("a", {"temperature": -1}, "temperature must be at least 0"),
        ("a", {"temperature": "warm"}, "temperature must be at least 0"),
        ("a", {"top_p": 0}, "top_p must be above 0"),
        ("a", {"num_sequences": 1000}, "num_sequences must be a whole number from 1 to 16"),
        ("a", {"temprature": 1}, "unknown parameter temprature; known are max_tokens"),
        ("a", {"prompt_format": "messages"}, "the prompt is not JSON"),
    ],
)
def test_bad_requests_are_named_and_fail_alone(hub, prompt, parameters, message):
    parameters = {**TEXT, **parameters}
    value = np.array([[prompt]], dtype=object)
    with pytest.raises(InferenceError, match=message):
        hub.infer("tiny-llama", {"prompt": value}, parameters=parameters)
    with pytest.raises(InferenceError, match=message.replace("prompt 0: ", "")):
        list(hub.stream("tiny-llama_stream", {"text_input": value[0]}, parameters=parameters))
    still_serves(hub)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "is empty"), ("a" * 100, "102 tokens, the model takes at most 64"), (b"\xff", "not UTF-8")],
)
def test_bad_texts_of_the_classifier(hub, text, message):
    with pytest.raises(InferenceError, match=message):
        hub.infer("tiny-bert", {"prompt": np.array([[text]], dtype=object)})
    assert classify(hub, "tiny-bert", ["good"])


def test_ten_thousand_prompts_are_refused_in_one_request_and_run_in_many(local_stack, hub):
    raw = triton_grpc.InferenceServerClient(f"127.0.0.1:{local_stack.triton_grpc_port}")
    tensor = triton_grpc.InferInput("prompt", [10_000, 1], "BYTES")
    tensor.set_data_from_numpy(np.full((10_000, 1), b"good", dtype=object))
    with pytest.raises(Exception, match="batch-size must be <= 64"):
        raw.infer("tiny-bert", [tensor])
    raw.close()
    assert len(classify(hub, "tiny-bert", ["good"] * 10_000)) == 10_000


def test_whole_and_streaming_models_refuse_the_other_call(hub):
    with pytest.raises(ServingError, match="decoupled"):
        hub.infer("tiny-llama_stream", {"text_input": np.array(["a"], dtype=object)})


def test_a_model_whose_files_are_gone_names_them(local_stack, hub, tmp_path):
    folder = tiny_hub.save_classifier(tmp_path / "gone")
    entry = classifier_entry(find_hub_model(str(folder), "text-classification"), local_stack.data_dir)
    write_entry(entry, local_stack.model_repository)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelNotReadyError, match=r"gone"):
        hub.load_model("gone")
    still_serves(hub)


@pytest.mark.slow
def test_smollm2_answers_by_both_engines(local_stack, hub):
    """The one test with real weights: what they say makes sense; the quantised weights may choose other words."""
    pytest.importorskip("xllamacpp", reason="the quantised engine is an extra")
    folder = prepare_smollm2(load_settings().data_dir)
    model = find_hub_model(str(folder), "text-generation")
    data_dir = load_settings().data_dir
    entries = [
        *generator_entries(model, data_dir, name="real"),
        *generator_entries(model, data_dir, name="real-q4", engine="llama.cpp", gguf_file=folder / GGUF_FILE),
    ]
    names = [entry.name for entry in entries if entry.name in ("real", "real-q4_stream")]
    for entry in entries:
        write_entry(entry, local_stack.model_repository)
    for name in names:
        hub.load_model(name)
    question = "What is the capital of France?"
    ((whole,),) = generate(hub, "real", [question], parameters={"max_tokens": 12})
    assert "Paris" in whole.text
    pieces = [piece for _, piece in stream(hub, "real-q4", question, parameters={"max_tokens": 12})]
    assert pieces[-1].prompt_tokens == whole.prompt_tokens, "both engines read the same chat template"
    # where the likeliest token is far ahead, 8-bit arithmetic does not change it; in an open question it may
    for start, rest in {
        "The capital of France is": " Paris",
        "1, 2, 3, 4, 5, 6,": " 7, 8, 9",
        "Water freezes at 0 degrees": " Celsius",
    }.items():
        parameters = {**TEXT, "max_tokens": 8}
        assert generate(hub, "real", [start], parameters=parameters)[0][0].text.startswith(rest)
        text = "".join(piece.text for _, piece in stream(hub, "real-q4", start, parameters=parameters))
        assert text.startswith(rest)
    with pytest.raises(InferenceError, match="context window of 2048"):
        list(stream(hub, "real-q4", "word " * 3000))
    for name in names:
        assert processes(local_stack, name)
        hub.unload_model(name)
        end = time.monotonic() + 30
        while processes(local_stack, name) and time.monotonic() < end:
            time.sleep(0.05)
        assert not processes(local_stack, name), "the memory of an unloaded model is given back with its process"
