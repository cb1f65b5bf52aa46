"""The application: routes of the OpenAI API in front of what Triton serves, and those that recommend."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from functools import partial

import numpy as np
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from workshop.api import recommend
from workshop.api.requests import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    Sampling,
    error_body,
    head,
    read_body,
    usage,
)
from workshop.errors import (
    InferenceError,
    ModelNotFoundError,
    ModelNotReadyError,
    ServerBusyError,
    ServerUnreachableError,
    ServingAuthError,
    ServingError,
    ServingTimeoutError,
    SignatureError,
)
from workshop.recommend.connections import Connections
from workshop.settings import Settings
from workshop.text.ensembles import TEXT_EMBEDDING
from workshop.text.generation.signatures import STREAM_SUFFIX
from workshop.triton.aio import AsyncTritonClient
from workshop.triton.signature import ModelSignature
from workshop.triton.tensors import Arrays

_STATUS: tuple[tuple[type[ServingError], int, str], ...] = (
    (ModelNotFoundError, 404, "invalid_request_error"),
    (ModelNotReadyError, 503, "server_error"),
    ((ServerUnreachableError, ServerBusyError, ServingAuthError), 503, "server_error"),
    (ServingTimeoutError, 504, "server_error"),
    ((SignatureError, InferenceError), 400, "invalid_request_error"),
)


def make_app(settings: Settings) -> Starlette:
    """The façade of the Triton server and the store that the settings name."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with (
            Connections(settings) as app.state.connections,
            ThreadPoolExecutor(recommend.THREADS, "recommend") as app.state.threads,
        ):
            app.state.list_models = partial(asyncio.to_thread, app.state.connections.models)
            async with AsyncTritonClient.from_settings(settings) as app.state.triton:
                yield

    return Starlette(
        routes=[
            Route("/v1/models", show_models),
            Route("/v1/models/{model:path}", show_model),
            Route("/v1/completions", complete, methods=["POST"]),
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/embeddings", embed, methods=["POST"]),
            Route("/v1/recommend/films", recommend.films, methods=["POST"]),
            Route("/v1/recommend/products", recommend.products, methods=["POST"]),
            *(Route(path, rerank, methods=["POST"]) for path in ("/rerank", "/v1/rerank")),
        ],
        lifespan=lifespan,
        exception_handlers={
            ServingError: _serving_error,
            ValidationError: _validation_error,
            HTTPException: _http_error,
        },
    )


# --- models -------------------------------------------------------------------------------------------------------
def _card(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "triton"}


async def _usable(request: Request) -> list[str]:
    """Generators, by the twin that streams, and text embedders."""
    ready = {model.name for model in await request.app.state.list_models() if model.state == "READY"}
    return sorted(name for name in ready if name + STREAM_SUFFIX in ready or name == TEXT_EMBEDDING)


async def show_models(request: Request) -> Response:
    """``GET /v1/models``."""
    return JSONResponse({"object": "list", "data": [_card(name) for name in await _usable(request)]})


async def show_model(request: Request) -> Response:
    """``GET /v1/models/NAME``."""
    name = request.path_params["model"]
    await _require(request, name)
    return JSONResponse(_card(name))


async def _require(request: Request, name: str) -> None:
    usable = await _usable(request)
    if name not in usable:
        raise ModelNotFoundError(
            f"no model {name!r} is served here; there are: {', '.join(usable) or 'none'}",
            hint="python scripts/create_repository.py, then load it",
        )


# --- completions --------------------------------------------------------------------------------------------------
async def complete(request: Request) -> Response:
    """``POST /v1/completions``."""
    asked = CompletionRequest.model_validate(await read_body(request))
    parameters = {**asked.parameters("text"), "return_full_text": asked.echo}
    if asked.stream and len(asked.prompts) != 1:
        raise HTTPException(400, "a stream takes one prompt")
    return await _generate(
        request,
        asked,
        asked.prompts,
        parameters,
        head("text_completion", asked.model, "cmpl"),
        choice=lambda text: {"text": text, "logprobs": None},
        delta=lambda text, first: {"text": text, "logprobs": None},
    )


async def chat(request: Request) -> Response:
    """``POST /v1/chat/completions``."""
    asked = ChatRequest.model_validate(await read_body(request))
    kind = "chat.completion.chunk" if asked.stream else "chat.completion"
    return await _generate(
        request,
        asked,
        [asked.prompt],
        asked.parameters("messages"),
        head(kind, asked.model, "chatcmpl"),
        choice=lambda text: {"message": {"role": "assistant", "content": text}, "logprobs": None},
        delta=lambda text, first: {"delta": {**({"role": "assistant"} if first else {}), "content": text}},
    )


async def _generate(
    request: Request,
    asked: Sampling,
    prompts: list[str],
    parameters: dict,
    answer: dict[str, object],
    *,
    choice: Callable[[str], dict],
    delta: Callable[[str, bool], dict],
) -> Response:
    triton: AsyncTritonClient = request.app.state.triton
    await _require(request, asked.model)
    if asked.stream:
        inputs = {"text_input": np.array(prompts, dtype=object)}
        answers = await _first_then_rest(triton.stream(asked.model + STREAM_SUFFIX, inputs, parameters=parameters))
        return StreamingResponse(_events(answers, asked, answer, delta), media_type="text/event-stream")
    result = await triton.infer(asked.model, {"prompt": _rows(prompts)}, parameters=parameters)
    texts = zip(result["text"].reshape(-1), result["finish_reason"].reshape(-1), strict=True)
    answer["choices"] = [
        {"index": index, **choice(text.decode("utf-8")), "finish_reason": reason.decode("utf-8")}
        for index, (text, reason) in enumerate(texts)
    ]
    answer["usage"] = usage(int(result["prompt_tokens"].sum()), int(result["completion_tokens"].sum()))
    return JSONResponse(answer)


async def _events(
    answers: AsyncIterator[Arrays], asked: Sampling, chunk: dict[str, object], delta: Callable[[str, bool], dict]
) -> AsyncIterator[str]:
    """Server-sent events of a stream; when the client hangs up, the iterator is closed, which cancels in Triton."""
    tokens: dict[int, int] = {}
    prompt_tokens = 0
    async with aclosing(answers):
        try:
            async for piece in answers:
                index = int(piece["index"][0])
                reason = piece["finish_reason"][0].decode("utf-8") or None
                change = delta(piece["text_output"][0].decode("utf-8"), index not in tokens)
                tokens[index] = int(piece["completion_tokens"][0])
                prompt_tokens = int(piece["prompt_tokens"][0])
                yield _event({**chunk, "choices": [{"index": index, **change, "finish_reason": reason}]})
        except ServingError as error:  # the status line is sent, so the error comes as an event
            yield _event(error_body(str(error), "server_error"))
            return
    if asked.wants_usage:
        yield _event({**chunk, "choices": [], "usage": usage(prompt_tokens, sum(tokens.values()))})
    yield "data: [DONE]\n\n"


async def _first_then_rest(answers: AsyncIterator[Arrays]) -> AsyncIterator[Arrays]:
    """Wait for the first answer, so that a request that fails at once fails before a stream was promised."""
    first = await anext(answers)

    async def rest() -> AsyncIterator[Arrays]:
        async with aclosing(answers):
            yield first
            async for answer in answers:
                yield answer

    return rest()


def _event(data: dict) -> str:
    return f"data: {json.dumps(data)}\n\n"


# --- embeddings and reranking -------------------------------------------------------------------------------------
async def embed(request: Request) -> Response:
    """``POST /v1/embeddings``: any served model with ``TEXT`` in and ``EMBEDDING`` out.

    Tokens are counted as they reach the encoder, markers included and cut at its limit.
    """
    asked = EmbeddingRequest.model_validate(await read_body(request))
    triton: AsyncTritonClient = request.app.state.triton
    signature = await triton.signature(asked.model, fresh=True)  # the server may outlive what it served first
    if not _is_embedder(signature):
        raise HTTPException(400, f"model {asked.model!r} makes no text embeddings; {TEXT_EMBEDDING!r} does")
    vectors = (await triton.infer(asked.model, {"TEXT": _rows(asked.texts)}, outputs=["EMBEDDING"]))["EMBEDDING"]
    tokens = 0
    for step in signature.steps:
        if "TEXT" in step.inputs.values():  # an ensemble hands out no counts, its tokenizer does
            tokens = await _token_count(triton, step.model, asked.texts, signature.max_batch_size)
    encode = _base64 if asked.encoding_format == "base64" else np.ndarray.tolist
    data = [{"object": "embedding", "index": i, "embedding": encode(vector)} for i, vector in enumerate(vectors)]
    counts = {"prompt_tokens": tokens, "total_tokens": tokens}
    return JSONResponse({"object": "list", "model": asked.model, "data": data, "usage": counts})


async def _token_count(triton: AsyncTritonClient, tokenizer: str, texts: list[str], limit: int) -> int:
    """Tokens of all texts; asked in requests of ``limit``, since each request has a width of its own."""
    tokens = 0
    for start in range(0, len(texts), limit):
        batch = {"TEXT": _rows(texts[start : start + limit])}
        answer = await triton.infer(tokenizer, batch, outputs=["attention_mask__1"])
        tokens += int(answer["attention_mask__1"].sum())
    return tokens


def _is_embedder(signature: ModelSignature) -> bool:
    return [spec.name for spec in signature.inputs] == ["TEXT"] and signature.outputs[0].name == "EMBEDDING"


def _rows(texts: list[str]) -> np.ndarray:
    """Texts as a column, ``[texts, 1]``."""
    return np.array(texts, dtype=object)[:, None]


def _base64(vector: np.ndarray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")


async def rerank(request: Request) -> Response:
    """No reranker is served."""
    raise HTTPException(501, "no reranker is served; order by the cosine of /v1/embeddings instead")


# --- errors -------------------------------------------------------------------------------------------------------
async def _serving_error(request: Request, error: ServingError) -> Response:
    status, kind = next(((s, k) for types, s, k in _STATUS if isinstance(error, types)), (500, "server_error"))
    code = "model_not_found" if status == 404 else None
    return JSONResponse(error_body(str(error), kind, code=code), status)


async def _validation_error(request: Request, error: ValidationError) -> Response:
    first = error.errors()[0]
    param = ".".join(map(str, first["loc"])) or None
    problem = first["msg"].removeprefix("Value error, ")
    said = f"{param}: {problem}" if param else problem
    return JSONResponse(error_body(said, "invalid_request_error", param=param), 400)


async def _http_error(request: Request, error: HTTPException) -> Response:
    kind = "invalid_request_error" if error.status_code < 500 else "server_error"
    return JSONResponse(error_body(str(error.detail), kind), error.status_code, error.headers)
