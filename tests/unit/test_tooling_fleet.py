"""The compose file of the fleet and its proxy: valid, and in step with the code. No Docker engine is used."""

from __future__ import annotations

import re

import pytest
from test_tooling_compose import CPU, GPU, check_specification, load, merged, published

from workshop.scale.endpoints import EndpointPool
from workshop.scale.proxy import Backend, nginx_config
from workshop.settings import PROJECT_ROOT, Settings, load_settings

OVERLAY = load("docker-compose.fleet.yml")
both = pytest.mark.parametrize("compose", [merged(GPU, OVERLAY), merged(CPU, OVERLAY)], ids=["gpu", "cpu"])
SERVERS = [f"{GPU['name']}-triton-{number}" for number in (1, 2)]  # as Compose names them, and their network knows them


@both
def test_the_specification_accepts_it(compose, tmp_path):
    check_specification(compose, tmp_path)


@both
def test_the_proxy_listens_where_the_one_server_did(compose):
    triton, proxy = compose["services"]["triton"], compose["services"]["proxy"]
    assert triton["scale"] == len(SERVERS)
    assert not published(triton)
    assert {host for host, _ in published(proxy).values()} == {"127.0.0.1"}
    for inside, setting in {8000: "triton_http_port", 8001: "triton_grpc_port"}.items():
        expected = f"${{WORKSHOP_{setting.upper()}:-{Settings.model_fields[setting].default}}}"
        assert published(proxy)[inside][1] == expected
        assert f"--{setting.split('_')[1]}-port={inside}" in triton["command"]
    assert re.fullmatch(r"nginx:1\.\d+\.\d+-alpine", proxy["image"])


@both
def test_the_committed_configuration_is_the_one_that_the_code_writes(compose):
    (volume,) = compose["services"]["proxy"]["volumes"]
    source, place, mode = volume.split(":")
    assert (PROJECT_ROOT / source).read_text() == nginx_config([Backend(name) for name in SERVERS])
    assert mode == "ro"
    assert compose["services"]["proxy"]["command"] == ["nginx", "-c", place]


@both
def test_jupyterlab_reaches_each_server(compose, monkeypatch):
    for name, value in compose["services"]["jupyter"]["environment"].items():
        if name.startswith("WORKSHOP_TRITON_") and "KEY" not in name:
            monkeypatch.setenv(name, str(value))
    settings = load_settings()
    assert settings.triton_host == SERVERS[0]
    with EndpointPool.from_settings(settings) as pool:
        assert pool.urls == [f"{name}:8001" for name in SERVERS]
