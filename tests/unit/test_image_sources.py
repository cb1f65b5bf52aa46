"""Where image classifiers come from: the installed one, and what other libraries' descriptions become."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from workshop.errors import ModelSourceError
from workshop.vision import sources
from workshop.vision.preprocessing import Preprocessing
from workshop.vision.signatures import EFFICIENTNET_LITE0
from workshop.vision.sources import image_model, imagenet_labels

IMAGENET = {"mean": (0.5, 0.4, 0.25), "std": (0.25, 0.2, 0.1)}
SCALED = {"mean": (127.5, 102.0, 63.75), "deviation": (63.75, 51.0, 25.5)}


def classifier(classes):
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, classes)).train()
    module.num_classes = classes
    return module


@pytest.fixture
def timm(monkeypatch):
    """A stand-in with timm's interface, whose wheel needs a torch with CUDA; returns what its model is like."""
    crop = {"crop_pct": 0.9, "crop_mode": "center", "interpolation": "bicubic"}
    settings = SimpleNamespace(config={"input_size": (3, 160, 192), **crop, **IMAGENET}, classes=1000)

    class ImageNetInfo:
        def __init__(self, subset):
            self.subset = subset

        def num_classes(self):
            return {"imagenet-1k": 1000, "imagenet-12k": 11821}[self.subset]

        def index_to_description(self, index):
            return f"{self.subset} {index}"

    package = SimpleNamespace(
        create_model=lambda name, pretrained: classifier(settings.classes),
        data=SimpleNamespace(
            resolve_model_data_config=lambda module: settings.config,
            infer_imagenet_subset=lambda module: {1000: "imagenet-1k", 11821: "imagenet-12k"}.get(module.num_classes),
            ImageNetInfo=ImageNetInfo,
        ),
    )
    monkeypatch.setitem(sys.modules, "timm", package)
    monkeypatch.setattr(sources.importlib.metadata, "version", lambda name: "1.0")
    return settings


@pytest.fixture
def torchvision(monkeypatch):
    """A stand-in with torchvision's interface; returns the transform that its weights name."""
    transform = SimpleNamespace(
        crop_size=[224], resize_size=[256], interpolation=SimpleNamespace(value="bilinear"), **IMAGENET
    )
    weights = SimpleNamespace(transforms=lambda: transform, meta={"categories": ["cat", "dog"]})
    models = SimpleNamespace(
        get_model_weights=lambda name: SimpleNamespace(DEFAULT=weights),
        get_model=lambda name, weights: classifier(2),
    )
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(__name__="torchvision", models=models))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    monkeypatch.setattr(sources.importlib.metadata, "version", lambda name: "0.1")
    return transform


def test_the_installed_classifier_is_the_published_one():
    model = image_model()
    assert model.sha256 == sources.LITE0_SHA256
    assert model.preprocessing == EFFICIENTNET_LITE0
    assert not model.module.training
    assert model.labels[282] == "tiger cat"


def test_labels_are_the_thousand_classes_each_named_once():
    labels = imagenet_labels()
    assert len(labels) == len(set(labels)) == 1000


def test_weights_that_are_not_the_published_ones_are_refused(monkeypatch, tmp_path):
    package = tmp_path / "swapped_weights"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    torch.save({}, package / sources.LITE0_FILE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sources, "LITE0_PACKAGE", package.name)
    with pytest.raises(ModelSourceError, match=f"expected SHA-256 {sources.LITE0_SHA256}, found "):
        image_model()


@pytest.mark.parametrize("name", ["resnet50", "keras:resnet50", "torchvision:", ":resnet50"])
def test_a_name_of_another_form_is_refused(name):
    with pytest.raises(ModelSourceError, match="expected torchvision:NAME or timm:NAME"):
        image_model(name)


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_a_missing_library_is_named_with_the_remedy(monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModelSourceError, match=f"(?s)package {library} is not to be had.*pip install {library}"):
        image_model(f"{library}:resnet50")


def test_timms_description_becomes_this_projects(timm):
    model = image_model("timm:some")
    assert model.preprocessing == Preprocessing(160, 192, 0.9, "bicubic", **SCALED)
    assert model.labels[7] == "imagenet-1k 7"
    assert not model.module.training


def test_a_model_of_timm_gets_the_labels_of_its_own_classes(timm):
    timm.classes = 11821
    labels = image_model("timm:some").labels
    assert (len(labels), labels[0]) == (11821, "imagenet-12k 0")


def test_a_squeezed_picture_of_timm_is_not_cropped(timm):
    timm.config.update(crop_mode="squash", crop_pct=1.0)
    assert image_model("timm:some").preprocessing.crop == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"crop_mode": "border"}, "crop 'border'"),
        ({"crop_mode": "squash"}, "crop 'squash'"),
        ({"input_size": (1, 28, 28)}, "1 channels"),
        ({"interpolation": "lanczos"}, "'lanczos'"),
    ],
)
def test_pictures_that_would_be_made_otherwise_are_refused(timm, change, reason):
    timm.config.update(change)
    with pytest.raises(ModelSourceError, match=reason):
        image_model("timm:some")


def test_classes_without_names_are_refused(timm):
    timm.classes = 37
    with pytest.raises(ModelSourceError, match="no names for its 37 classes"):
        image_model("timm:some")


def test_torchvisions_description_becomes_this_projects(torchvision):
    model = image_model("torchvision:some")
    assert model.preprocessing == Preprocessing(224, 224, 0.875, "bilinear", **SCALED)
    assert (model.name, model.labels) == ("some (torchvision 0.1)", ("cat", "dog"))


def test_a_detector_is_no_classifier(torchvision):
    del torchvision.crop_size
    with pytest.raises(ModelSourceError, match="no image classifier"):
        image_model("torchvision:some")
