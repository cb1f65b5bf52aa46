"""The compose files: valid by the Compose specification's schema, and in step with code, settings and README.

No Docker engine is needed, and none is used.
"""

from __future__ import annotations

import ast
import copy
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from workshop.settings import PROJECT_ROOT, Settings, load_settings
from workshop.text import tokenization
from workshop.text.ensembles import CODE_FILE
from workshop.text.forms import sentence_forms
from workshop.text.generation.entries import DATA_DIR_VARIABLE, is_ours
from workshop.text.sentiment import wordpiece
from workshop.text.sentiment.signatures import WORDPIECE_FILE
from workshop.triton.endpoint import CONTROL_HEADER
from workshop.triton.repository import read_config
from workshop.vision import preprocessing
from workshop.vision.signatures import PREPROCESSING_CODE_FILE

REPOSITORY = PROJECT_ROOT / "model_repository"
RESET = object()
VIT_MODELS = ("python_vit", "vit_preprocessing")  # in the image for the models of the Hub


class ComposeLoader(yaml.SafeLoader):
    """YAML with Compose's ``!reset``, which takes a key of an earlier file away."""


ComposeLoader.add_constructor("!reset", lambda loader, node: RESET)


def load(name: str) -> dict:
    return yaml.load((PROJECT_ROOT / name).read_text(), ComposeLoader)


def merged(base: dict, override: dict) -> dict:
    """What Compose makes of two files, as far as ours go: nested mappings merge, ``!reset`` removes."""
    result = copy.deepcopy(base)
    for key, value in override.items():
        if value is RESET:
            result.pop(key)
        else:
            result[key] = merged(result.get(key, {}), value) if isinstance(value, dict) else value
    return result


GPU = load("docker-compose.yml")
CPU = merged(GPU, load("docker-compose.cpu.yml"))
HUB = load("docker-compose.transformers.yml")["services"]["triton"]
TRITON_IMAGE = GPU["services"]["triton"]["build"]["args"]["TRITON_IMAGE"]
# https://docs.nvidia.com/deeplearning/triton-inference-server/release-notes/
TRITON_VERSIONS = {"26.09": "2.73.0"}

both = pytest.mark.parametrize("compose", [GPU, CPU], ids=["gpu", "cpu"])


def interpolated(value: object, dotenv: dict[str, str]) -> str:
    """What Compose makes of a variable's value; one that it demands is its own name here."""
    text = re.sub(r"\$\{(\w+):-(\w*)\}", lambda found: dotenv.get(found[1], found[2]), str(value))
    return re.sub(r"\$\{(\w+):\?[^}]*\}", r"\1", text)


def published(service: dict) -> dict[int, tuple[str, str]]:
    """Container port to (host address, host port)."""
    return {int(inside): (host, outside) for host, outside, inside in map(split_port, service.get("ports", []))}


def split_port(port: str) -> tuple[str, str, str]:
    return re.fullmatch(r"([\d.]+):(\$\{\w+:-\d+\}|\d+):(\d+)", port).groups()


def pinned() -> dict[str, str]:
    """Package to version in requirements.txt."""
    lines = (PROJECT_ROOT / "requirements.txt").read_text().splitlines()
    return dict(re.match(r"([\w.-]+)(?:\[[\w,]+\])?==([\w.]+)", line).groups() for line in lines if "==" in line)


def check_specification(compose: dict, folder: Path) -> None:
    """The Compose specification's own schema accepts the file."""
    path = folder / "compose.json"
    path.write_text(json.dumps(compose))
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    result = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout


@both
def test_the_specification_accepts_it(compose, tmp_path):
    check_specification(compose, tmp_path)


@both
def test_images_are_exact(compose):
    triton = compose["services"]["triton"]["build"]["args"]["TRITON_IMAGE"]
    assert re.fullmatch(r"nvcr\.io/nvidia/tritonserver:\d\d\.\d\d-py3", triton)
    assert triton.rpartition(":")[2] >= "25.07", "earlier releases can be taken over from the network"
    assert re.fullmatch(r"arangodb:3\.12\.\d+\.\d+", compose["services"]["arangodb"]["image"])
    assert re.fullmatch(r"prom/prometheus:v3\.\d+\.\d+", compose["services"]["prometheus"]["image"])
    assert re.fullmatch(r"grafana/grafana:\d+\.\d+\.\d+", compose["services"]["grafana"]["image"])
    for image in ("jupyter", "demo"):
        base = (PROJECT_ROOT / f"docker/{image}.Dockerfile").read_text()
        assert re.search(r"^FROM python:3\.1[0-2]\.\d+-slim-bookworm$", base, re.MULTILINE)


@pytest.mark.parametrize("image", [TRITON_IMAGE, GPU["services"]["arangodb"]["image"]])
def test_the_readme_names_the_same_images(image):
    readme = (PROJECT_ROOT / "README.md").read_text()
    repository = image.partition(":")[0]
    assert set(re.findall(rf"(?<![\w/]){re.escape(repository)}:[\w.-]+\b", readme)) == {image}


@both
def test_every_port_is_published_on_the_loopback_at_the_settings_default(compose):
    expected = {
        "triton": {8000: "triton_http_port", 8001: "triton_grpc_port", 8002: "triton_metrics_port"},
        "arangodb": {8529: "arango_port"},
        "demo": {8020: "demo_port"},
    }
    for name, service in compose["services"].items():
        ports = published(service)
        assert {host for host, _ in ports.values()} <= {"127.0.0.1"}
        for inside, setting in expected.get(name, {}).items():
            assert ports[inside][1] == f"${{WORKSHOP_{setting.upper()}:-{Settings.model_fields[setting].default}}}"
        assert not expected.get(name) or set(ports) == set(expected[name])


@both
def test_triton_serves_the_committed_repository_under_explicit_control(compose):
    triton = compose["services"]["triton"]
    assert triton["volumes"] == ["./model_repository:/models:ro"]
    assert load_settings().model_repository == REPOSITORY
    options = set(triton["command"][1:])
    assert {"--model-repository=/models", "--model-control-mode=explicit", "--load-model=*"} <= options
    assert {"--exit-on-error=false", "--strict-readiness=false"} <= options
    ports = {f"--{kind}-port={port}" for kind, port in (("http", 8000), ("grpc", 8001), ("metrics", 8002))}
    assert ports <= options
    assert triton["shm_size"] == "1gb"


@both
def test_models_are_loaded_for_holders_of_a_key_that_only_jupyterlab_gets(compose):
    key = r"\$\{WORKSHOP_TRITON_CONTROL_KEY:\?.*\}"
    for option in ("--http-restricted-api", "--grpc-restricted-protocol"):
        (given,) = [text for text in compose["services"]["triton"]["command"] if text.startswith(f"{option}=")]
        assert re.fullmatch(rf"{option}=model-repository:{CONTROL_HEADER}={key}", given)
    holders = {
        name
        for name, service in compose["services"].items()
        if "WORKSHOP_TRITON_CONTROL_KEY" in service.get("environment", {})
    }
    assert holders == {"jupyter"}
    assert re.fullmatch(key, compose["services"]["jupyter"]["environment"]["WORKSHOP_TRITON_CONTROL_KEY"])


def test_only_the_gpu_variant_reserves_a_gpu():
    devices = GPU["services"]["triton"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}]
    assert "deploy" not in CPU["services"]["triton"]
    assert GPU["services"].keys() == CPU["services"].keys()


def test_model_configurations_fit_both_variants():
    """Triton places a model, but for machine code that was compiled for the processor."""
    compiled = {form.model.name for form in sentence_forms().values() if form.model.platform == "torch_aoti"}
    assert all((REPOSITORY / name / "config.pbtxt").is_file() for name in compiled)
    for folder in sorted(path.parent for path in REPOSITORY.glob("*/config.pbtxt")):
        groups = read_config(folder).instance_group
        kinds = {group.KIND_CPU if folder.name in compiled else group.KIND_AUTO for group in groups}
        assert {group.kind for group in groups} == kinds, f"{folder.name} is placed otherwise"


def stages() -> dict[str, set[str]]:
    """Packages that each stage of the Triton image installs."""
    dockerfile = (PROJECT_ROOT / "docker/triton.Dockerfile").read_text()
    found = re.findall(r"^FROM \S+ AS (\w+)$(.*?)(?=^FROM |\Z)", dockerfile, re.MULTILINE | re.DOTALL)
    packages = {name: set(re.findall(r"\^([\w-]+)==", text)) for name, text in found}
    assert set().union(*packages.values()) <= pinned().keys()
    return packages


def test_the_triton_image_has_what_the_python_models_import():
    given = {*sys.stdlib_module_names, *stages()["base"], "numpy", "triton_python_backend_utils"}
    copied = {Path(file).stem for file in (CODE_FILE, PREPROCESSING_CODE_FILE, WORDPIECE_FILE)}  # beside model.py
    for module in (tokenization, preprocessing, wordpiece):
        assert imported(Path(module.__file__)) <= given | {"PIL", "cudf"}  # cuDF is used where it is there
    for path in REPOSITORY.glob("*/1/model.py"):
        if not is_ours(path.parent.parent):
            hub = stages()["transformers"] if path.parent.parent.name in VIT_MODELS else set()
            assert imported(path) <= given | copied | hub, path


def test_the_image_for_hub_models_has_what_they_import_and_reads_only():
    assert HUB["build"]["target"] == "transformers"
    assert GPU["services"]["triton"]["build"]["target"] == "base"
    assert all(volume.endswith(":ro") for volume in HUB["volumes"])
    assert HUB["environment"]["HF_HUB_OFFLINE"] == 1
    assert f"./.data:{HUB['environment'][DATA_DIR_VARIABLE]}:ro" in HUB["volumes"]
    packages = stages()["base"] | stages()["transformers"]
    given = {*sys.stdlib_module_names, *packages, "numpy", "triton_python_backend_utils"}
    served = sorted((PROJECT_ROOT / "workshop/text/generation/served").glob("*.py"))
    assert served
    for path in served:
        assert imported(path) <= given | {other.stem for other in served}, path


def imported(path: Path) -> set[str]:
    """Top-level names of the modules a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_client_library_and_server_are_of_one_release():
    release = TRITON_IMAGE.rpartition(":")[2].removesuffix("-py3")
    assert pinned()["tritonclient"] == TRITON_VERSIONS[release]


@both
def test_arangodb_has_vector_index_password_and_named_volume(compose):
    arangodb = compose["services"]["arangodb"]
    assert "--vector-index=true" in arangodb["command"]
    assert re.fullmatch(r"\$\{ARANGO_ROOT_PASSWORD:\?.*\}", arangodb["environment"]["ARANGO_ROOT_PASSWORD"])
    volume, _, folder = arangodb["volumes"][0].partition(":")
    assert folder == "/var/lib/arangodb3"
    assert volume in compose["volumes"]


@both
def test_jupyter_waits_for_nobody_and_reaches_the_servers_by_settings(compose, monkeypatch):
    jupyter = compose["services"]["jupyter"]
    assert "depends_on" not in jupyter, "JupyterLab starts, and explains, without the servers"
    for name in ("triton", "arangodb", "jupyter"):
        assert compose["services"][name]["healthcheck"]["test"][0] == "CMD"
    for name, value in jupyter["environment"].items():
        monkeypatch.setenv(name, interpolated(value, {}))
    settings = load_settings()
    assert (settings.triton_host, settings.triton_http_port, settings.triton_grpc_port) == ("triton", 8000, 8001)
    assert settings.effective_arango_url == "http://arangodb:8529"
    assert settings.arango_password == "ARANGO_ROOT_PASSWORD"
    assert settings.triton_control_key == "WORKSHOP_TRITON_CONTROL_KEY"
    assert settings.precision == ("bf16" if compose is GPU else "auto"), "the server's device decides"


@both
@pytest.mark.parametrize("dotenv", [{}, {"WORKSHOP_ARANGO_DATABASE": "anna", "WORKSHOP_DATA_SIZE": "tiny"}])
def test_the_demo_is_asked_for_gets_no_keys_and_reaches_the_servers_by_settings(compose, dotenv, monkeypatch):
    demo = compose["services"]["demo"]
    assert demo["profiles"] == ["demo"]
    assert "depends_on" not in demo, "each tab says what it lacks"
    assert all(volume.endswith(":ro") for volume in demo["volumes"])
    sources = {volume.partition(":")[0] for volume in demo["volumes"]}
    assert sources == {"./workshop", "./scripts", "./model_repository"}, "not .env, which holds the keys"
    for name, value in demo["environment"].items():
        monkeypatch.setenv(name, interpolated(value, dotenv))
    settings = load_settings()
    default = Settings.model_fields
    assert settings.arango_database == dotenv.get("WORKSHOP_ARANGO_DATABASE", default["arango_database"].default)
    assert settings.data_size == dotenv.get("WORKSHOP_DATA_SIZE", default["data_size"].default)
    assert (settings.triton_host, settings.triton_grpc_port, settings.triton_metrics_port) == ("triton", 8001, 8002)
    assert settings.effective_arango_url == "http://arangodb:8529"
    command = re.search(r"^CMD (\[.*\])$", (PROJECT_ROOT / "docker/demo.Dockerfile").read_text(), re.MULTILINE)[1]
    assert json.loads(command) == ["python", "scripts/demo.py", "--host", "0.0.0.0", "--port", "8020"]
    assert "http://127.0.0.1:8020/health" in demo["healthcheck"]["test"][-1]


def test_jupyterlab_starts_and_explains_itself_without_data_and_servers(tmp_path):
    """The container's own start script, with a Python that cannot download and says so when JupyterLab would begin."""
    fake = tmp_path / "python"
    fake.write_text(
        f"""#!/bin/sh
case "$*" in
  *fetch_data*) exit 1 ;;
  *jupyterlab*) echo "JupyterLab begins: $*" ;;
  *) exec {sys.executable} "$@" ;;
esac
"""
    )
    fake.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "WORKSHOP_TRITON_HTTP_PORT": "9",
        "PYTHONPATH": str(PROJECT_ROOT),
    }
    result = subprocess.run(
        ["sh", "docker/start_jupyter.sh"],
        cwd=PROJECT_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "python scripts/fetch_data.py" in result.stdout
    assert "Triton does not answer at 127.0.0.1:9" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("JupyterLab begins: -m jupyterlab --ip=0.0.0.0")


@pytest.mark.parametrize("path", sorted((PROJECT_ROOT / ".github/workflows").glob("*.yml")), ids=lambda path: path.stem)
def test_a_workflow_is_valid(path):
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(path)]
    result = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout


def test_the_workflow_runs_what_the_readme_says():
    path = PROJECT_ROOT / ".github/workflows/test.yml"
    jobs = yaml.safe_load(path.read_text())["jobs"]
    assert jobs["make-test"]["strategy"]["matrix"]["python"] == ["3.10", "3.11", "3.12"]
    commands = "\n".join(step.get("run", "") for job in jobs.values() for step in job["steps"])
    assert "make test " in commands
    assert "run_notebooks.py 00 01 06" in commands
    for name in jobs["compose-cpu"]["env"]["COMPOSE_FILE"].split(":"):
        assert (PROJECT_ROOT / name).is_file()


def test_the_dev_container_uses_a_supported_python_and_the_project_s_set_up():
    dev = json.loads((PROJECT_ROOT / ".devcontainer/devcontainer.json").read_text())
    assert re.fullmatch(r"\S+/python:3\.1[0-2]-bookworm", dev["image"])
    assert dev["postCreateCommand"] == "make setup"


def test_no_secret_is_committed_and_the_example_names_every_variable():
    example = (PROJECT_ROOT / ".env.example").read_text()
    assert re.search(r"^ARANGO_ROOT_PASSWORD=$", example, re.MULTILINE)
    assert re.search(r"^JUPYTER_TOKEN=$", example, re.MULTILINE)
    assert re.search(r"^WORKSHOP_TRITON_CONTROL_KEY=$", example, re.MULTILINE)
    used = set(re.findall(r"\$\{(\w+)", (PROJECT_ROOT / "docker-compose.yml").read_text()))
    known = set(re.findall(r"^(\w+)=", example, re.MULTILINE)) | {
        f"WORKSHOP_{n.upper()}" for n in Settings.model_fields
    }
    assert used <= known | {"JUPYTER_PORT"}
    used = set(re.findall(r"\$\{(\w+)", (PROJECT_ROOT / "docker-compose.transformers.yml").read_text()))
    assert used <= known | {"HF_HOME"}
