"""Training the small vision transformer, and the checkpoint that came of it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from workshop.data.digits import load_digits
from workshop.errors import ModelSourceError
from workshop.files import sha256_of
from workshop.settings import load_settings
from workshop.vision.vit import load_processor, load_vit, pixel_values, shape_of, vit_checkpoint
from workshop.vision.vit_signatures import DIGITS_SHAPE
from workshop.vision.vit_training import (
    RECIPES,
    Recipe,
    Warp,
    accuracy,
    new_digits_vit,
    train,
    validation_accuracy,
    warped,
)

SHORT = Recipe(epochs=6, batch_size=32, warmup_steps=4)


@pytest.fixture(scope="module")
def digits():
    """Pixel values and labels of 256 training digits."""
    training = load_digits()[0]
    processor = ViTImageProcessorPil(size={"height": 8, "width": 8})
    return pixel_values(processor, training.images[:256]), training.labels[:256]


def trained(digits, recipe):
    model, losses = new_digits_vit(0), []
    train(model, *digits, recipe, seed=0, on_epoch=lambda epoch, loss: losses.append(loss))
    return model, losses


def test_training_learns_and_the_same_seed_gives_the_same_weights(digits):
    model, losses = trained(digits, SHORT)
    again, _ = trained(digits, SHORT)
    assert len(losses) == SHORT.epochs
    assert losses[-1] < losses[0] / 2
    assert accuracy(model, *digits) > 0.5
    assert not model.training
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_the_running_average_of_the_weights_is_what_is_kept(digits):
    last, _ = trained(digits, SHORT)
    mean, _ = trained(digits, Recipe(epochs=6, batch_size=32, warmup_steps=4, average=0.9))
    assert not torch.equal(last.classifier.weight, mean.classifier.weight)
    assert accuracy(mean, *digits) > 0.5


def test_warped_pictures_move_by_no_more_than_asked():
    dot = -torch.ones(64, 3, 8, 8)
    dot[:, :, 4, 4] = 1
    still = warped(dot, Warp(degrees=0, shift=0, scale=0))
    assert torch.allclose(still, dot, atol=1e-5)
    torch.manual_seed(0)
    moved = warped(dot, Warp(degrees=0, shift=1, scale=0))
    assert torch.equal(moved[:, 0], moved[:, 2])
    assert moved.min() >= -1 - 1e-5
    assert moved.max() <= 1 + 1e-5
    seen = (moved[:, 0] > -0.999).any(dim=0).nonzero()
    assert seen.min() >= 3
    assert seen.max() <= 5
    assert len({tuple(picture.flatten().tolist()) for picture in moved[:, 0]}) == 64


def test_cross_validation_judges_pictures_that_were_held_out(digits):
    pixels, labels = digits
    shuffled = np.random.default_rng(0).permutation(labels)
    score = validation_accuracy(pixels, shuffled, SHORT, seed=0, folds=2)
    assert score < 0.3, "labels without a pattern cannot be guessed unless the pictures were seen in training"
    assert validation_accuracy(pixels, labels, SHORT, seed=0, folds=2) > score


def test_the_checkpoint_is_the_one_that_its_manifest_describes():
    checkpoint = vit_checkpoint("", load_settings().checkpoint_dir)
    manifest = json.loads((checkpoint.folder / "manifest.json").read_text())
    for file, facts in manifest["files"].items():
        path = checkpoint.folder / file
        assert (path.stat().st_size, sha256_of(path)) == (facts["bytes"], facts["sha256"])
    assert sum(facts["bytes"] for facts in manifest["files"].values()) <= 8_000_000
    best = max(manifest["validation_accuracy"], key=manifest["validation_accuracy"].get)
    assert manifest["training"]["recipe"] == best
    assert RECIPES[best].epochs == manifest["training"]["epochs"]
    model, test = load_vit(checkpoint), load_digits()[1]
    assert shape_of(model) == DIGITS_SHAPE
    judged = accuracy(model, pixel_values(load_processor(checkpoint), test.images), test.labels)
    assert judged == pytest.approx(manifest["test_accuracy"], abs=1 / len(test.labels))
    assert judged >= 0.975


def test_a_folder_that_is_no_checkpoint_is_named(tmp_path):
    with pytest.raises(ModelSourceError, match=r"lacks config.json, model.safetensors, preprocessor_config.json"):
        vit_checkpoint(str(tmp_path), tmp_path)
    with pytest.raises(ModelSourceError, match=r"train_vit.py"):
        vit_checkpoint("", tmp_path)


@pytest.fixture
def copied(tmp_path):
    """A copy of the checkpoint's folder, to damage."""
    return Path(shutil.copytree(vit_checkpoint("", load_settings().checkpoint_dir).folder, tmp_path / "copied"))


def test_weights_that_are_none_are_named(copied):
    (copied / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelSourceError, match="copied did not load: "):
        load_vit(vit_checkpoint(str(copied), copied))


def test_a_model_of_another_architecture_is_named(copied):
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    with pytest.raises(ModelSourceError, match="a model of type 'bert', expected 'vit'"):
        load_vit(vit_checkpoint(str(copied), copied))


def test_a_checkpoint_without_a_classifier_is_refused_rather_than_filled_with_random_numbers(copied):
    weights = load_file(copied / "model.safetensors")
    headless = {name: tensor for name, tensor in weights.items() if not name.startswith("classifier")}
    save_file(headless, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelSourceError, match=r"lacks the weights classifier.bias, classifier.weight"):
        load_vit(vit_checkpoint(str(copied), copied))
