"""Fine-tune the sentiment classifier on rated reviews; an interrupted training goes on where it was."""

from __future__ import annotations

import hashlib
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from workshop.data.sentiment import Reviews
from workshop.errors import CheckpointError, DataInvalidError
from workshop.files import replacing
from workshop.text.sentiment.model import SentimentClassifier, freeze_lower_layers, new_classifier, trained_state
from workshop.text.sources import TextModelSource

PREDICTION_TOKENS = 4096


@dataclass(frozen=True)
class SentimentTraining:
    """How the classifier is trained: AdamW, a linear rise over the first tenth of the steps, then a linear fall.

    Attributes:
        epochs: passes over the training reviews.
        learning_rate: peak, of the encoder's layers.
        head_learning_rate: peak, of the new linear layer.
        batch_size: reviews a step.
        max_tokens: training reviews are cut here.
        save_seconds: time between two saved states.
        seed: of the head, of dropout and of the order.
    """

    epochs: int = 1
    learning_rate: float = 1.5e-4
    head_learning_rate: float = 1e-3
    batch_size: int = 32
    max_tokens: int = 128
    save_seconds: float = 45.0
    seed: int = 0


@dataclass(frozen=True)
class Progress:
    """How far a training is: ``step`` of ``steps``, and the mean loss of the last steps (at most 50)."""

    step: int
    steps: int
    loss: float


def fine_tune(
    source: TextModelSource,
    reviews: Reviews,
    config: SentimentTraining,
    *,
    state_path: Path | None = None,
    on_step: Callable[[Progress], None] = lambda progress: None,
) -> SentimentClassifier:
    """Train on the sign of the reviews' ratings; reviews rated exactly 0 are left out.

    Args:
        source: the published encoder.
        reviews: training reviews.
        config: how.
        state_path: where the state is kept until the training ends; one of the same training that lies there is
            continued, to the same weights as without the interruption.
        on_step: told after each step.

    Returns:
        The classifier, in evaluation mode.

    Raises:
        DataInvalidError: the reviews are not both positive and negative.
        CheckpointError: ``state_path`` holds no training state, or that of another training.
    """
    reviews = reviews.take(reviews.decided)
    if len(set(reviews.labels.tolist())) < 2:
        raise DataInvalidError(f"{len(reviews)} reviews with a sign: expected positive and negative ones")
    model = new_classifier(source, config.seed)
    freeze_lower_layers(model)
    run = _Run(model, source, reviews, config)
    if state_path is not None and state_path.is_file():
        run.restore(state_path)
    losses: list[float] = []
    saved = time.monotonic()
    while run.step < run.steps:
        losses.append(run.advance())
        on_step(Progress(run.step, run.steps, float(np.mean(losses[-50:]))))
        if state_path is not None and time.monotonic() - saved > config.save_seconds:
            run.save(state_path)
            saved = time.monotonic()
    if state_path is not None:
        state_path.unlink(missing_ok=True)
    return model.eval()


class _Run:
    """A training under way: everything that the next step depends on."""

    def __init__(
        self, model: SentimentClassifier, source: TextModelSource, reviews: Reviews, config: SentimentTraining
    ) -> None:
        self.model, self.config = model, config
        self.tokenizer = source.tokenizer(config.max_tokens)
        self.token_ids = self.tokenizer.encode(reviews.texts)
        self.labels = torch.from_numpy(reviews.labels.astype(np.int64))
        self.batches = [batch for epoch in range(config.epochs) for batch in self._epoch(epoch)]
        head = list(model.head.parameters())
        layers = [p for p in model.encoder.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            [{"params": layers, "lr": config.learning_rate}, {"params": head, "lr": config.head_learning_rate}],
            weight_decay=0.01,
        )
        rise = max(1, self.steps // 10)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: min((step + 1) / rise, (self.steps - step) / max(1, self.steps - rise))
        )
        self.step = 0
        # a state is of this training only
        self.identity = {**asdict(config), "source": source.sha256, "reviews": _digest(self.token_ids, self.labels)}
        del self.identity["save_seconds"]
        model.train()

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return len(self.batches)

    def _epoch(self, epoch: int) -> list[np.ndarray]:
        """Batches of similar length in random order: shuffled, sorted inside pools of 20 batches."""
        generator = np.random.default_rng([self.config.seed, epoch])
        order = generator.permutation(len(self.token_ids))
        pool = 20 * self.config.batch_size
        batches = []
        for start in range(0, len(order), pool):
            rows = sorted(order[start : start + pool], key=lambda row: len(self.token_ids[row]))
            batches += [
                np.array(rows[i : i + self.config.batch_size]) for i in range(0, len(rows), self.config.batch_size)
            ]
        return [batches[i] for i in generator.permutation(len(batches))]

    def advance(self) -> float:
        """One step; returns its loss."""
        rows = self.batches[self.step]
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)  # dropout, also after a restart
        ids, mask = self.tokenizer.pad([self.token_ids[row] for row in rows])
        loss = nn.functional.cross_entropy(self.model(torch.from_numpy(ids), torch.from_numpy(mask)), self.labels[rows])
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([p for p in self.model.parameters() if p.requires_grad], 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        return float(loss.detach())

    def save(self, path: Path) -> None:
        """Write the state, atomically."""
        state = {
            "identity": self.identity,
            "step": self.step,
            "weights": trained_state(self.model),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        with replacing(path) as aside:
            torch.save(state, aside)

    def restore(self, path: Path) -> None:
        """Go on from a saved state."""
        hint = f"delete {path} to train anew"
        try:
            state = torch.load(path, weights_only=True)
            identity = state["identity"]
        except (RuntimeError, EOFError, OSError, KeyError, TypeError, pickle.UnpicklingError) as error:
            raise CheckpointError(f"{path}: not a training state: {error}", hint=hint) from error
        if identity != self.identity:
            differing = sorted(name for name, value in self.identity.items() if identity.get(name) != value)
            raise CheckpointError(f"{path}: state of another training; {', '.join(differing)} differ", hint=hint)
        self.model.load_state_dict(state["weights"], strict=False)
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.step = state["step"]


def _digest(token_ids: Sequence[Sequence[int]], labels: torch.Tensor) -> str:
    digest = hashlib.sha256(labels.numpy().tobytes())
    for ids in token_ids:
        digest.update(np.asarray(ids, dtype=np.int64).tobytes() + b"|")
    return digest.hexdigest()


def predict(model: SentimentClassifier, source: TextModelSource, texts: Sequence[str]) -> np.ndarray:
    """Probability that each text is positive: float64 ``[texts]``."""
    tokenizer = source.tokenizer()
    token_ids = tokenizer.encode(texts)
    probabilities = np.empty(len(texts))
    order = sorted(range(len(texts)), key=lambda row: len(token_ids[row]))
    start = 0
    with torch.inference_mode():
        while start < len(order):
            # sorted upwards: the batch may be as long as its first row allows
            rows = order[start : start + max(1, PREDICTION_TOKENS // max(32, 2 * len(token_ids[order[start]])))]
            ids, mask = tokenizer.pad([token_ids[row] for row in rows])
            logits = model(torch.from_numpy(ids), torch.from_numpy(mask))
            probabilities[rows] = torch.softmax(logits, dim=1)[:, 1].double().numpy()
            start += len(rows)
    return probabilities
