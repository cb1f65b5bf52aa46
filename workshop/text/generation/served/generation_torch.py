"""The PyTorch engine: rows of unequal prompts generate together, each with its own sampling, stop texts and seed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence

import torch
from generation_packed import pack_linears
from generation_rows import Piece, Row, StopScanner
from tokenizers.decoders import DecodeStream
from transformers import (
    AutoModelForCausalLM,
    DynamicCache,
    LogitsProcessorList,
    PreTrainedTokenizerBase,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEngine:
    """A causal language model of the Hub.

    Args:
        model: folder or Hub id; only what is on this machine is used.
        tokenizer: of the model.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        device: such as ``cpu`` or ``cuda:0``.
    """

    def __init__(self, model: str, tokenizer: PreTrainedTokenizerBase, *, precision: str, device: str) -> None:
        if precision not in DTYPES:
            raise ValueError(f"precision must be one of {', '.join(DTYPES)}, got {precision!r}")
        self._device = device
        self._tokenizer = tokenizer
        self._model = AutoModelForCausalLM.from_pretrained(model, dtype=DTYPES[precision], local_files_only=True)
        self._model.eval().requires_grad_(False).to(device)
        self.context: int = self._model.config.max_position_embeddings
        ends = self._model.generation_config.eos_token_id
        self._ends = frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends])
        pad = tokenizer.pad_token_id
        self._pad = pad if pad is not None else min(self._ends, default=0)  # masked out, so any token would do
        self._takes = set(inspect.signature(self._model.forward).parameters)
        pack_linears(self._model)

    def generate(self, rows: Sequence[Row], is_cancelled: Callable[[int], bool]) -> Iterator[list[Piece]]:
        """Generate all rows as one left-padded batch; a row leaves the batch when it ends.

        Args:
            rows: what to generate.
            is_cancelled: asked before every step, with a row's position.

        Yields:
            After every step the pieces of the rows that ran.
        """
        ids, mask = self._left_padded(rows)
        cache = DynamicCache(config=self._model.config)
        live = [_LiveRow(position, row, self._tokenizer, self._ends) for position, row in enumerate(rows)]
        while live:
            cancelled = [row for row in live if is_cancelled(row.position)]
            if cancelled:
                yield [row.cancel() for row in cancelled]
                live, ids, mask = _keep(live, ids, mask, cache)
                continue
            logits = self._forward(ids, mask, cache)
            pieces = [row.advance(scores) for row, scores in zip(live, logits, strict=True)]
            yield pieces
            ids = torch.tensor([[row.last] for row in live], device=self._device)
            mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
            live, ids, mask = _keep(live, ids, mask, cache)

    def _left_padded(self, rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and mask, int64 ``[rows, longest]``; the prompts end together, where generation begins."""
        longest = max(len(row.tokens) for row in rows)
        ids = torch.full((len(rows), longest), self._pad)
        mask = torch.zeros_like(ids)
        for position, row in enumerate(rows):
            ids[position, longest - len(row.tokens) :] = torch.tensor(row.tokens)
            mask[position, longest - len(row.tokens) :] = 1
        return ids.to(self._device), mask.to(self._device)

    @torch.inference_mode()
    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, cache: DynamicCache) -> torch.Tensor:
        """Scores of the next token, float32 ``[rows, vocabulary]``; ``cache`` grows by the tokens of ``ids``."""
        inputs = {"input_ids": ids, "attention_mask": mask, "past_key_values": cache, "use_cache": True}
        if "position_ids" in self._takes:
            inputs["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.size(1) :]
        if "logits_to_keep" in self._takes:
            inputs["logits_to_keep"] = 1
        return self._model(**inputs).logits[:, -1].float()

    def close(self) -> None:
        """Give the weights' memory back."""
        del self._model
        if self._device != "cpu":
            torch.cuda.empty_cache()


class _LiveRow:
    """A row that generates: its sampling, its text so far, and whether it has ended."""

    def __init__(self, position: int, row: Row, tokenizer: PreTrainedTokenizerBase, ends: frozenset[int]) -> None:
        options = row.options
        self.position = position
        self.last = -1
        self.finish_reason = ""
        self._tokens = 0
        self._max_tokens = options.max_tokens
        self._ends = ends
        self._backend = tokenizer.backend_tokenizer
        self._decoder = DecodeStream(skip_special_tokens=True)
        self._scanner = StopScanner(options.stop)
        self._greedy = options.temperature == 0
        self._generator = torch.Generator().manual_seed(row.seed)
        self._warpers = LogitsProcessorList()
        if not self._greedy:
            self._warpers.append(TemperatureLogitsWarper(options.temperature))
        if options.top_k:
            self._warpers.append(TopKLogitsWarper(options.top_k))
        if options.top_p < 1:
            self._warpers.append(TopPLogitsWarper(options.top_p))

    def advance(self, scores: torch.Tensor) -> Piece:
        """Choose the next token from its scores ``[vocabulary]``."""
        self.last = self._choose(scores)
        self._tokens += 1
        if self.last in self._ends:
            return self._end("stop", self._scanner.rest())
        text, stopped = self._scanner.feed(self._decoder.step(self._backend, self.last) or "")
        if stopped:
            return self._end("stop", text)
        if self._tokens == self._max_tokens:
            return self._end("length", text + self._scanner.rest())
        return Piece(self.position, text, self._tokens)

    def cancel(self) -> Piece:
        """End the row without another token."""
        return self._end("cancelled", "")

    def _choose(self, scores: torch.Tensor) -> int:
        if self._greedy:
            return int(scores.argmax())
        # on the processor whatever the device, so that a seed gives the same text everywhere
        probabilities = self._warpers(None, scores[None].cpu()).softmax(dim=1)
        return int(torch.multinomial(probabilities, 1, generator=self._generator))

    def _end(self, reason: str, text: str) -> Piece:
        self.finish_reason = reason
        return Piece(self.position, text, self._tokens, reason)


def _keep(
    live: list[_LiveRow], ids: torch.Tensor, mask: torch.Tensor, cache: DynamicCache
) -> tuple[list[_LiveRow], torch.Tensor, torch.Tensor]:
    """Drop the rows that have ended from the batch and from the cache."""
    kept = [index for index, row in enumerate(live) if not row.finish_reason]
    if len(kept) == len(live):
        return live, ids, mask
    index = torch.tensor(kept, dtype=torch.int64, device=ids.device)
    if kept and cache.get_seq_length():
        cache.batch_select_indices(index)
    return [live[position] for position in kept], ids[index], mask[index]
