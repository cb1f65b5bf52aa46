"""Ask a vision transformer, served in one of two ways, what pictures show.

python scripts/vit_client.py --model_name python_vit digit.png
python scripts/vit_client.py --model_name ensemble_vit a.png b.jpg

Without a picture, the first handwritten digits of scikit-learn are sent.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from workshop.data.digits import load_digits
from workshop.errors import DataInvalidError, WorkshopError
from workshop.settings import load_settings
from workshop.triton.client import TritonClient
from workshop.vision.preprocessing import PictureError, decode

SAMPLE = 5


def main(arguments: list[str] | None = None) -> int:
    """Send each picture and print its best class; the exit code is 1 when that failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model_name", choices=["python_vit", "ensemble_vit"], default="ensemble_vit")
    parser.add_argument("images", nargs="*", type=Path, metavar="IMAGE", help="default: digits of scikit-learn")
    options = parser.parse_args(arguments)
    try:
        with TritonClient.from_settings(load_settings()) as client:
            answered = [show(client, options.model_name, *named) for named in pictures(options.images)]
        if not answered:
            raise DataInvalidError("none of the files is a picture that can be used")
    except WorkshopError as error:
        print(f"FAIL: {error}", file=sys.stderr)
        return 1
    return 0


def show(client: TritonClient, model: str, name: str, image: np.ndarray) -> None:
    """Print one answer."""
    answer = client.infer(model, {"image": image[None]})
    probabilities = answer["probabilities"][0]
    best = int(probabilities.argmax())
    features = "x".join(map(str, answer["last_hidden_state"].shape[1:]))
    print(f"{name}: class {best} ({probabilities[best]:.3f}), features {features}")


def pictures(paths: list[Path]) -> Iterator[tuple[str, np.ndarray]]:
    """Names and uint8 ``[height, width, 3]``; files that cannot be used are named and left out."""
    if not paths:
        digits = load_digits()[1]
        for image, label in zip(digits.images[:SAMPLE], digits.labels, strict=False):
            yield f"a handwritten {label}", image
    for path in paths:
        try:
            yield path.name, np.asarray(decode(path.read_bytes()))
        except (PictureError, OSError) as error:
            print(f"skipped {path}: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
