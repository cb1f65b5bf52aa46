"""Training a small vision transformer on digits, and choosing how by cross-validation within the training part."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.model_selection import StratifiedKFold
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import ViTConfig, ViTForImageClassification

DIGITS_CONFIG = {
    "image_size": 8,
    "patch_size": 2,
    "num_channels": 3,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.1,  # 0.02 suits vectors of 768 numbers; these have 48
}


@dataclass(frozen=True)
class Warp:
    """How far a training picture is moved at random, evenly in both directions.

    Attributes:
        degrees: of rotation.
        shift: pixels, along each axis.
        scale: share by which it grows or shrinks.
    """

    degrees: float = 10.0
    shift: float = 0.5
    scale: float = 0.1


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Attributes:
        epochs: passes over the pictures.
        batch_size: pictures a step.
        learning_rate: after the warm-up; falls to zero along a cosine.
        warmup_steps: over which the learning rate rises.
        weight_decay: of AdamW.
        warp: changes every picture anew each time it is seen; ``None`` leaves them alone.
        average: weight of the past in a running average of the weights, which is then what is kept; 0 keeps the last.
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 3e-3
    warmup_steps: int = 50
    weight_decay: float = 0.05
    warp: Warp | None = None
    average: float = 0.0


RECIPES = {
    "plain": Recipe(epochs=40, batch_size=64, warmup_steps=0, weight_decay=0.01),
    "warped": Recipe(epochs=120, warp=Warp()),
    "warped, averaged": Recipe(epochs=120, warp=Warp(), average=0.98),
}


def new_digits_vit(seed: int) -> ViTForImageClassification:
    """An untrained small vision transformer for ten digits."""
    torch.manual_seed(seed)
    digits = {index: str(index) for index in range(10)}
    return ViTForImageClassification(
        ViTConfig(**DIGITS_CONFIG, id2label=digits, label2id={v: k for k, v in digits.items()})
    )


def train(
    model: ViTForImageClassification,
    pixels: np.ndarray,
    labels: np.ndarray,
    recipe: Recipe,
    *,
    seed: int,
    on_epoch: Callable[[int, float], None] = lambda epoch, loss: None,
) -> None:
    """Fit a classifier by cross-entropy; the model ends in evaluation mode.

    Args:
        model: changed in place.
        pixels: float32 ``[pictures, 3, size, size]``; where a warp shows what lies outside, it is -1.
        labels: int64 ``[pictures]``.
        recipe: how.
        seed: of the pictures' order, their warps, and dropout.
        on_epoch: called with the number of the epoch and its mean loss.
    """
    torch.manual_seed(seed)
    inputs, targets = torch.from_numpy(pixels), torch.from_numpy(labels)
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    steps = recipe.epochs * -(-len(inputs) // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps, recipe.warmup_steps))
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.average)) if recipe.average else None
    model.train()
    for epoch in range(recipe.epochs):
        losses = []
        for batch in torch.randperm(len(inputs)).split(recipe.batch_size):
            pictures = warped(inputs[batch], recipe.warp) if recipe.warp else inputs[batch]
            loss = nn.functional.cross_entropy(model(pictures).logits, targets[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            if averaged:
                averaged.update_parameters(model)
            losses.append(loss.item())
        on_epoch(epoch, float(np.mean(losses)))
    if averaged:
        model.load_state_dict(averaged.module.state_dict())
    model.eval()


def warped(pixels: torch.Tensor, warp: Warp) -> torch.Tensor:
    """Each picture of ``[pictures, channels, size, size]``, between -1 and 1, rotated, moved and scaled at random."""
    count, size = len(pixels), pixels.shape[-1]
    angle = (torch.rand(count) * 2 - 1) * math.radians(warp.degrees)
    scale = 1 + (torch.rand(count) * 2 - 1) * warp.scale
    shift = (torch.rand(count, 2) * 2 - 1) * warp.shift * 2 / size  # a picture is two units wide
    cosine, sine = angle.cos() * scale, angle.sin() * scale
    affine = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
    grid = nn.functional.affine_grid(torch.cat([affine, shift[..., None]], 2), list(pixels.shape), align_corners=False)
    return nn.functional.grid_sample(pixels + 1, grid, align_corners=False) - 1  # outside is 0, which must mean -1


def accuracy(model: ViTForImageClassification, pixels: np.ndarray, labels: np.ndarray) -> float:
    """Share of the pictures whose best class is right."""
    with torch.no_grad():
        predicted = model(torch.from_numpy(pixels)).logits.argmax(dim=1).numpy()
    return float((predicted == labels).mean())


def validation_accuracy(pixels: np.ndarray, labels: np.ndarray, recipe: Recipe, *, seed: int, folds: int) -> float:
    """Mean accuracy over ``folds`` parts of the pictures, each judged by a model that was trained on the others."""
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed).split(pixels, labels)
    scores = []
    for fold, (kept, held_out) in enumerate(parts):
        model = new_digits_vit(seed + fold)
        train(model, pixels[kept], labels[kept], recipe, seed=seed + fold)
        scores.append(accuracy(model, pixels[held_out], labels[held_out]))
    return float(np.mean(scores))


def _rate(step: int, steps: int, warmup: int) -> float:
    """Share of the full learning rate: a straight rise, then half a cosine down to zero."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
