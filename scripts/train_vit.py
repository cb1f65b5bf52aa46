"""Train a small vision transformer on digits and write it with a manifest; rebuilds checkpoints/vit_digits.

python scripts/train_vit.py --epochs 40 --seed 0
"""

from __future__ import annotations

import argparse
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
from workshop.vision.vit import CHECKPOINT, DIGITS_CONFIG, new_digits_vit, pixel_values, train
from workshop.vision.vit_signatures import CHECKPOINT_FILES


def main(arguments: list[str] | None = None) -> int:
    """Train, measure on digits that were held out, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="default: vit_digits in the setting WORKSHOP_CHECKPOINT_DIR")
    options = parser.parse_args(arguments)
    folder = options.folder or load_settings().checkpoint_dir / CHECKPOINT
    console = Console(soft_wrap=True)
    size = {"height": DIGITS_CONFIG["image_size"], "width": DIGITS_CONFIG["image_size"]}
    processor = ViTImageProcessorPil(size=size)
    training, test = load_digits()
    model = new_digits_vit(options.seed)
    started = time.perf_counter()
    train(
        model,
        pixel_values(processor, training.images),
        training.labels,
        epochs=options.epochs,
        seed=options.seed,
        on_epoch=lambda epoch, loss: console.print(f"epoch {epoch + 1:3d}  loss {loss:.4f}"),
    )
    seconds = time.perf_counter() - started
    with torch.no_grad():
        predicted = model(torch.from_numpy(pixel_values(processor, test.images))).logits.argmax(dim=1).numpy()
    accuracy = float((predicted == test.labels).mean())
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    manifest = {
        "origin": "trained by scripts/train_vit.py",
        "licence": "Apache-2.0",
        "data": {"name": "scikit-learn digits", "training": len(training.labels), "test": len(test.labels)},
        "training": {"epochs": options.epochs, "seed": options.seed},
        "test_accuracy": accuracy,
        "files": {
            file: {"bytes": (folder / file).stat().st_size, "sha256": sha256_of(folder / file)}
            for file in CHECKPOINT_FILES
        },
    }
    write_text(folder / "manifest.json", json.dumps(manifest, indent=2) + "\n")
    console.print(f"[green]test accuracy[/green]  {accuracy:.4f} after {seconds:.0f} s, in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
