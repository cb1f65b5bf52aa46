"""The gates of tracing: what they refuse, and that a refused trace changes nothing on disk."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from workshop.errors import (
    DeviceConstantError,
    ForbiddenOpError,
    ModelError,
    OutputMismatchError,
    ParityError,
    PrecisionLossError,
    RepositoryError,
)
from workshop.export.gates import LEAST_COSINES, TOLERANCES, Whole, check_parity, is_current, row_cosines
from workshop.export.torchscript import check_graph, export, load_traced, trace_and_save
from workshop.files import sha256_of
from workshop.triton.artefact import read_sidecar
from workshop.triton.repository import check_repository
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


@pytest.mark.parametrize("unwritable", ["model.pt", "words.txt"])
def test_a_write_that_fails_leaves_every_file_of_the_version(tmp_path, monkeypatch, unwritable):
    words, repository = tmp_path / "words.txt", tmp_path / "repository"
    words.write_text("old")
    save(repository=repository, files={"words.txt": words})
    before = {path.name: path.read_bytes() for path in (repository / "doubler/1").iterdir()}
    words.write_text("new")

    write = Path.write_bytes

    def full(path, content):
        if unwritable in path.name:
            raise OSError("no space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="no space left"):
        save(repository=repository, replace=True, files={"words.txt": words})
    assert {path.name: path.read_bytes() for path in (repository / "doubler/1").iterdir()} == before


class Returns(nn.Module):
    """Whatever ``make`` makes of its input."""

    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, x):
        return self.make(x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: [x, x], "forward returns a list of Tensor, expected a tensor or a tuple of tensors"),
        (lambda x: {"y": x}, "forward returns a dict, expected a tensor"),
        (lambda x: (x, None), "forward returns a tuple of NoneType, Tensor"),
        (lambda x: (x, x), "forward returns 2 tensors, the signature has y__0"),
        (lambda x: x.sum(dim=1), r"'y__0' has shape \[2\], the signature says \[2, -1\]"),
        (lambda x: x.sum(dim=0, keepdim=True), r"'y__0' has shape \[1, 9\], the signature says \[2, -1\]"),
        (lambda x: x.double(), r"'y__0' is torch\.float64, the signature says FP32\nTry: return output\.to"),
        (lambda x: x.bfloat16(), r"'y__0' is torch\.bfloat16, the signature says FP32"),
    ],
)
def test_a_forward_that_returns_something_else_than_the_signature_says_is_refused(tmp_path, make, message):
    with pytest.raises(OutputMismatchError, match=message):
        save(Returns(make), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_width_than_the_signature_is_refused(tmp_path):
    fixed = replace(SIGNATURE, outputs=(TensorSpec("y__0", "FP32", (384,)),))
    with pytest.raises(OutputMismatchError, match=r"has shape \[2, 9\], the signature says \[2, 384\]"):
        trace_and_save(Doubler(), fixed, EXAMPLE, UNLIKE, tmp_path, source="here", source_sha256="abc")
    assert list(tmp_path.iterdir()) == []


def test_a_small_difference_in_every_number_that_turns_the_row_is_refused():
    """Each number is within the tolerance of bf16, and the direction is not."""

    def wanted(x):
        return nn.functional.normalize(x, dim=1)

    def turned(x):
        flip = torch.where(torch.arange(x.shape[1]) % 2 == 0, 1.0, -1.0)
        return wanted(x) + 0.0199 * flip

    inputs = {"wide": (torch.ones(2, 384),)}
    with pytest.raises(ParityError, match=r"on wide: a row of the exported output has cosine 0\.93\d+"):
        check_parity(wanted, turned, inputs, TOLERANCES["bf16"], "turned", least_cosine=LEAST_COSINES["bf16"])
    [agreement] = check_parity(wanted, wanted, inputs, TOLERANCES["bf16"], "same").values()
    assert (agreement.difference, agreement.cosine) == (0.0, pytest.approx(1.0))


class Shifted(nn.Module):
    """Multiplies by a weight after taking 256 from it: bf16 has no number between 256 and 258."""

    def __init__(self, weight, dtype):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight, dtype=dtype), requires_grad=False)

    def forward(self, x):
        return x * (self.weight - 256).float()


def save_rounded(repository, weight, **options):
    whole = Whole.of(Shifted(weight, torch.float32), UNLIKE, **options)
    return save(Shifted(weight, torch.bfloat16), repository, precision="bf16", whole=whole)


def test_a_model_that_rounding_changes_is_refused_although_its_trace_is_the_rounded_model(tmp_path):
    with pytest.raises(
        PrecisionLossError,
        match=r"'doubler' at bf16 loses precision: lowest cosine to its float32 outputs 0\.0+, expected at least 0\.999"
        r"\nTry: WORKSHOP_PRECISION=fp32",
    ):
        save_rounded(tmp_path, 256.5)
    with pytest.raises(PrecisionLossError, match=r"largest difference to its float32 outputs 0\.5, allowed is 0\.1"):
        save_rounded(tmp_path, 256.5, least_cosine=-1.0, tolerance=0.1)
    with pytest.raises(ParityError, match="differ by nan"):
        save_rounded(tmp_path, float("nan"), least_cosine=-1.0)
    assert list(tmp_path.iterdir()) == []


def test_a_rounded_model_is_not_placed_without_what_float32_gives(tmp_path):
    with pytest.raises(ParityError, match=r"'doubler' is rounded, and what its weights give in float32 is not known"):
        save(Shifted(258.0, torch.bfloat16), tmp_path, precision="bf16")
    assert list(tmp_path.iterdir()) == []


def test_only_a_rounded_model_that_was_held_against_float32_is_current_and_has_equivalents(tmp_path):
    sidecar = save_rounded(tmp_path, 258.0)
    assert sidecar.fp32_cosine == pytest.approx(1.0)
    assert sidecar.equivalent_version_names == ("doubler abc fp32", "doubler abc fp16")
    assert is_current(SIGNATURE, tmp_path, source_sha256="abc", precision="bf16")
    path = tmp_path / "doubler/1/model.json"
    content = json.loads(path.read_text())
    del content["fp32_cosine"]
    path.write_text(json.dumps(content))
    old = read_sidecar(path.parent)
    assert old == replace(sidecar, fp32_cosine=None), "sidecars from before it was measured are read"
    assert old.equivalent_version_names == ()
    assert not is_current(SIGNATURE, tmp_path, source_sha256="abc", precision="bf16"), "so it is traced again"
    path.write_text(json.dumps({**content, "precision": "fp32"}))
    assert is_current(SIGNATURE, tmp_path, source_sha256="abc", precision="fp32")
    assert read_sidecar(path.parent).equivalent_version_names == ("doubler abc bf16", "doubler abc fp16")


def test_row_cosines_of_rows_without_direction_are_one_and_of_one_such_row_zero():
    zeros, ones = torch.zeros(2, 3), torch.ones(2, 3)
    assert row_cosines(zeros, zeros).tolist() == [1.0, 1.0]
    assert row_cosines(zeros, ones).tolist() == [0.0, 0.0]
    assert row_cosines(ones.numpy(), -ones).tolist() == [pytest.approx(-1.0)] * 2
    assert row_cosines(torch.ones(2, 1), -torch.ones(2, 1)).tolist() == [1.0, 1.0]


def test_files_of_the_version_folder_are_hashed_and_a_change_is_noticed(tmp_path):
    (tmp_path / "words.txt").write_text("one two")
    repository = tmp_path / "repository"
    sidecar = save(repository=repository, files={"words.txt": tmp_path / "words.txt"})
    copied = repository / "doubler/1/words.txt"
    assert sidecar.files == {"words.txt": sha256_of(copied)}
    assert is_current(SIGNATURE, repository, source_sha256="abc", precision="fp32")
    copied.write_text("three")
    assert not is_current(SIGNATURE, repository, source_sha256="abc", precision="fp32")
    [problem] = check_repository(repository, [SIGNATURE])
    assert "words.txt is not what the sidecar describes" in str(problem)


@pytest.mark.parametrize("format_", [None, 1, 99])
def test_a_sidecar_of_another_version_is_named_with_the_command_that_renews_it(tmp_path, format_):
    save(repository=tmp_path)
    path = tmp_path / "doubler/1/model.json"
    content = json.loads(path.read_text())
    del content["format"], content["cosines"]
    path.write_text(json.dumps(content if format_ is None else {**content, "format": format_}))
    with pytest.raises(RepositoryError, match=r"another version of the workshop: its format is (1|99), expected 2"):
        read_sidecar(path.parent)
    with pytest.raises(RepositoryError, match=r"Try: make run NOTEBOOKS="):
        read_sidecar(path.parent)
    [problem] = check_repository(tmp_path, [SIGNATURE])
    assert "another version of the workshop" in problem.what
    assert "make run NOTEBOOKS=" in problem.fix
    assert not is_current(SIGNATURE, tmp_path, source_sha256="abc", precision="fp32"), "so it is traced again"


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
    (tmp_path / "model.pt.sha256").write_text(f"{sha256_of(tmp_path / 'model.pt')}  model.pt\n")
    with pytest.raises(ModelError, match=r"model\.pt is not a TorchScript file to read"):
        load_traced(tmp_path / "model.pt")


def test_a_file_that_nobody_vouches_for_is_not_loaded(tmp_path, monkeypatch):
    save(repository=tmp_path)
    file = tmp_path / "doubler" / "1" / "model.pt"
    saved = file.read_bytes()
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("what is unknown must not be read"))
    file.write_bytes(saved[:-1] + b"x")
    with pytest.raises(ModelError, match=r"not the file that was written: .*model\.json says .*sha256sum model\.pt >"):
        load_traced(file)
    file.with_name("model.json").unlink()
    with pytest.raises(ModelError, match=r"unknown source: .*sha256sum model\.pt > model\.pt\.sha256"):
        load_traced(file)
    file.with_name("model.pt.sha256").write_text("0" * 64)
    with pytest.raises(ModelError, match=r"model\.pt\.sha256 says 0{64}"):
        load_traced(file)
