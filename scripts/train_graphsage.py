"""Train GraphSAGE on a product graph and write its weights with a manifest; rebuilds checkpoints/.

python scripts/train_graphsage.py                          the weights in checkpoints/
python scripts/train_graphsage.py --size full --device cuda --folder weights --resume
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from workshop.data.products import load_products
from workshop.errors import WorkshopError
from workshop.export.weights import MANIFEST
from workshop.files import sha256_of, write_text
from workshop.graph.baselines import METHODS, accuracy_of
from workshop.graph.checkpoint import save_model
from workshop.graph.product_training import (
    CONFIGS,
    about_training,
    measure_test_accuracy,
    weights_name,
)
from workshop.graph.training import EpochRecord, fit
from workshop.settings import load_settings


def main(arguments: list[str] | None = None) -> int:
    """Train, compare with simpler methods, write; the exit code is 1 when that failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=sorted(CONFIGS), default="default")
    parser.add_argument("--epochs", type=int, help="default: what suits the size")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--folder", type=Path, help="default: the setting WORKSHOP_CHECKPOINT_DIR")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted training")
    options = parser.parse_args(arguments)
    console = Console(soft_wrap=True)
    try:
        train(options, console)
    except WorkshopError as error:
        console.print(f"[red]failed[/red]  {error}")
        return 1
    return 0


def train(options: argparse.Namespace, console: Console) -> None:
    """Train as the options say."""
    settings = load_settings()
    folder = options.folder or settings.checkpoint_dir
    config = replace(CONFIGS[options.size], seed=options.seed)
    if options.epochs is not None:
        config = replace(config, max_epochs=options.epochs)
    products = load_products(settings, options.size)
    data = products.to_data()
    state_path = settings.data_dir / "graphsage" / f"training-{options.size}.pt"

    def report(record: EpochRecord) -> None:
        scores = "  ".join(f"{name} {value:.4f}" for name, value in record.scores.items())
        console.print(f"epoch {record.epoch + 1:3d}  loss {record.loss:.4f}  {scores}  {record.train_seconds:.1f} s")

    result = fit(data, config, state_path=state_path, resume=options.resume, device=options.device, on_epoch=report)
    accuracies = {"GraphSAGE": measure_test_accuracy(result.model, data)}
    for name, method in METHODS.items():
        accuracies[name] = accuracy_of(method(data), data, data.test_mask)
    path = folder / weights_name(products)
    save_model(path, result.model, about_training(products, accuracies, result.best_epoch + 1))
    manifest = {
        "origin": "trained by scripts/train_graphsage.py",
        "licence": "Apache-2.0",
        "data": {
            "name": products.name,
            "synthetic": products.synthetic,
            "products": products.num_products,
            "edges": products.edge_index.shape[1],
        },
        "training": asdict(config),
        "test_accuracy": accuracies,
        "files": {path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)}},
    }
    write_text(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    for name, value in accuracies.items():
        console.print(f"[green]test accuracy[/green]  {name}: {value:.4f}")


if __name__ == "__main__":
    sys.exit(main())
