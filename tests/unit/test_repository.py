"""The model repository: which models are complete, and what is named as out of order."""

import shutil

import pytest
from google.protobuf import text_format

from workshop.catalogue import SIGNATURES
from workshop.errors import ArchiveError, RepositoryError
from workshop.export.mlflow import export_mlflow
from workshop.sagemaker.archive import entry_model
from workshop.triton.artefact import served_sidecar, version_folder, version_folders
from workshop.triton.repository import (
    check_repository,
    complete_models,
    limited_side_by_side,
    models_to_start,
    needed_files,
    read_config,
)
from workshop.triton.signature import EnsembleStep, ModelSignature, TensorSpec, write_config


@pytest.fixture
def repository(tmp_path):
    """All configurations, and empty files where weights and code would be."""
    for signature in SIGNATURES:
        write_config(signature, tmp_path)
        version = tmp_path / signature.name / "1"
        version.mkdir()
        for name in needed_files(signature.to_config()):
            (version / name).touch()
    return tmp_path


def problems(repository):
    return {problem.path: problem.what for problem in check_repository(repository, SIGNATURES)}


def test_a_full_repository_is_in_order(repository):
    assert problems(repository) == {}
    assert complete_models(repository) == sorted(signature.name for signature in SIGNATURES)


def test_a_model_without_weights_is_incomplete_and_so_is_its_ensemble(repository):
    (repository / "sentence_bert/1/model.pt").unlink()
    assert problems(repository) == {"sentence_bert/1": "model.pt missing"}
    assert {"sentence_bert", "text_embedding"}.isdisjoint(complete_models(repository))
    assert "text_tokenizer" in complete_models(repository)


def test_a_tokenizer_without_its_file_is_incomplete(repository):
    (repository / "text_tokenizer/1/tokenizer.json").unlink()
    assert problems(repository) == {"text_tokenizer/1": "tokenizer.json missing"}
    assert "text_tokenizer" not in complete_models(repository)


@pytest.mark.parametrize("stray", [".ipynb_checkpoints", "tokenizers", "notes"])
def test_a_stray_folder_is_named_and_not_loaded(repository, stray):
    (repository / stray).mkdir()
    assert problems(repository) == {stray: "a stray folder: neither config.pbtxt nor a version"}
    assert stray not in complete_models(repository)


def test_a_stray_file_is_named(repository):
    (repository / "readme.txt").touch()
    assert problems(repository) == {"readme.txt": "a stray file in the repository"}


def test_a_missing_version_is_named(repository):
    shutil.rmtree(repository / "zero_shot/1")
    assert problems(repository) == {"zero_shot": "no version folder"}


def test_a_missing_model_is_named(repository):
    shutil.rmtree(repository / "zero_shot")
    assert problems(repository) == {"zero_shot": "no folder for this model"}


def test_a_configuration_that_differs_names_the_fields(repository):
    config = repository / "sentence_bert/config.pbtxt"
    config.write_text(config.read_text().replace("dims: 384", "dims: 768").replace("size: 64", "size: 4"))
    assert problems(repository) == {
        "sentence_bert/config.pbtxt": "differs from the model's signature in max_batch_size, output"
    }


@pytest.mark.parametrize("text", ["name: [", "\x00\x01", 'name: "other"'])
def test_a_broken_configuration_is_named_and_not_loaded(repository, text):
    (repository / "sentence_bert/config.pbtxt").write_text(text)
    assert list(problems(repository)) == ["sentence_bert/config.pbtxt"]
    assert "sentence_bert" not in complete_models(repository)
    with pytest.raises(RepositoryError, match=r"sentence_bert.config\.pbtxt"):
        read_config(repository / "sentence_bert")


def test_weights_that_are_not_their_sidecars_are_named(repository, traced_doubler):
    shutil.copytree(traced_doubler / "doubler", repository / "doubler")
    assert problems(repository) == {}
    weights = repository / "doubler/1/model.pt"
    weights.write_bytes(weights.read_bytes() + b"x")
    assert problems(repository) == {"doubler/1/model.pt": "is not the file its sidecar describes"}


X, Y = (TensorSpec(name, "FP32", (1,)) for name in "xy")


def steps(*steps):
    """An ensemble of steps given as (model, what it reads, what it makes)."""
    parts = tuple(EnsembleStep(model, {"x": reads}, {"y": makes}) for model, reads, makes in steps)
    return ModelSignature("both", (X,), (Y,), platform="ensemble", max_batch_size=1, steps=parts)


@pytest.mark.parametrize(
    ("parts", "risky"),
    [
        ([("limited", "x", "y")], []),
        ([("limited", "x", "a"), ("free", "a", "b"), ("limited", "b", "y")], []),
        ([("limited", "x", "y"), ("free", "x", "z")], ["limited"]),
        ([("free", "x", "a"), ("limited", "a", "y"), ("limited", "a", "z")], ["limited"]),
        ([("free", "b", "y"), ("limited", "a", "b"), ("free", "x", "a")], []),
        ([("limited", "x", "a"), ("free", "a", "y"), ("free", "a", "z")], []),
        ([("free", "x", "y"), ("free", "x", "z"), ("absent", "x", "w")], []),
    ],
)
def test_a_limited_queue_beside_another_step_is_found(parts, risky):
    limited = ModelSignature("limited", (X,), (Y,), backend="python", max_batch_size=1, queue_delay_us=0).to_config()
    limited.dynamic_batching.default_queue_policy.max_queue_size = 2
    free = ModelSignature("free", (X,), (Y,), backend="python", max_batch_size=1).to_config()
    assert limited_side_by_side(steps(*parts).to_config(), {"limited": limited, "free": free}) == risky


def test_an_ensemble_that_may_end_the_server_is_named_and_not_started(repository, caplog):
    signature = steps(("vit", "x", "y"), ("zero_shot", "x", "z"))
    write_config(signature, repository)
    (repository / "both" / "1").mkdir()
    assert "both" in models_to_start(repository)
    config = read_config(repository / "vit")
    config.dynamic_batching.priority_queue_policy[1].max_queue_size = 4
    (repository / "vit" / "config.pbtxt").write_text(text_format.MessageToString(config))
    assert "vit beside another step" in problems(repository)["both/config.pbtxt"]
    assert "both" not in models_to_start(repository)
    assert "both is left out" in caplog.text
    assert "vit" in models_to_start(repository)


def test_a_repository_that_is_not_there(tmp_path):
    assert problems(tmp_path / "nowhere") == {str(tmp_path / "nowhere"): "is not a folder"}


def test_versions_are_ordered_by_number(tmp_path):
    for name in ("10", "9", "1", "draft"):
        (tmp_path / name).mkdir()
    assert [folder.name for folder in version_folders(tmp_path)] == ["1", "9", "10"]


@pytest.fixture(scope="module")
def traced_doubler(tmp_path_factory):
    """A repository with one small traced model and its sidecar."""
    import torch

    from workshop.export.torchscript import trace_and_save
    from workshop.triton.signature import ModelSignature, TensorSpec

    class Doubler(torch.nn.Module):
        def forward(self, x):
            return x * 2

    repository = tmp_path_factory.mktemp("doubler")
    signature = ModelSignature(
        "doubler",
        (TensorSpec("x__0", "FP32", (-1,)),),
        (TensorSpec("y__0", "FP32", (-1,)),),
        platform="pytorch_libtorch",
    )
    inputs = {"one": (torch.ones(1),), "five": (torch.ones(5),)}
    trace_and_save(Doubler(), signature, (torch.ones(3),), inputs, repository, source="here", source_sha256="abc")
    return repository


@pytest.mark.parametrize("name", ["../shop", "/etc", "a/b", "..", ".hidden", "-x", "", "a b", "x\n", "\u00e4"])
def test_a_name_that_leads_out_of_the_repository_is_refused(tmp_path, name):
    for use in (
        lambda: version_folder(tmp_path, name, 1),
        lambda: served_sidecar(tmp_path, name),
        lambda: export_mlflow(tmp_path, name, tmp_path / "bundles"),
        lambda: entry_model(tmp_path, [name]),
    ):
        with pytest.raises((RepositoryError, ArchiveError), match="cannot be the name of a model"):
            use()
    assert list(tmp_path.iterdir()) == []
