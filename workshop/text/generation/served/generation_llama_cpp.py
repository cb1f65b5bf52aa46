"""The llama.cpp engine: quantised weights in a GGUF file, run by the ``xllamacpp`` package."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence

import xllamacpp
from generation_rows import Piece, Row

CONTEXT = 2048
SLOTS = 4


class LlamaCppEngine:
    """A quantised model. Up to four rows run at a time, further ones wait; llama.cpp batches those that run.

    Args:
        gguf_file: path of the weights.
        threads: to compute with.
    """

    context = CONTEXT

    def __init__(self, gguf_file: str, *, threads: int) -> None:
        parameters = xllamacpp.CommonParams()
        parameters.model.path = gguf_file
        parameters.n_ctx = CONTEXT * SLOTS
        parameters.n_parallel = SLOTS
        parameters.verbosity = 0
        parameters.ui = False
        parameters.cache_ram_mib = 0
        for cpu in (parameters.cpuparams, parameters.cpuparams_batch):
            cpu.n_threads = threads
            cpu.poll = 0  # sleep instead of spinning for the next piece of work
        # its constructor also opens an HTTP port, which it binds to 127.0.0.1
        self._server = xllamacpp.Server(parameters)

    def generate(self, rows: Sequence[Row], is_cancelled: Callable[[int], bool]) -> Iterator[list[Piece]]:
        """Generate rows side by side; yields pieces as they come. Raises ``ValueError`` with llama.cpp's words."""
        news: queue.SimpleQueue[Piece | Exception] = queue.SimpleQueue()
        abandoned = threading.Event()

        def run(position: int) -> None:
            try:
                self._run_row(position, rows[position], news, lambda: abandoned.is_set() or is_cancelled(position))
            except Exception as error:
                news.put(error)

        threads = [threading.Thread(target=run, args=(position,), daemon=True) for position in range(len(rows))]
        for thread in threads:
            thread.start()
        unfinished = len(rows)
        try:
            while unfinished:
                piece = news.get()
                if isinstance(piece, Exception):
                    raise piece
                unfinished -= bool(piece.finish_reason)
                yield [piece]
        finally:
            abandoned.set()
            for thread in threads:
                thread.join()

    def _run_row(self, position: int, row: Row, news: queue.SimpleQueue, is_cancelled: Callable[[], bool]) -> None:
        tokens, ended = 0, False

        def take(answer: dict) -> bool:
            """Pass llama.cpp's answer on; returning true ends the generation."""
            nonlocal tokens, ended
            if "error" in answer:
                raise ValueError(answer["error"]["message"])
            if is_cancelled():
                return True
            tokens += 1
            choice = answer["choices"][0]
            reason = choice["finish_reason"] or ""
            if reason:
                tokens, ended = answer["usage"]["completion_tokens"], True
            news.put(Piece(position, choice["text"], tokens, reason))
            return False

        failures: list[Exception] = []

        def guarded(answer: dict) -> bool:
            # an exception must not travel through llama.cpp's C++ frames
            try:
                return take(answer)
            except Exception as error:
                failures.append(error)
                return True

        if not is_cancelled():
            self._server.handle_completions(_asked(row), guarded)
        if failures:
            raise failures[0]
        if not ended:
            news.put(Piece(position, "", tokens, "cancelled"))

    def close(self) -> None:
        """Stop llama.cpp and give its memory back."""
        del self._server


def _asked(row: Row) -> dict:
    """The request in llama.cpp's words; its own extra filters are off."""
    options = row.options
    return {
        "prompt": row.tokens,
        "n_predict": options.max_tokens,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "top_k": options.top_k,
        "min_p": 0.0,
        "seed": row.seed % 2**32,
        "stop": list(options.stop),
        "cache_prompt": False,  # a reused prefix changes the last bits, and so what a seed gives
        "stream": True,
    }
