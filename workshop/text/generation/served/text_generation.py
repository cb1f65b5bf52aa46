"""Python-backend model: any causal language model of the Hub, answering whole texts or streaming them.

``config.pbtxt`` says which: ``huggingface_model`` (folder or Hub id on this machine), ``max_length`` (tokens generated
when a request does not say), ``engine`` (``torch``, with ``precision``; or ``llama.cpp``, with ``gguf_file``), and by
its transaction policy whether the model streams.
"""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Iterator, Sequence

import numpy as np
import triton_python_backend_utils as pb_utils
from generation_options import Options, read_options
from generation_rows import Piece, Prompts, Row

MAX_ROWS = 32  # rows of one batch: their keys and values are what needs memory
MAX_STREAMS = 8  # streams that advance at a time; later ones wait for a place


class TritonPythonModel:
    """``prompt`` (BYTES ``[batch, 1]``) to ``text``; when decoupled, ``text_input`` to a stream of ``text_output``."""

    def initialize(self, args):
        """Load tokenizer and engine; only files on this machine are used."""
        config = json.loads(args["model_config"])
        parameters = {name: value["string_value"] for name, value in config["parameters"].items()}
        model = os.path.expandvars(parameters["huggingface_model"])
        self.max_length = int(parameters["max_length"])
        self.prompts = Prompts(model)
        self.engine = _engine(parameters, model, self.prompts, _device(args))
        self.family = pb_utils.MetricFamily(
            name="generated_tokens",
            description="Tokens that text generators have made",
            kind=pb_utils.MetricFamily.COUNTER,
        )
        self.generated = self.family.Metric(labels={"model": args["model_name"]})
        decoupled = config.get("model_transaction_policy", {}).get("decoupled", False)
        self.streams = Streams(int(parameters.get("max_streams", MAX_STREAMS))) if decoupled else None

    def execute(self, requests):
        """Answer the requests as one batch, or hand each to the streams, which answer later."""
        if self.streams is None:
            return self._answer(requests)
        for request in requests:
            self.streams.add(self._stream(request, request.get_response_sender()))
        return None

    def finalize(self):
        """Stop the streams and free the memory."""
        if self.streams is not None:
            self.streams.close()
        self.engine.close()

    # --- whole texts ------------------------------------------------------------------------------------------
    def _answer(self, requests):
        """One response a request; a request that is wrong fails alone."""
        rows: list[Row] = []
        owner: list[int] = []
        spans: list[range | str] = []
        for number, request in enumerate(requests):
            try:
                own = self._rows(_texts(request, "prompt"), self._options(request))
            except ValueError as error:
                spans.append(str(error))
                continue
            spans.append(range(len(rows), len(rows) + len(own)))
            rows += own
            owner += [number] * len(own)
        ended: dict[int, Piece] = {}
        texts = [""] * len(rows)
        for start in range(0, len(rows), MAX_ROWS):
            for pieces in self._generate(
                rows[start : start + MAX_ROWS], lambda row, start=start: requests[owner[start + row]].is_cancelled()
            ):
                for piece in pieces:
                    texts[start + piece.row] += piece.text
                    ended[start + piece.row] = piece
        return [_response(request, span, rows, texts, ended) for request, span in zip(requests, spans, strict=True)]

    # --- streams ----------------------------------------------------------------------------------------------
    def _stream(self, request, sender) -> Iterator[None]:
        """Send a request's tokens as they come; every ``next`` is one token."""
        try:
            (prompt,) = _texts(request, "text_input")
            options = self._options(request)
            rows = self._rows([prompt], options)
            if options.return_full_text:
                for number in range(len(rows)):
                    sender.send(_chunk(Piece(number, prompt, 0), len(rows[number].tokens)))
            for pieces in self._generate(rows, lambda row: request.is_cancelled()):
                for piece in pieces:
                    if (piece.text or piece.finish_reason) and not request.is_cancelled():
                        sender.send(_chunk(piece, len(rows[piece.row].tokens)))
                yield
        except ValueError as error:
            sender.send(_error(str(error)))
        except Exception as error:
            sender.send(_error(f"generation failed: {type(error).__name__}: {error}"))
        finally:
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    # --- both -------------------------------------------------------------------------------------------------
    def _options(self, request) -> Options:
        parameters = json.loads(request.parameters() or "{}")
        return read_options(parameters, max_length=self.max_length, chat=self.prompts.has_template)

    def _rows(self, prompts: Sequence[str], options: Options) -> list[Row]:
        rows: list[Row] = []
        for number, prompt in enumerate(prompts):
            try:
                rows += self.prompts.rows(prompt, options, self.engine.context)
            except ValueError as error:
                raise ValueError(f"prompt {number}: {error}") from error
        return rows

    def _generate(self, rows, is_cancelled) -> Iterator[list[Piece]]:
        """The engine's pieces; their tokens are counted in the server's metric ``generated_tokens``."""
        made = [0] * len(rows)
        for pieces in self.engine.generate(rows, is_cancelled):
            self.generated.increment(sum(piece.tokens - made[piece.row] for piece in pieces))
            for piece in pieces:
                made[piece.row] = piece.tokens
            yield pieces


class Streams:
    """Advances every open stream by one token in turn, in a thread of its own.

    Args:
        places: streams that advance at a time.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._waiting: queue.SimpleQueue[Iterator[None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="streams")
        self._thread.start()

    def add(self, stream: Iterator[None]) -> None:
        """Let a stream begin as soon as there is a place."""
        self._waiting.put(stream)

    def close(self) -> None:
        """End all streams and the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        active: list[Iterator[None]] = []
        while True:
            while len(active) < self._places and (not active or not self._waiting.empty()):
                stream = self._waiting.get()
                if stream is None:
                    for open_stream in active:
                        open_stream.close()
                    return
                active.append(stream)
            active = [stream for stream in active if next(stream, _ENDED) is not _ENDED]


_ENDED = object()


def _engine(parameters: dict[str, str], model: str, prompts: Prompts, device: str):
    """The engine that ``config.pbtxt`` names; the other one's packages are not needed."""
    name = parameters.get("engine", "torch")
    if name == "torch":
        from generation_torch import TorchEngine

        return TorchEngine(model, prompts.tokenizer, precision=parameters.get("precision", "fp32"), device=device)
    if name == "llama.cpp":
        from generation_llama_cpp import LlamaCppEngine

        # its threads wait for each other after every layer, so one that shares its core with the server holds up all
        threads = max(1, len(os.sched_getaffinity(0)) - 1)
        return LlamaCppEngine(os.path.expandvars(parameters["gguf_file"]), threads=threads)
    raise ValueError(f"parameter engine must be torch or llama.cpp, got {name!r}")


def _device(args) -> str:
    return f"cuda:{args['model_instance_device_id']}" if args["model_instance_kind"] == "GPU" else "cpu"


def _texts(request, name: str) -> list[str]:
    values = pb_utils.get_input_tensor_by_name(request, name).as_numpy().reshape(-1)
    try:
        return [value.decode("utf-8") for value in values]
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8: {error}") from error


def _response(request, span: range | str, rows: list[Row], texts: list[str], ended: dict[int, Piece]):
    """The response to one request: ``[prompts, sequences]`` texts with why and after how many tokens each ended."""
    if isinstance(span, str):
        return _error(span)
    if request.is_cancelled():
        return _error("the client cancelled the request", pb_utils.TritonError.CANCELLED)
    options = rows[span[0]].options
    shape = (-1, options.num_sequences)
    if options.return_full_text:
        prompts = _texts(request, "prompt")
        for position, row in enumerate(span):
            texts[row] = prompts[position // options.num_sequences] + texts[row]
    each = span[:: options.num_sequences]
    return pb_utils.InferenceResponse(
        [
            pb_utils.Tensor("text", _bytes([texts[row] for row in span]).reshape(shape)),
            pb_utils.Tensor("finish_reason", _bytes([ended[row].finish_reason for row in span]).reshape(shape)),
            pb_utils.Tensor(
                "completion_tokens", np.array([ended[row].tokens for row in span], dtype=np.int32).reshape(shape)
            ),
            pb_utils.Tensor("prompt_tokens", np.array([[len(rows[row].tokens)] for row in each], dtype=np.int32)),
        ]
    )


def _chunk(piece: Piece, prompt_tokens: int):
    return pb_utils.InferenceResponse(
        [
            pb_utils.Tensor("text_output", _bytes([piece.text])),
            pb_utils.Tensor("index", np.array([piece.row], dtype=np.int32)),
            pb_utils.Tensor("finish_reason", _bytes([piece.finish_reason])),
            pb_utils.Tensor("completion_tokens", np.array([piece.tokens], dtype=np.int32)),
            pb_utils.Tensor("prompt_tokens", np.array([prompt_tokens], dtype=np.int32)),
        ]
    )


def _bytes(texts: Sequence[str]) -> np.ndarray:
    array = np.empty(len(texts), dtype=object)
    array[:] = [text.encode("utf-8") for text in texts]
    return array


def _error(message: str, code=None):
    # Triton fills its module in when the model starts, so the default cannot stand in the signature
    code = pb_utils.TritonError.INVALID_ARG if code is None else code
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
