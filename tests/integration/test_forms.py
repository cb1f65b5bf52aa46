"""The forms of the sentence model: each made through the gates, served by the real tritonserver, and refused when it is
not what it says. A tiny model stands in for the real one."""

import copy
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
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
from workshop.settings import load_settings
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


def test_the_instances_of_an_openvino_model_may_run_on_all_cores(maker, client):
    name = maker.forms["openvino_fp32"].model.name
    maker.make("openvino_fp32")
    client.load_model(name)
    embed = TextEmbedder(client, name)
    processes = [p for p in psutil.process_iter(["cmdline"]) if f"/{name}/" in " ".join(p.info["cmdline"] or [])]
    seen = set()
    with ThreadPoolExecutor() as pool:  # OpenVINO would pin a thread for as long as it computes
        answer = pool.submit(embed, [f"{'bread ' * 80} {n}" for n in range(512)])
        while not answer.done():
            seen |= {tuple(process.cpu_affinity()) for process in processes}
    client.unload_model(name)
    assert len(processes) == 2
    assert seen == {tuple(sorted(os.sched_getaffinity(0)))}


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
    with pytest.raises(CompilerMissingError, match=r"g\+\+ is not on the PATH\nTry: install g\+\+"):
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
