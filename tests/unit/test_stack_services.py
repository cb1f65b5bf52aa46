"""How the settings become the two services, and which of them are started."""

import re
import stat
import sys
from pathlib import Path

import pytest

from workshop import stack
from workshop.errors import RepositoryError, SettingsError
from workshop.settings import PROJECT_ROOT, Settings, load_settings
from workshop.stack import sagemaker
from workshop.stack.control import LOCAL_HOSTS, services_to_start
from workshop.stack.store import stack_password, store_service
from workshop.stack.triton import assemble_backends, find_triton, shared_memory_prefix, triton_service


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "models").mkdir()
    ports = {"triton_http_port": 8000, "triton_grpc_port": 8001, "triton_metrics_port": 8002, "arango_port": 8529}
    places = {"stack_dir": tmp_path / "stack", "model_repository": tmp_path / "models"}
    switched_off = {"sagemaker_port": 0, "response_cache_mb": 0, "arango_url": "", "arango_password": ""}
    return load_settings(**ports, **places, **switched_off, triton_host="127.0.0.1")


def changed(settings, **changes):
    return settings.model_copy(update=changes)


def test_triton_loads_the_named_models_only_and_binds_every_front_end_to_this_machine(settings):
    service = triton_service(settings, ["one", "two"])
    assert {"--model-control-mode=explicit", "--load-model=one", "--load-model=two"} <= set(service.argv)
    assert {"--http-address=127.0.0.1", "--grpc-address=127.0.0.1", "--metrics-address=127.0.0.1"} <= set(service.argv)
    assert "--allow-vertex-ai=false" in service.argv
    assert not any("sagemaker" in option or "cache" in option for option in service.argv[1:])
    assert service.ports == {"http": 8000, "grpc": 8001, "metrics": 8002}


def test_cache_sagemaker_and_metrics_are_switched_by_settings(settings):
    service = triton_service(changed(settings, response_cache_mb=64, sagemaker_port=8080, triton_metrics_port=0), [])
    assert "--cache-config=local,size=67108864" in service.argv
    assert {"--allow-sagemaker=true", "--sagemaker-port=8080", "--allow-metrics=false"} <= set(service.argv)
    assert service.ports == {"http": 8000, "grpc": 8001, "sagemaker": 8080}
    assert Path(service.argv[0]) != find_triton().binary, "the front end without an address option runs from a copy"


def test_the_sagemaker_front_end_has_a_port_of_its_own_unless_it_is_switched_off(settings):
    service = triton_service(changed(settings, sagemaker_port=None, sagemaker_model="films"), [])
    assert service.ports["sagemaker"] == 8005
    assert service.env["SAGEMAKER_TRITON_DEFAULT_MODEL_NAME"] == "films"
    other = triton_service(changed(settings, sagemaker_port=None, sagemaker_model="songs"), [])
    assert other.fingerprint != service.fingerprint
    assert "SAGEMAKER_TRITON_DEFAULT_MODEL_NAME" not in triton_service(settings, []).env


def test_a_server_that_cannot_be_kept_local_has_the_front_end_only_where_it_was_asked_for(
    settings, monkeypatch, caplog
):
    monkeypatch.setattr(sagemaker, "BINARY_SHA256", "0" * 64)
    service = triton_service(changed(settings, sagemaker_port=None), [])
    assert "sagemaker" not in service.ports
    assert "--allow-sagemaker=true" not in service.argv
    assert "no SageMaker front end" in caplog.text
    asked = triton_service(changed(settings, sagemaker_port=8080), [])
    assert asked.ports["sagemaker"] == 8080
    assert asked.open_ports == {8080}
    assert Path(asked.argv[0]) == find_triton().binary, "as it is, on its default address"
    assert "port 8080 of SageMaker is open to other machines" in caplog.text


def test_the_ports_of_the_readmes_shell_win_over_those_of_the_file_that_compose_reads_too(tmp_path, monkeypatch):
    fields = ("triton_http_port", "triton_grpc_port", "triton_metrics_port", "arango_port")
    dotenv = {f"WORKSHOP_{name.upper()}": 9000 + place for place, name in enumerate(fields)}
    (tmp_path / ".env").write_text("".join(f"{name}={port}\n" for name, port in dotenv.items()))
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")
    for name in (*dotenv, "WORKSHOP_SAGEMAKER_PORT"):
        monkeypatch.delenv(name, raising=False)
    places = {"stack_dir": tmp_path / "stack", "model_repository": tmp_path}

    def ports():
        settings = load_settings(**places)
        return triton_service(settings, []).ports | {"store": store_service(settings).ports["http"]}

    of_dotenv = ports()
    assert [of_dotenv[name] for name in ("http", "grpc", "metrics", "store")] == list(dotenv.values())
    (line,) = re.findall(
        r"^export (WORKSHOP_TRITON_HTTP_PORT=.*)$", (PROJECT_ROOT / "README.md").read_text(), re.MULTILINE
    )
    for word in line.split():
        monkeypatch.setenv(*word.split("="))
    of_shell = ports()
    assert [of_shell[name] for name in ("http", "grpc", "metrics", "store")] == [8100, 8101, 8102, 8629]
    defaults = {Settings.model_fields[name].default for name in fields}
    assert not set(of_shell.values()) & (set(of_dotenv.values()) | defaults), "both at once"


@pytest.mark.parametrize("ports", [{"triton_grpc_port": 8000}, {"triton_http_port": 0}, {"triton_http_port": 70000}])
def test_ports_that_clash_or_are_out_of_range_are_refused(settings, ports):
    with pytest.raises(SettingsError, match="Triton's ports must differ and lie between 1 and 65535"):
        triton_service(changed(settings, **ports), [])


def test_a_missing_repository_is_refused(settings, tmp_path):
    with pytest.raises(RepositoryError, match=r"nowhere does not exist(?s:.*)WORKSHOP_MODEL_REPOSITORY"):
        triton_service(changed(settings, model_repository=tmp_path / "nowhere"), [])


def test_the_server_finds_this_python_and_its_libraries_whatever_the_callers_environment(settings, monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/elsewhere")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("AIP_MODE", "PREDICTION")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/own/libraries")
    env = triton_service(settings, []).env
    assert not {"PYTHONHOME", "PYTHONPATH", "AIP_MODE"} & set(env)
    assert env["PATH"].split(":")[0] == f"{sys.prefix}/bin"
    libraries = env["LD_LIBRARY_PATH"].split(":")
    assert libraries[0].endswith("nvidia_pytriton.libs")
    assert libraries[-1] == "/own/libraries"


def test_the_model_processes_wait_without_long_spinning_unless_the_caller_says_otherwise(settings, monkeypatch):
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    env = triton_service(settings, []).env
    assert env["GOMP_SPINCOUNT"] == "1000"
    assert env["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "64"


def test_the_fingerprint_changes_with_the_options_but_not_with_the_models(settings):
    fingerprint = triton_service(settings, []).fingerprint
    assert triton_service(settings, ["one"]).fingerprint == fingerprint
    assert triton_service(changed(settings, response_cache_mb=1), []).fingerprint != fingerprint


def test_the_backend_directory_holds_the_python_backend_of_this_version_and_ours(tmp_path):
    assemble_backends(find_triton(), tmp_path / "backends")
    assemble_backends(find_triton(), tmp_path / "backends")
    names = {str(path.relative_to(tmp_path / "backends")) for path in (tmp_path / "backends").rglob("*.*")}
    assert {"python/libtriton_python.so", "python/triton_python_backend_utils.py"} <= names
    assert {"pytorch/model.py", "pytorch/batching.py", "onnxruntime/model.py", "onnxruntime/batching.py"} <= names
    stub = tmp_path / "backends" / "python" / "triton_python_backend_stub"
    assert stub.stat().st_mode & stat.S_IXUSR
    assert not any(path.is_symlink() for path in (tmp_path / "backends").rglob("*"))


def test_stacks_in_different_folders_never_share_memory_regions(tmp_path):
    assert shared_memory_prefix(tmp_path / "a") != shared_memory_prefix(tmp_path / "b")
    assert shared_memory_prefix(tmp_path / "a") == shared_memory_prefix(tmp_path / "a")


def test_the_store_password_is_made_once_and_readable_by_its_owner_only(settings):
    path = settings.stack_password_file
    first = stack_password(path)
    assert len(first) >= 24
    assert stack_password(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_store_gets_the_password_by_its_environment_never_on_the_command_line(settings):
    service = store_service(settings)
    password = service.env["ARANGO_ROOT_PASSWORD"]
    assert password == settings.stack_password_file.read_text().strip()
    assert not any(password in argument for argument in service.argv)
    assert service.argv[1:3] == ("-m", "aqlite")
    assert "--set-root-password" not in service.argv
    assert service.ports == {"http": 8529}


def test_a_password_of_the_settings_is_used_and_not_written(settings):
    service = store_service(changed(settings, arango_password="from the environment"))
    assert service.env["ARANGO_ROOT_PASSWORD"] == "from the environment"
    assert not settings.stack_password_file.exists()


@pytest.mark.parametrize("host", LOCAL_HOSTS)
def test_both_services_are_started_for_local_settings(settings, host):
    assert services_to_start(changed(settings, triton_host=host), None) == ["triton", "aqlite"]


def test_servers_the_settings_place_elsewhere_are_left_out_or_refused_when_named(settings):
    real_store = changed(settings, arango_url="http://db.example:8529")
    assert services_to_start(real_store, None) == ["triton"]
    assert services_to_start(changed(settings, triton_host="gpu.example"), None) == ["aqlite"]
    with pytest.raises(SettingsError, match=r"aqlite is not started here, because ARANGO_URL=http://db\.example:8529"):
        services_to_start(real_store, ["aqlite"])


def test_nothing_is_started_where_all_servers_run_already(settings):
    compose = changed(settings, start_servers=False)
    assert services_to_start(compose, None) == []
    with pytest.raises(SettingsError, match="triton is not started here, because WORKSHOP_START_SERVERS=false"):
        services_to_start(compose, ["triton"])


def test_an_unknown_service_is_refused(settings):
    with pytest.raises(SettingsError, match="no service nginx in the local stack, it has triton, aqlite"):
        stack.up(settings, ["nginx"])
    with pytest.raises(SettingsError, match="no service nginx"):
        stack.log_path(settings, "nginx")
    assert not settings.stack_dir.exists(), "and nothing was touched"


def test_the_status_of_a_stack_that_never_ran_is_stopped(settings):
    assert [(status.name, status.state, status.pid) for status in stack.status(settings)] == [
        ("triton", "stopped", 0),
        ("aqlite", "stopped", 0),
    ]
    assert stack.down(settings) == []
