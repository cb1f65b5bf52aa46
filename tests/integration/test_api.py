"""The OpenAI-compatible API, asked by the real ``openai`` client."""

from __future__ import annotations

import numpy as np
import openai
import pytest
import requests
from api_world import serving

from workshop.export.gates import LEAST_COSINES, row_cosines
from workshop.text.generation.client import generate
from workshop.text.prepare import prepare_sentence_bert

MESSAGES = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def url(local_stack, hub):
    """Address of a running API in front of the stack with the tiny generator."""
    with serving(local_stack) as url:
        yield url


@pytest.fixture(scope="module")
def api(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=60) as api:
        yield api


def test_the_models_are_the_generators(api):
    assert "tiny-llama" in [model.id for model in api.models.list()]
    assert api.models.retrieve("tiny-llama").owned_by == "triton"
    assert "tiny-llama_stream" not in [model.id for model in api.models.list()]


def test_a_chat_gives_the_same_text_whole_and_streamed(api):
    asked = {"model": "tiny-llama", "messages": MESSAGES, "max_tokens": 12, "seed": 4, "temperature": 0.9}
    whole = api.chat.completions.create(**asked)
    assert whole.choices[0].message.role == "assistant"
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    chunks = list(api.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage


def test_completions_are_those_of_triton(api, hub):
    answer = api.completions.create(model="tiny-llama", prompt=["the sea", "a"], max_tokens=8, temperature=0, echo=True)
    parameters = {"prompt_format": "text", "max_tokens": 8, "return_full_text": True}
    direct = generate(hub, "tiny-llama", ["the sea", "a"], parameters=parameters)
    assert [choice.text for choice in answer.choices] == [texts[0].text for texts in direct]
    assert [choice.index for choice in answer.choices] == [0, 1]


def test_several_choices_and_stop_texts(api):
    answer = api.chat.completions.create(
        model="tiny-llama", messages=MESSAGES, n=3, seed=1, max_tokens=6, stop=["\n", "e"]
    )
    assert len({choice.message.content for choice in answer.choices}) == 3
    assert not any("e" in choice.message.content for choice in answer.choices)


def test_a_client_that_leaves_a_stream_leaves_the_server_serving(api):
    asked = {"model": "tiny-llama", "messages": MESSAGES, "max_tokens": 1500, "seed": 2}
    with api.chat.completions.create(**asked, stream=True) as chunks:
        next(iter(chunks))
    assert api.chat.completions.create(**{**asked, "max_tokens": 2}).usage.completion_tokens <= 2


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"model": "nobody"}, openai.NotFoundError, "no model 'nobody' is served here"),
        ({"temperature": 9}, openai.BadRequestError, "temperature"),
        ({"messages": []}, openai.BadRequestError, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, openai.BadRequestError, "role"),
        ({"max_tokens": 5000}, openai.BadRequestError, "context window of 2048"),
        ({"tools": [{"type": "function"}]}, openai.BadRequestError, "tools"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_bad_requests_have_the_errors_of_the_real_api(api, change, kind, message, streamed):
    with pytest.raises(kind, match=message):
        api.chat.completions.create(**{"model": "tiny-llama", "messages": MESSAGES, "stream": streamed, **change})


def test_embeddings_are_those_of_triton_and_their_tokens_are_counted(api, local_stack, hub):
    prepare_sentence_bert(local_stack)
    for name in ("text_tokenizer", "sentence_bert", "text_embedding"):
        hub.load_model(name)
    texts = ["a heist in winter", "two friends", "word " * 400]
    answer = api.embeddings.create(model="text_embedding", input=texts, encoding_format="float")
    direct = hub.infer("text_embedding", {"TEXT": [[text] for text in texts]})["EMBEDDING"]
    assert row_cosines(direct, np.array([item.embedding for item in answer.data])).min() >= LEAST_COSINES["bf16"]
    mask = hub.infer("text_tokenizer", {"TEXT": [[text] for text in texts]})["attention_mask__1"]
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == mask.sum() > 256
    # another batch is padded to another length, which rounds otherwise where the processor computes in bf16
    many = api.embeddings.create(model="text_embedding", input=["two friends"] * 70 + ["word " * 100])
    assert row_cosines(direct[1:2], np.array([many.data[0].embedding])).min() >= LEAST_COSINES["bf16"]
    assert many.usage.prompt_tokens == 70 * 4 + 102


def test_an_embedding_of_a_model_that_makes_none_is_refused(api):
    with pytest.raises(openai.BadRequestError, match="makes no text embeddings"):
        api.embeddings.create(model="tiny-llama", input="hello")


def test_no_reranker_is_served(url):
    answer = requests.post(f"{url}/rerank", json={"query": "a", "documents": ["b"]}, timeout=10)
    assert answer.status_code == 501
    assert "no reranker" in answer.json()["error"]["message"]


def test_a_body_that_is_no_json_is_named(url):
    answer = requests.post(f"{url}/v1/completions", data=b"{", timeout=10)
    assert answer.status_code == 400
    assert "not JSON" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "status", "said"), [(b"x" * (2**23 + 1), 413, "more than"), (b"[" * 10**5, 400, "JSON")]
)
def test_a_body_that_is_too_large_or_too_deep_is_refused_and_the_next_is_answered(url, body, status, said):
    answer = requests.post(f"{url}/v1/completions", data=body, timeout=30)
    assert answer.status_code == status
    assert said in answer.json()["error"]["message"]
    assert requests.get(f"{url}/v1/models", timeout=30).status_code == 200
