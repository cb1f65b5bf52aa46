"""What went wrong at a server, as an error of our own tree: by status code, by text where the code leaves it open."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from concurrent.futures import TimeoutError as FutureTimeoutError

from tritonclient.utils import InferenceServerException

from workshop.errors import (
    InferenceError,
    ModelNotFoundError,
    ModelNotReadyError,
    ServerBusyError,
    ServerUnreachableError,
    ServingAuthError,
    ServingError,
    ServingTimeoutError,
    TensorNameError,
    TensorShapeError,
    TensorTypeError,
)
from workshop.logs import mention
from workshop.triton.transport import ModelState

# Triton's own mapping of its error codes to HTTP, and what proxies before it answer:
# https://github.com/triton-inference-server/server/blob/main/src/http_server.cc
_HTTP = {
    "400": "INVALID_ARGUMENT",
    "401": "UNAUTHENTICATED",
    "403": "PERMISSION_DENIED",
    "404": "NOT_FOUND",
    "408": "DEADLINE_EXCEEDED",
    "429": "RESOURCE_EXHAUSTED",
    "499": "CANCELLED",
    "500": "INTERNAL",
    "501": "UNIMPLEMENTED",
    "502": "UNAVAILABLE",
    "503": "UNAVAILABLE",
    "504": "DEADLINE_EXCEEDED",
}
_KINDS: dict[str, type[ServingError]] = {
    "UNAUTHENTICATED": ServingAuthError,
    "PERMISSION_DENIED": ServingAuthError,
    "NOT_FOUND": ModelNotFoundError,
    "DEADLINE_EXCEEDED": ServingTimeoutError,
    "UNAVAILABLE": ServerUnreachableError,
}

_Patterns = tuple[tuple[str, type[ServingError]], ...]
# anchored, since a message may quote a model's own words
_START = r"^(\[request id: [^\]]*\] )?"
_TENSORS: _Patterns = (
    (_START + r"(unexpected inference (in|out)put|expected \d+ inputs but got)", TensorNameError),
    (_START + r"inference input '[^']*' data-type is '", TensorTypeError),
    (_START + r"(unexpected shape for input|inference request batch-size)", TensorShapeError),
)
# What one code covers several of: the text is all there is to tell them apart.
_WITHIN: dict[str | None, _Patterns] = {
    "INVALID_ARGUMENT": (*_TENSORS, (r"^requested model '[^']*' is not available$", ModelNotFoundError)),
    "UNAVAILABLE": (
        (r"exceeds maximum queue size", ServerBusyError),
        (r"request timeout expired", ServingTimeoutError),
        (r"is restricted, expecting header", ServingAuthError),
        (r"explicit model load / unload is not allowed", ServingError),
        (r"has no available versions|is not ready$", ModelNotReadyError),
    ),
    # the Python backend does not replace a process that died, https://github.com/triton-inference-server/server/issues/8604
    "INTERNAL": ((_START + r"(Failed to process .*)?Stub process '[^']*' is not healthy", ModelNotReadyError),),
    "RESOURCE_EXHAUSTED": ((r"message larger than max", InferenceError), (r"", ServerBusyError)),
    # an error inside a stream comes without a code
    None: (
        *_TENSORS,
        (r"^request for unknown model: '[^']*' (version \S+ )?is not found", ModelNotFoundError),
        (r"^request for unknown model: '[^']*' has no available versions", ModelNotReadyError),
        (r"exceeds maximum queue size", ServerBusyError),
    ),
}
_HINTS = {
    ModelNotFoundError: "python scripts/model_repository.py check",
    ModelNotReadyError: "run the notebook that traces the model, then client.load_model(name); if the model's process "
    "died, make up, which starts it anew; or make status",
    ServerBusyError: "send fewer requests at a time, or later",
    ServingAuthError: "set WORKSHOP_TRITON_HEADERS to what the server, or the proxy before it, asks for; "
    "WORKSHOP_TRITON_CONTROL_KEY where it restricts the loading of models",
    ServingTimeoutError: "raise WORKSHOP_TRITON_TIMEOUT, or make status",
}
_CERTIFICATE = re.compile(r"certificate|ssl|tls", re.IGNORECASE)


def translate(error: Exception, url: str, asked: str, request_id: str = "") -> ServingError:
    """The error of our tree that says what ``error`` means; ``asked`` names what was attempted."""
    if isinstance(error, ServingError):
        return error
    if isinstance(error, (TimeoutError, FutureTimeoutError, asyncio.TimeoutError)):
        return _late(url, asked, mention(str(error), request_id))
    if isinstance(error, OSError):
        return _unreachable(url, asked, mention(str(error), request_id))
    text, code = _said(error)
    kind = _kind(text, code)
    text = mention(text, request_id)
    if kind is ServingTimeoutError:
        return _late(url, asked, text)
    if kind is ServerUnreachableError:
        return _unreachable(url, asked, text)
    if kind is ServingError:
        return ServingError(f"{asked} at {url}: {text}", hint="start tritonserver with --model-control-mode=explicit")
    return kind(f"{asked} at {url}: {text}", hint=_HINTS.get(kind))


def absence(states: Iterable[ModelState], model: str, url: str) -> ServingError | None:
    """Why a model does not serve, by the server's repository index; ``None`` where it does, or is about to."""
    states = list(states)
    found = [state for state in states if state.name == model]
    if not found:
        held = sorted({state.name for state in states})
        return ModelNotFoundError(
            f"model {model!r} is not in the repository of {url}; it holds {held}",
            hint="run the notebook that traces the model",
        )
    if any(state.state in ("READY", "LOADING") for state in found):
        return None
    reason = next((state.reason for state in found if state.reason), "it was never loaded")
    return ModelNotReadyError(f"model {model!r} at {url} is not loaded: {reason}", hint=_HINTS[ModelNotReadyError])


def without_index(error: ServingError, second: Exception, url: str) -> ServingError:
    """The account to give of ``error`` when the question after the repository index failed with ``second``.

    A server that answers and has no index is no Triton; one that keeps its index to itself leaves ``error`` as it is.
    """
    if isinstance(translate(second, url, "repository index"), (ModelNotFoundError, InferenceError)):
        return ServerUnreachableError(
            f"what answers at {url} is no Triton server", hint="check host and port: WORKSHOP_TRITON_HOST and its kin"
        )
    return error


def silent(url: str, timeout: float) -> ServerUnreachableError:
    """The error of a wait of ``timeout`` seconds in which no server answered."""
    return ServerUnreachableError(
        f"no Triton server answered at {url} within {timeout:.0f} s", hint="make up, then make status"
    )


def unready(model: str, url: str, timeout: float) -> ModelNotReadyError:
    """The error of a wait of ``timeout`` seconds in which a model was not ready."""
    return ModelNotReadyError(f"model {model!r} at {url} was not ready within {timeout:.0f} s", hint="make status")


def _late(url: str, asked: str, text: str) -> ServingTimeoutError:
    said = f" ({text})" if text else ""
    return ServingTimeoutError(
        f"{asked} at {url}: no answer within the time allowed{said}", hint=_HINTS[ServingTimeoutError]
    )


def _unreachable(url: str, asked: str, text: str) -> ServerUnreachableError:
    hint = "make up"
    if _CERTIFICATE.search(text):
        hint = "WORKSHOP_TRITON_TLS_CA names the authority that signed the server's certificate; see README.md"
    return ServerUnreachableError(f"{asked}: no Triton server answers at {url} ({text})", hint=hint)


def _kind(text: str, code: str | None) -> type[ServingError]:
    for pattern, kind in _WITHIN.get(code, ()):
        if re.search(pattern, text, re.IGNORECASE):
            return kind
    return _KINDS.get(code or "", InferenceError)


def _said(error: Exception) -> tuple[str, str | None]:
    """The server's words, and its status by the name gRPC has for it.

    A TorchScript stack trace is cut to its last line, which says what went wrong.
    """
    if not isinstance(error, InferenceServerException):
        return f"{type(error).__name__}: {error}", None
    text = error.message() or ""
    if "TorchScript" in text and "Traceback" in text:
        text = f"{text.split('The following operation', 1)[0].strip()} {text.strip().splitlines()[-1].strip()}"
    status = error.status()
    return text, _HTTP.get(status, status.removeprefix("StatusCode.")) if status else None
