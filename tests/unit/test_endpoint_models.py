"""The models of the endpoint's archive: configurations, carried packages, and the steps' own code."""

import importlib
import json
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from workshop.errors import RepositoryError
from workshop.settings import load_settings
from workshop.text.encoding import TOKENIZER_FILE
from workshop.text.endpoint import prepare
from workshop.text.endpoint.signatures import endpoint_models
from workshop.text.prepare import sentence_source
from workshop.text.sentence_bert import SentencePooling
from workshop.text.signatures import MINILM


class FakeTensor:
    """A tensor of Triton's Python backend."""

    def __init__(self, name, array):
        self.name, self.array = name, array

    def as_numpy(self):
        return self.array


@pytest.fixture
def step(monkeypatch):
    """Imports a step as Triton does, with a stand-in for its module of tensors and requests."""
    backend = SimpleNamespace(
        Tensor=FakeTensor,
        TritonError=str,
        InferenceResponse=lambda tensors=(), error=None: SimpleNamespace(tensors=tensors, error=error),
        get_input_tensor_by_name=lambda request, name: FakeTensor(name, request[name]),
    )
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", backend)
    monkeypatch.syspath_prepend(str(prepare.SERVED))

    def load(name, signature):
        parameters = {key: {"string_value": value} for key, value in signature.parameters.items()}
        model = importlib.import_module(name).TritonPythonModel()
        model.initialize({"model_config": json.dumps({"parameters": parameters})})
        return model

    yield load
    sys.modules.pop("postprocess", None)


def test_the_ensemble_takes_texts_and_gives_vectors():
    models = endpoint_models(MINILM)
    assert [(spec.name, spec.dtype, spec.dims) for spec in models.ensemble.inputs] == [("INPUT0", "BYTES", (1,))]
    assert [(spec.name, spec.dtype, spec.dims) for spec in models.ensemble.outputs] == [("finaloutput", "FP32", (384,))]
    assert [step.model for step in models.ensemble.steps] == ["preprocess", "core", "postprocess"]
    assert endpoint_models(MINILM, "tensorrt").core.platform == "tensorrt_plan"


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("normalised", [True, False])
def test_the_last_step_pools_as_the_model_in_pytorch(step, pooling, normalised):
    model = step("postprocess", endpoint_models(replace(MINILM, pooling=pooling, normalised=normalised)).postprocess)
    random = np.random.default_rng(0)
    hidden = random.normal(size=(3, 5, 384)).astype(np.float32)
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]])
    (response,) = model.execute([{"token_vectors": hidden, "attention_mask": mask}])
    expected = SentencePooling(pooling, normalised=normalised)(torch.from_numpy(hidden), torch.from_numpy(mask))
    (answer,) = response.tensors
    assert answer.name == "finaloutput"
    assert answer.array.dtype == np.float32
    assert np.abs(answer.array - expected.numpy()).max() <= 1e-6


def test_vectors_that_are_not_finite_fail_their_own_request_only(step):
    model = step("postprocess", endpoint_models(MINILM).postprocess)
    hidden = np.ones((2, 3, 384), np.float32)
    mask = np.ones((2, 3), np.int64)
    bad = hidden.copy()
    bad[1, 0, 0] = np.inf
    good, failed = model.execute([{"token_vectors": part, "attention_mask": mask} for part in (hidden, bad)])
    assert good.error is None
    assert failed.error == "token vectors of rows [1] are not finite"


def test_the_first_step_needs_nothing_but_its_own_folder_and_numpy(tmp_path):
    prepare._place_steps(sentence_source(load_settings()), endpoint_models(MINILM), tmp_path / "repository")
    folder = tmp_path / "repository" / "preprocess" / "1"
    assert {path.name for path in folder.iterdir()} == {"model.py", "tokenization.py", TOKENIZER_FILE, "packages"}
    numpy_only = tmp_path / "numpy_only"
    numpy_only.mkdir()
    for part in (np.__path__[0], f"{np.__path__[0]}.libs"):
        (numpy_only / part.rpartition("/")[2]).symlink_to(part)
    (numpy_only / "triton_python_backend_utils.py").touch()
    program = (
        f"import sys; sys.path[:0] = [{str(folder)!r}, {str(numpy_only)!r}]; import model, tokenizers\n"
        f"tokenizer = model.TextTokenizer({str(folder / TOKENIZER_FILE)!r}, 256)\n"
        "print(tokenizers.__file__, tokenizer(['a heist'])[0].tolist())"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(str(folder / "packages" / "tokenizers"))
    assert "[[101, 1037, 2002, 2923, 102, 0" in run.stdout.replace("\n", "")


def test_a_package_for_another_machine_is_not_carried(tmp_path, monkeypatch):
    for name, content in {"mac": b"\xcf\xfa\xed\xfe" + bytes(20), "arm": b"\x7fELF" + bytes(14) + b"\xb7\x00"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "inner.abi3.so").write_bytes(content)
        (tmp_path / f"{name}-1.dist-info").mkdir()
        (tmp_path / f"{name}-1.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("mac", "arm"):
        with pytest.raises(
            RepositoryError, match=rf"package {name} holds inner\.abi3\.so, which is not for Linux on x86_64"
        ):
            prepare._carry_packages(tmp_path / "target", [name])


def test_a_package_for_one_python_alone_is_not_carried(tmp_path):
    with pytest.raises(RepositoryError, match=r"pydantic_core holds _pydantic_core.*built for this Python alone"):
        prepare._carry_packages(tmp_path, ["pydantic_core"])
    with pytest.raises(RepositoryError, match="package no-such-package is not installed"):
        prepare._carry_packages(tmp_path, ["no-such-package"])
    assert list(tmp_path.iterdir()) == []
