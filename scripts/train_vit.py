"""Train a small vision transformer on digits and write it with a manifest; rebuilds checkpoints/vit_digits.

python scripts/train_vit.py
python scripts/train_vit.py --recipe "warped, averaged"

The recipe is chosen by cross-validation within the training part, unless one is named. The test part is looked at once,
by the finished model.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path

import torch
from rich.console import Console
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from workshop.data.digits import load_digits
from workshop.files import sha256_of, write_text
from workshop.settings import load_settings
from workshop.vision.vit import CHECKPOINT, pixel_values
from workshop.vision.vit_signatures import CHECKPOINT_FILES
from workshop.vision.vit_training import DIGITS_CONFIG, RECIPES, accuracy, new_digits_vit, train, validation_accuracy

FOLDS = 4


def main(arguments: list[str] | None = None) -> int:
    """Choose a recipe, train, measure on digits that were held out, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", choices=list(RECIPES), help="default: the best of all in cross-validation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="default: vit_digits in the setting WORKSHOP_CHECKPOINT_DIR")
    options = parser.parse_args(arguments)
    folder = options.folder or load_settings().checkpoint_dir / CHECKPOINT
    console = Console(soft_wrap=True)
    torch.set_num_threads(1)  # the model is too small for more, and sums are the same on every machine
    size = {"height": DIGITS_CONFIG["image_size"], "width": DIGITS_CONFIG["image_size"]}
    processor = ViTImageProcessorPil(size=size)
    training, test = load_digits()
    pixels = pixel_values(processor, training.images)
    validated = {}
    for name in [options.recipe] if options.recipe else RECIPES:
        found = validation_accuracy(pixels, training.labels, RECIPES[name], seed=options.seed, folds=FOLDS)
        validated[name] = round(found, 4)
        console.print(f"{name}: {found:.4f} in {FOLDS}-fold cross-validation")
    chosen = max(validated, key=validated.__getitem__)
    model = new_digits_vit(options.seed)
    started = time.process_time()
    train(
        model,
        pixels,
        training.labels,
        RECIPES[chosen],
        seed=options.seed,
        on_epoch=lambda epoch, loss: console.print(f"epoch {epoch + 1:3d}  loss {loss:.4f}"),
    )
    seconds = time.process_time() - started
    judged = accuracy(model, pixel_values(processor, test.images), test.labels)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    manifest = {
        "origin": "trained by scripts/train_vit.py",
        "licence": "Apache-2.0",
        "data": {"name": "scikit-learn digits", "training": len(training.labels), "test": len(test.labels)},
        "training": {
            "recipe": chosen,
            **dataclasses.asdict(RECIPES[chosen]),
            "seed": options.seed,
            "processor_seconds": round(seconds, 1),
        },
        "validation_accuracy": validated,
        "test_accuracy": round(judged, 4),
        "files": {
            file: {"bytes": (folder / file).stat().st_size, "sha256": sha256_of(folder / file)}
            for file in CHECKPOINT_FILES
        },
    }
    write_text(folder / "manifest.json", json.dumps(manifest, indent=2) + "\n")
    console.print(f"[green]test accuracy[/green]  {judged:.4f} after {seconds:.0f} s of processor time, in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
