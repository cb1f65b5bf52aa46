"""The catalogue reads what the models of a repository take and give from what was exported into it."""

import json
import shutil

import pytest
import torch
from transformers import ViTConfig, ViTForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from workshop.catalogue import SIGNATURES, repository_signatures
from workshop.errors import RepositoryError
from workshop.settings import load_settings
from workshop.text.signatures import SENTENCE_BERT
from workshop.triton.repository import check_repository
from workshop.triton.signature import write_config
from workshop.vision import prepare, prepare_vit
from workshop.vision.preprocessing import Preprocessing
from workshop.vision.signatures import IMAGE_MODELS, image_models, image_models_around
from workshop.vision.sources import ImageModel
from workshop.vision.vit_signatures import VIT_MODELS, VitShape, vit_models

SMALL = Preprocessing(24, 32, crop=0.9, mean=(127.5, 120.0, 99.9), deviation=(63.75, 51.0, 25.5))
SHAPE = VitShape(size=16, tokens=5, hidden=32, classes=3)


@pytest.fixture
def settings(tmp_path):
    """A repository with the image models' code and committed configurations, and nothing exported."""
    repository = tmp_path / "repository"
    for signature in (*IMAGE_MODELS, *VIT_MODELS):
        committed = load_settings().model_repository / signature.name
        write_config(signature, repository)
        if (committed / "1/model.py").is_file():
            (repository / signature.name / "1").mkdir()
            shutil.copy(committed / "1/model.py", repository / signature.name / "1")
    return load_settings(model_repository=repository, vit_model=str(tmp_path / "vit"), image_model="timm:small")


def small_classifier(name):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SMALL.height * SMALL.width, 7)).eval()
    return ImageModel(name, module, SMALL, tuple("abcdefg"), "0" * 64)


def save_vit(folder):
    torch.manual_seed(0)
    sizes = {"hidden_size": SHAPE.hidden, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = ViTConfig(image_size=SHAPE.size, patch_size=8, num_labels=SHAPE.classes, **sizes)
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": SHAPE.size, "width": SHAPE.size}).save_pretrained(folder)


def problems(repository, signatures):
    own = {signature.name for signature in (*IMAGE_MODELS, *VIT_MODELS)}
    found = check_repository(repository, signatures)
    return [str(problem) for problem in found if problem.path.partition("/")[0] in own]


def test_image_models_other_than_the_default_are_in_order_and_their_configurations_are_kept(settings, monkeypatch):
    monkeypatch.setattr(prepare, "image_model", small_classifier)
    save_vit(settings.vit_model)
    repository = settings.model_repository
    committed = {signature.name: signature.config_text() for signature in (*IMAGE_MODELS, *VIT_MODELS)}
    for _ in range(2):  # exported, then found to be current
        sidecars = prepare.prepare_image_classifier(settings), prepare_vit.prepare_vit(settings)
        signatures = repository_signatures(repository)
        assert all(signature in signatures for signature in (*image_models(SMALL, 7), *vit_models(SHAPE)))
        assert SENTENCE_BERT in signatures
        assert problems(repository, signatures) == []
        for name, text in committed.items():  # as a checkout of the project leaves them
            (repository / name / "config.pbtxt").write_text(text)
        assert len(problems(repository, signatures)) == len(committed)
    assert (prepare.prepare_image_classifier(settings), prepare_vit.prepare_vit(settings)) == sidecars


def test_a_repository_without_exported_models_has_the_default_signatures(settings):
    assert repository_signatures(settings.model_repository) == SIGNATURES
    broken = settings.model_repository / "image_decoder/1/model.json"
    broken.write_text(json.dumps({"model": "image_decoder"}))
    shutil.copytree(broken.parent, settings.model_repository / "vit/1")
    assert repository_signatures(settings.model_repository) == SIGNATURES


def test_signatures_of_other_models_are_refused():
    classifier, _, ensemble = IMAGE_MODELS
    assert image_models_around(classifier) == IMAGE_MODELS
    with pytest.raises(RepositoryError, match=r"'image_classification'.* without 'height'\nTry: make run"):
        image_models_around(ensemble)
    assert VitShape.of(vit_models(SHAPE)[2]) == SHAPE
    with pytest.raises(RepositoryError, match=r"'image_classifier' is no vision transformer"):
        VitShape.of(classifier)
