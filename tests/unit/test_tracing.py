"""The gates of tracing: what they refuse, and that a refused trace changes nothing on disk."""

import json

import pytest
import torch
from torch import nn

from workshop.errors import DeviceConstantError, ForbiddenOpError, ModelError, ParityError, RepositoryError
from workshop.export.gates import check_parity, is_current
from workshop.export.torchscript import check_graph, export, load_traced, trace_and_save
from workshop.files import sha256_of
from workshop.triton.artefact import read_sidecar
from workshop.triton.signature import ModelSignature, TensorSpec

SIGNATURE = ModelSignature(
    "doubler",
    (TensorSpec("x__0", "FP32", (-1,)),),
    (TensorSpec("y__0", "FP32", (-1,)),),
    platform="pytorch_libtorch",
    max_batch_size=8,
)
EXAMPLE = (torch.ones(2, 3),)
UNLIKE = {"longer": (torch.ones(2, 9),), "one row": (torch.ones(1, 1),)}


class Doubler(nn.Module):
    def forward(self, x):
        return x * 2


class FrozenLength(nn.Module):
    def forward(self, x):
        return x / float(x.shape[1])


class FrozenReshape(nn.Module):
    def forward(self, x):
        return x.reshape(int(x.shape[0]), -1) + torch.ones(int(x.shape[0]), int(x.shape[1]))


class DeviceInside(nn.Module):
    def forward(self, x):
        return x + torch.arange(x.shape[1], device=x.device)


class BranchInLoop(nn.Module):
    def forward(self, x):
        return torch.ops.workshop_test.identity(x)


def save(model=None, repository=None, **options):
    options = {"source": "here", "source_sha256": "abc", **options}
    return trace_and_save(model or Doubler(), SIGNATURE, EXAMPLE, UNLIKE, repository, **options)


def test_a_saved_model_comes_with_its_configuration_and_sidecar(tmp_path):
    sidecar = save(repository=tmp_path, settings={"scale": "2"})
    folder = tmp_path / "doubler" / "1"
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.pt"]
    assert (tmp_path / "doubler" / "config.pbtxt").read_text() == SIGNATURE.config_text()
    assert read_sidecar(folder) == sidecar
    assert sidecar.model_sha256 == sha256_of(folder / "model.pt")
    assert sidecar.torch_version == torch.__version__
    assert set(sidecar.parity) == set(UNLIKE)
    assert torch.equal(load_traced(folder / "model.pt")(torch.ones(1, 2)), torch.full((1, 2), 2.0))


def test_a_frozen_length_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(ParityError, match=r"'doubler' on longer: exported and eager differ by 0\.222"):
        save(FrozenLength(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_trace_that_fails_on_another_size_is_refused():
    model = FrozenReshape()
    with pytest.raises(ParityError, match=r"fails on longer with shapes \[\(2, 9\)\]"):
        check_parity(model, export(model, EXAMPLE), UNLIKE, 1e-5, "frozen")


def test_values_that_are_not_numbers_are_refused():
    model = Doubler()
    with pytest.raises(ParityError, match="differ by nan"):
        check_parity(model, export(model, EXAMPLE), {"nan": (torch.tensor([[float("nan")]]),)}, 1e-5, "doubler")


def test_a_device_constant_is_refused():
    with pytest.raises(DeviceConstantError, match="device cpu is frozen into the graph, used by aten::arange"):
        check_graph(export(DeviceInside(), EXAMPLE), "pinned")


def test_an_operator_of_another_library_is_refused():
    with torch.library._scoped_library("workshop_test", "FRAGMENT") as library:
        library.define("identity(Tensor x) -> Tensor")
        library.impl("identity", lambda x: x.clone(), "CPU")
        traced = export(BranchInLoop(), EXAMPLE)
        with pytest.raises(ForbiddenOpError, match="workshop_test::identity"):
            check_graph(traced, "foreign")


def test_an_existing_version_is_replaced_only_on_purpose(tmp_path):
    save(repository=tmp_path)
    before = sha256_of(tmp_path / "doubler/1/model.pt")
    with pytest.raises(RepositoryError, match=r"has a version 1 already\nTry: pass replace=True .* version=2"):
        save(repository=tmp_path)
    assert sha256_of(tmp_path / "doubler/1/model.pt") == before
    save(repository=tmp_path, version=2)
    save(repository=tmp_path, replace=True)
    assert sorted(path.name for path in (tmp_path / "doubler").iterdir()) == ["1", "2", "config.pbtxt"]


def test_a_failed_replacement_leaves_the_old_model(tmp_path):
    save(repository=tmp_path)
    before = sha256_of(tmp_path / "doubler/1/model.pt")
    with pytest.raises(ParityError):
        save(FrozenLength(), tmp_path, replace=True)
    assert sha256_of(tmp_path / "doubler/1/model.pt") == before


def test_one_parity_input_is_too_few(tmp_path):
    with pytest.raises(ParityError, match="1 parity inputs, expected at least 2"):
        trace_and_save(Doubler(), SIGNATURE, EXAMPLE, {"only": EXAMPLE}, tmp_path, source="here", source_sha256="abc")


def test_is_current_notices_every_difference(tmp_path):
    save(repository=tmp_path, settings={"scale": "2"})
    same = {"source_sha256": "abc", "precision": "fp32", "settings": {"scale": "2"}}
    assert is_current(SIGNATURE, tmp_path, **same)
    assert not is_current(SIGNATURE, tmp_path, **{**same, "source_sha256": "def"})
    assert not is_current(SIGNATURE, tmp_path, **{**same, "precision": "bf16"})
    assert not is_current(SIGNATURE, tmp_path, **{**same, "settings": {}})
    assert not is_current(SIGNATURE, tmp_path, **same, version=2)
    weights = tmp_path / "doubler/1/model.pt"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert not is_current(SIGNATURE, tmp_path, **same)


def test_a_broken_sidecar_is_named(tmp_path):
    (tmp_path / "model.json").write_text(json.dumps({"model": "x"}))
    with pytest.raises(RepositoryError, match=r"model\.json is not a sidecar"):
        read_sidecar(tmp_path)


def test_a_file_that_is_not_torchscript_is_named(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"model\.pt is not a readable TorchScript file"):
        load_traced(tmp_path / "model.pt")
