"""What clients of the OpenAI API send, checked, and what they are answered: https://platform.openai.com/docs/api-reference."""

from __future__ import annotations

import json
import time
import uuid
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.exceptions import HTTPException
from starlette.requests import Request

from workshop.triton.transport import Parameters

LARGEST_BODY = 8 * 2**20
"""Bytes of a request: far more text than any of the models takes."""


class _Request(BaseModel):
    """Fields that are not listed, such as ``user``, are ignored; listed ones that allow one value only are refused."""

    model_config = ConfigDict(extra="ignore")


class Sampling(_Request):
    """What completions and chat completions share."""

    model: str
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float = Field(1.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    n: int = Field(1, ge=1, le=16)
    seed: int | None = Field(None, ge=0, lt=2**63)
    stop: str | list[str] | None = None
    stream: bool = False
    stream_options: dict[str, bool] | None = None
    logprobs: Literal[False, None] = None
    tools: Literal[None] = None
    response_format: Literal[None] = None

    def parameters(self, prompt_format: str) -> Parameters:
        """The served generator's request parameters."""
        asked: dict[str, str | int | float | bool] = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "num_sequences": self.n,
            "prompt_format": prompt_format,
        }
        if limit := self.max_completion_tokens or self.max_tokens:
            asked["max_tokens"] = limit
        if self.seed is not None:
            asked["seed"] = self.seed
        if self.stop:
            asked["stop"] = json.dumps([self.stop] if isinstance(self.stop, str) else self.stop)
        return asked

    @property
    def wants_usage(self) -> bool:
        """Whether a stream is to end with its token counts."""
        return bool((self.stream_options or {}).get("include_usage"))


class CompletionRequest(Sampling):
    """``POST /v1/completions``."""

    prompt: str | list[str]
    echo: bool = False

    @property
    def prompts(self) -> list[str]:
        """The prompts as a list."""
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt


class Message(_Request):
    """One message of a chat; its content is a text or a list of text parts."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str

    @field_validator("content", mode="before")
    @classmethod
    def _joined(cls, content: object) -> object:
        if isinstance(content, list) and all(isinstance(p, dict) and p.get("type") == "text" for p in content):
            return "".join(str(part.get("text", "")) for part in content)
        return content


class ChatRequest(Sampling):
    """``POST /v1/chat/completions``."""

    messages: list[Message] = Field(min_length=1)

    @property
    def prompt(self) -> str:
        """The messages as the served generator reads them."""
        roles = {"developer": "system"}
        return json.dumps([{"role": roles.get(m.role, m.role), "content": m.content} for m in self.messages])


class EmbeddingRequest(_Request):
    """``POST /v1/embeddings``."""

    model: str
    input: str | list[str] = Field(min_length=1)
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Literal[None] = None

    @property
    def texts(self) -> list[str]:
        """The inputs as a list."""
        return [self.input] if isinstance(self.input, str) else self.input


async def read_body(request: Request) -> object:
    """The JSON that a request holds.

    Raises:
        HTTPException: it has more than :data:`LARGEST_BODY` bytes, or is no JSON.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise HTTPException(413, f"the body has more than {LARGEST_BODY} bytes", headers={"Connection": "close"})
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from error


def head(kind: str, model: str, prefix: str) -> dict[str, object]:
    """The fields that every answer begins with."""
    return {"id": f"{prefix}-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": model}


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """Token counts of a request."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def error_body(message: str, kind: str, *, code: str | None = None, param: str | None = None) -> dict[str, object]:
    """An error as the API's clients read it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
