"""TensorRT plans: built by scripts/build_tensorrt.sh with stand-ins for Docker and the GPU, checked, placed, packed.

A tiny model stands in for the real one."""

import json
import os
import subprocess
import sys

import pytest
import tiny_text_models
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from workshop.errors import ModelError, ModelSourceError, ParityError, RepositoryError
from workshop.export.gates import LEAST_COSINES
from workshop.export.tensorrt import read_answers, shape_arguments
from workshop.sagemaker.archive import pack
from workshop.settings import PROJECT_ROOT, load_settings
from workshop.text.endpoint.prepare import endpoint_repository, prepare_endpoint
from workshop.text.forms import sentence_forms
from workshop.triton.repository import check_repository

DOCKER = """#!{python}
import json, pathlib, re, sys
import numpy as np, onnxruntime
arguments = sys.argv[1:]
with open("{log}", "a") as log: log.write(" ".join(arguments) + "\\n")
work = next((a.split(":")[0] for a in arguments if a.endswith(":/work")), "")
option = lambda name: next((a.split("=", 1)[1].replace("/work", work) for a in arguments if a.startswith(name)), "")
if target := option("--saveEngine"):
    pathlib.Path(target).write_bytes(b"plan")
elif answer := option("--exportOutput"):
    session = onnxruntime.InferenceSession(work + "/model.onnx", providers=["CPUExecutionProvider"])
    shapes = dict(part.split(":") for part in option("--shapes").split(","))
    feed = {{}}
    for part in option("--loadInputs").split(","):
        name, _, path = part.partition(":")
        feed[name] = np.fromfile(path, np.int64).reshape([int(n) for n in shapes[name].split("x")])
    [rows] = session.run(None, feed)
    rows = rows * {factor} + {shift}
    [output] = session.get_outputs()
    sizes = "x".join(map(str, rows.shape))
    entry = {{"name": output.name, "dimensions": sizes, "values": rows.ravel().tolist()}}
    pathlib.Path(answer).write_text(json.dumps([entry]))
else:
    print("11.4.1")
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    kind = tiny_text_models.KINDS["not_normalised"]
    folder = tiny_text_models.save_sentence_model(tmp_path_factory.mktemp("hub") / "tiny", kind)
    return load_settings().model_copy(update={"sentence_model": str(folder)})


@pytest.fixture
def build(settings, tmp_path):
    """Run scripts/build_tensorrt.sh with stand-ins for docker and nvidia-smi: ONNX Runtime answers for the plan."""

    def run(*options, factor=1.0, shift=0.0):
        programs = tmp_path / "bin"
        programs.mkdir(exist_ok=True)
        log = tmp_path / "log"
        (programs / "docker").write_text(DOCKER.format(python=sys.executable, log=log, factor=factor, shift=shift))
        (programs / "nvidia-smi").write_text("#!/bin/sh\necho NVIDIA Test GPU\n")
        for program in programs.iterdir():
            program.chmod(0o755)
        environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "WORK": str(tmp_path / "work"),
            "WORKSHOP_SENTENCE_MODEL": settings.sentence_model,
            "WORKSHOP_MODEL_REPOSITORY": str(tmp_path / "repository"),
            "WORKSHOP_DATA_DIR": str(tmp_path / "data"),
        }
        command = ["sh", str(PROJECT_ROOT / "scripts" / "build_tensorrt.sh"), *options]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False), log

    return run


def test_a_plan_is_built_in_the_servers_container_checked_and_placed(build, tmp_path):
    result, log = build()
    assert result.returncode == 0, result.stderr
    first, *cases, _ = log.read_text().splitlines()
    image = next(
        line.split()[-1]
        for line in (PROJECT_ROOT / "docker-compose.yml").read_text().splitlines()
        if "TRITON_IMAGE:" in line
    )
    assert f"{image} /usr/src/tensorrt/bin/trtexec --onnx=/work/model.onnx" in first
    assert "--memPoolSize=workspace:2048" in first
    assert "--minShapes=input_ids__0:1x1,attention_mask__1:1x1" in first
    assert "--maxShapes=input_ids__0:64x40,attention_mask__1:64x40" in first
    assert not {"--fp16", "--best", "--int8"} & set(first.split()), "TensorRT 11 has no such options"
    assert len(cases) == 5
    folder = tmp_path / "repository" / "sentence_tensorrt_fp16"
    sidecar = json.loads((folder / "1" / "model.json").read_text())
    assert sidecar["settings"] == {"gpu": "NVIDIA Test GPU", "tensorrt": "11.4.1"}
    assert min(sidecar["cosines"].values()) >= LEAST_COSINES["fp16"]
    (folder / "1" / "model.plan").write_bytes(b"another")
    problems = check_repository(tmp_path / "repository", [])
    assert [problem.what for problem in problems] == ["is not the file its sidecar describes"]
    accelerated = tmp_path / "repository" / "sentence_onnx_tensorrt_fp16" / "config.pbtxt"
    config = text_format.Parse(accelerated.read_text(), model_config_pb2.ModelConfig())
    [accelerator] = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "tensorrt"


def test_a_plan_that_answers_otherwise_is_not_placed(build, tmp_path):
    result, _ = build(shift=0.5)
    assert result.returncode == 1
    assert "ParityError: model 'sentence_tensorrt_fp16' on one word" in result.stderr
    assert not (tmp_path / "repository" / "sentence_tensorrt_fp16" / "1").exists()


def test_a_plan_of_the_endpoints_core_is_built_checked_and_packed(build, settings, tmp_path):
    settings = settings.model_copy(update={"data_dir": tmp_path / "data"})
    repository = endpoint_repository(settings, "tensorrt")
    with pytest.raises(ModelSourceError, match=r"holds no TensorRT plan .* that was checked"):
        prepare_endpoint(settings, repository, "tensorrt")
    result, log = build("core")
    assert result.returncode == 0, result.stderr
    assert "--maxShapes=input_ids:16x40,attention_mask:16x40" in log.read_text().splitlines()[0]
    models = prepare_endpoint(settings, repository, "tensorrt")
    assert models.core.platform == "tensorrt_plan"
    archive = pack(repository, tmp_path / "model.tar.gz")
    assert archive.models == ("core", "ensemble", "postprocess", "preprocess")
    with pytest.raises(RepositoryError, match=r"holds model\.plan, the core in another form"):
        prepare_endpoint(settings, repository)
    (repository / "core" / "1" / "model.plan").write_bytes(b"another")
    with pytest.raises(ModelSourceError, match="checked and left as it was"):
        prepare_endpoint(settings, repository, "tensorrt")


def test_commands_are_shown_without_docker_and_touch_nothing(build, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "model.plan").write_bytes(b"built before")
    result, log = build("--print")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("docker run --rm --gpus all") == 2
    assert f"tensorrt_plan.py prepare sentence {tmp_path / 'work'}" in result.stdout
    assert not log.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "work"]
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["model.plan"]


def test_shapes_beyond_the_signature_are_refused():
    model = sentence_forms()["tensorrt_fp16"].model
    assert shape_arguments(model, (1, 8, 64), (1, 64, 256))[1] == (
        "--optShapes=input_ids__0:8x64,attention_mask__1:8x64"
    )
    with pytest.raises(ModelError, match=r"rows \(1, 8, 65\), expected smallest, commonest and largest, at most 64"):
        shape_arguments(model, (1, 8, 65), (1, 64, 256))
    with pytest.raises(ModelError, match=r"lengths \(64, 8, 256\)"):
        shape_arguments(model, (1, 8, 64), (64, 8, 256))


@pytest.mark.parametrize("content", ["", "[]", '[{"name": "embedding__0", "dimensions": "2x2", "values": [1]}]'])
def test_answers_that_trtexec_did_not_write_are_refused(tmp_path, content):
    (tmp_path / "answer0.json").write_text(content)
    with pytest.raises(ParityError, match="does not hold the outputs"):
        read_answers(tmp_path / "answer0.json", sentence_forms()["tensorrt_fp16"].model)
