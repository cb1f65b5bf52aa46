"""The forms of the sentence model: each made through the gates, served by the real tritonserver, and refused when it is
not what it says. A tiny model stands in for the real one."""

import copy
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tiny_text_models
import torch
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from workshop.errors import (
    CompiledTargetError,
    CompilerMissingError,
    ModelError,
    ModelNotReadyError,
    ParityError,
)
from workshop.export.aoti import load_package
from workshop.export.gates import LEAST_COSINES, row_cosines
from workshop.export.neighbours import neighbour_overlap
from workshop.export.onnx import export_traced
from workshop.export.onnx_int8 import (
    Selection,
    matrix_nodes,
    node_of,
    quantise_graph,
    restored,
    run_graph,
    select_matrices,
    sensitivities,
)
from workshop.export.tensorrt import read_answers, shape_arguments
from workshop.settings import PROJECT_ROOT, load_settings
from workshop.text.embedder import TextEmbedder
from workshop.text.forms import sentence_forms
from workshop.text.prepare_forms import FormMaker
from workshop.triton.client import TritonClient
from workshop.triton.repository import check_repository, models_to_start

TEXTS = [*tiny_text_models.PHRASES, "", "bread " * 80, *(f"two moons and {n} friends" for n in range(12))]
LOCAL = [form.name for form in sentence_forms().values() if form.device == "cpu"]


@pytest.fixture(scope="module")
def settings(local_stack, tmp_path_factory):
    kind = tiny_text_models.KINDS["not_normalised"]
    folder = tiny_text_models.save_sentence_model(tmp_path_factory.mktemp("hub") / "tiny", kind)
    return local_stack.model_copy(update={"sentence_model": str(folder)})


@pytest.fixture(scope="module")
def maker(settings):
    """Makes the forms; the repository, which other tests use, gets back what it had of them."""
    maker = FormMaker(settings, [f"{text} {n}" for n, text in enumerate(tiny_text_models.PHRASES * 4)])
    yield maker
    for form in maker.forms.values():
        shutil.rmtree(maker.repository / form.model.name, ignore_errors=True)
        if (committed := load_settings().model_repository / form.model.name).is_dir():
            shutil.copytree(committed, maker.repository / form.model.name)


@pytest.fixture(scope="module")
def client(settings):
    with TritonClient.from_settings(settings) as client:
        yield client


def home(maker, name):
    return maker.repository / maker.forms[name].model.name / "1"


def files(maker, name):
    return {file.name: file.stat().st_mtime_ns for file in home(maker, name).glob("*")}


@pytest.mark.parametrize("name", LOCAL)
def test_a_form_is_made_served_and_gives_the_models_answers(maker, client, name):
    if name.startswith("openvino"):
        pytest.importorskip("openvino", reason="OpenVINO is an extra")
    sidecar = maker.make(name)
    form = maker.forms[name]
    assert sidecar.precision == form.precision
    assert min(sidecar.cosines.values()) >= LEAST_COSINES[form.precision]
    assert "odd length" in sidecar.cosines
    client.load_model(form.model.name)
    vectors = TextEmbedder(client, form.model.name)(TEXTS)
    client.unload_model(form.model.name)
    assert row_cosines(maker.vectors(TEXTS), vectors).min() >= LEAST_COSINES[form.precision]
    before = files(maker, name)
    assert FormMaker(maker.settings, maker.calibration).make(name) == sidecar
    assert files(maker, name) == before, "a second time it is taken as it is"
    assert form.model.name not in models_to_start(maker.repository)


def test_a_form_that_fails_its_gate_changes_neither_itself_nor_the_others(maker):
    maker.make("onnx_fp32"), maker.make("torchscript_fp32")
    before = {name: files(maker, name) for name in maker.forms}
    graph = maker.graph
    wrong = type(graph)()
    wrong.CopyFrom(graph)
    matrix = next(tensor for tensor in wrong.graph.initializer if list(tensor.dims) == [32, 32])
    matrix.raw_data = bytes(len(matrix.raw_data))
    with pytest.raises(ParityError, match=r"'sentence_onnx_fp32' on .*: (exported and eager differ|a row of)"):
        maker.place_graph(wrong, maker.forms["onnx_fp32"].model, "fp32", {})
    assert {name: files(maker, name) for name in maker.forms} == before
    assert check_repository_of(maker, "onnx_fp32", "torchscript_fp32") == []


def check_repository_of(maker, *names):
    wanted = {maker.forms[name].model.name for name in names}
    problems = check_repository(maker.repository, [form.model for form in maker.forms.values()])
    return [problem for problem in problems if problem.path.split("/")[0] in wanted]


@pytest.mark.parametrize("name", ["tensorrt_fp16", "onnx_tensorrt_fp16", "nothing"])
def test_what_is_not_made_here_names_what_is(maker, name):
    with pytest.raises(ModelError, match=rf"no form '{name}' is made here, there are torchscript_fp32"):
        maker.make(name)


def test_the_selective_form_wants_calibration_texts(settings, tmp_path):
    empty = settings.model_copy(update={"model_repository": tmp_path})
    with pytest.raises(ModelError, match="needs calibration texts"):
        FormMaker(empty).make("onnx_int8_selective")
    assert list(tmp_path.iterdir()) == []


# --- int8 -------------------------------------------------------------------------------------------------------
def test_the_matrix_that_int8_hurts_is_found_and_kept(maker):
    model = copy.deepcopy(maker.eager)
    name, layer = next((n, m) for n, m in model.named_modules() if n.endswith("attention.output.dense"))
    layer.weight.data[:, 0] *= 3000  # one number in each column that makes all others coarse
    graph = export_traced(model, maker.forms["onnx_fp32"].model, maker.example)
    words = np.array(" ".join(tiny_text_models.PHRASES).split())
    rng = np.random.default_rng(0)
    feeds = maker.feeds([" ".join(rng.choice(words, rng.integers(2, 9))) for _ in range(80)])
    loss = sensitivities(model, [tuple(map(torch.from_numpy, feed.values())) for feed in feeds[:2]])
    assert set(loss) == set(matrix_nodes(graph)), "layers and nodes are named alike"
    assert max(loss, key=loss.get) == node_of(name)
    assert torch.equal(model(*maker.example), copy.deepcopy(model)(*maker.example)), "the model is whole again"
    rounded = quantise_graph(graph)
    assert {node.name for node in rounded.graph.node}.isdisjoint(loss)
    plain = neighbour_overlap(run_graph(graph, feeds), run_graph(rounded, feeds))
    selection = select_matrices(graph, loss, feeds, (plain + 1) / 2)
    assert selection.kept[0] == node_of(name)
    assert len(selection.kept) < len(loss)
    assert Selection.from_settings(selection.to_settings()) == selection
    chosen = quantise_graph(graph, kept=selection.kept)
    assert node_of(name) in {node.name for node in chosen.graph.node}
    assert np.array_equal(run_graph(restored(rounded, graph, selection.kept), feeds), run_graph(chosen, feeds))
    with pytest.raises(ModelError, match="1 nodes are to be restored, and 0 were found"):
        restored(rounded, graph, ["/elsewhere/MatMul"])


# --- compiled packages ------------------------------------------------------------------------------------------
def test_without_a_compiler_nothing_is_compiled_or_written(settings, tmp_path, monkeypatch):
    maker = FormMaker(settings.model_copy(update={"model_repository": tmp_path}))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(CompilerMissingError, match=r"g\+\+ is not on the PATH\nTry: apt-get install g\+\+"):
        maker.make("aoti_fp32")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def package(maker):
    """The placed package, whole again after the test."""
    maker.make("aoti_fp32")
    folder = home(maker, "aoti_fp32")
    kept = {name: (folder / name).read_bytes() for name in ("model.pt2", "model.json")}
    yield folder / "model.pt2"
    for name, content in kept.items():
        (folder / name).write_bytes(content)


def assert_refused(client, package, reason):
    with pytest.raises(ModelNotReadyError, match=reason):
        client.load_model("sentence_aoti_fp32")
    with pytest.raises(CompiledTargetError, match=reason):
        load_package(package)


def test_an_altered_package_is_refused(client, package):
    package.write_bytes(package.read_bytes()[:-1] + b"!")
    assert_refused(client, package, "was altered")


def test_a_package_of_another_machine_is_refused_with_the_way_out(client, package):
    sidecar = package.with_name("model.json")
    content = json.loads(sidecar.read_text())
    content["settings"]["instructions"] += " avx4096"
    sidecar.write_text(json.dumps(content))
    assert_refused(client, package, r"lacks the instructions avx4096: compile it on the machine that serves it")


def test_the_containers_configuration_names_the_platform_and_the_local_one_the_backend(package):
    folder = package.parent.parent
    configs = [
        text_format.Parse((folder / name).read_text(), model_config_pb2.ModelConfig())
        for name in ("config.pbtxt", "configs/local.pbtxt")
    ]
    assert [(config.platform, config.backend) for config in configs] == [("torch_aoti", ""), ("", "torch_aoti")]
    assert [tensor.name for tensor in configs[0].input] == ["ARGS[0]", "ARGS[1]"]
    assert [tensor.name for tensor in configs[0].output] == ["RESULT[0]"]
    for config in configs:
        config.platform = config.backend = ""
    assert configs[0] == configs[1]


# --- TensorRT ---------------------------------------------------------------------------------------------------
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
    entry = {{"name": "embedding__0", "dimensions": "x".join(map(str, rows.shape)), "values": rows.ravel().tolist()}}
    pathlib.Path(answer).write_text(json.dumps([entry]))
else:
    print("11.4.1")
"""


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


def test_commands_are_shown_without_docker(build, tmp_path):
    result, log = build("--print")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("docker run --rm --gpus all") == 6
    assert not log.exists()


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
