"""Put pictures of a finished run side by side for the README: ``python scripts/readme_picture.py [runs/<time>]``."""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "notebooks" / "img" / "result.png"
# notebook, and which of its pictures, counted from the end
PICTURES = (("05_classify_text_zero_shot", -2), ("06_recommend_movies", -1), ("07_recommend_products", -1))


def pictures(notebook: Path) -> list[bytes]:
    """The PNG outputs of an executed notebook, in order."""
    outputs = [output for cell in nbformat.read(notebook, 4).cells for output in cell.get("outputs", [])]
    return [base64.b64decode(o["data"]["image/png"]) for o in outputs if "image/png" in o.get("data", {})]


def main(arguments: list[str]) -> int:
    """Draw the latest run, or the one named."""
    run = Path(arguments[0]) if arguments else max((ROOT / "runs").glob("*/07_recommend_products.ipynb")).parent
    images = [
        plt.imread(io.BytesIO(pictures(run / f"{notebook}.ipynb")[index]), format="png") for notebook, index in PICTURES
    ]
    ratios = [image.shape[1] / image.shape[0] for image in images]
    figure, axes = plt.subplots(
        1, len(images), figsize=(4 * sum(ratios), 4), width_ratios=ratios, layout="constrained", dpi=110
    )
    for axis, image in zip(axes, images, strict=True):
        axis.imshow(image)
        axis.axis("off")
    figure.savefig(TARGET)
    print(f"{TARGET.relative_to(ROOT)} drawn from {run.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
