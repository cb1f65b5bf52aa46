"""scikit-learn's handwritten digits as pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_digits as sklearn_digits
from sklearn.model_selection import train_test_split


@dataclass(frozen=True)
class Digits:
    """Pictures and what they show.

    Attributes:
        images: uint8 ``[pictures, 8, 8, 3]``, grey.
        labels: int64 ``[pictures]``, 0 to 9.
    """

    images: np.ndarray
    labels: np.ndarray


def load_digits(test_share: float = 0.25, seed: int = 0) -> tuple[Digits, Digits]:
    """The 1,797 digits in two parts, training and test, with equal shares of every digit.

    Source: https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits
    """
    data = sklearn_digits()
    grey = np.round(data.images * (255 / 16)).astype(np.uint8)
    images, labels = np.repeat(grey[..., None], 3, axis=-1), data.target.astype(np.int64)
    parts = train_test_split(images, labels, test_size=test_share, stratify=labels, random_state=seed)
    train_images, test_images, train_labels, test_labels = parts
    return Digits(train_images, train_labels), Digits(test_images, test_labels)
