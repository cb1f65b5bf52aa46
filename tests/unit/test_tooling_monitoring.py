"""The profile ``monitoring`` of the compose file: who starts, who is asked, who may look."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from workshop.settings import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "docker/monitoring"
SERVICES = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text())["services"]
DASHBOARD = json.loads((FOLDER / "grafana/dashboards/workshop.json").read_text())


def mounts(service: str) -> dict[str, Path]:
    """Place in the container to the project's file or folder that is mounted there, all read-only."""
    found = {}
    for volume in SERVICES[service]["volumes"]:
        source, place, *mode = volume.split(":")
        if source.startswith("./"):
            assert mode == ["ro"], volume
            found[place] = PROJECT_ROOT / source
    return found


def test_only_who_asks_for_the_profile_gets_it():
    with_profile = {name for name, service in SERVICES.items() if service.get("profiles") == ["monitoring"]}
    assert with_profile == {"prometheus", "grafana"}


def test_prometheus_asks_the_servers_of_the_compose_file_with_a_secret():
    files = mounts("prometheus")
    config = yaml.safe_load(files["/etc/prometheus/prometheus.yml"].read_text())
    assert config["rule_files"] == ["/etc/prometheus/rules.yml"]
    assert files["/etc/prometheus/rules.yml"].is_file()
    triton, store = config["scrape_configs"]
    # by name, so that every server of a fleet is asked: a fixed target is whichever address comes first
    assert triton["dns_sd_configs"] == [{"names": ["triton"], "type": "A", "port": 8002}]
    assert store["static_configs"] == [{"targets": ["arangodb:8529"]}]
    assert {triton["job_name"], store["job_name"]} == {"triton", "arangodb"} <= set(SERVICES)
    assert "--metrics-port=8002" in SERVICES["triton"]["command"]
    (secret,) = SERVICES["prometheus"]["secrets"]
    assert config["scrape_configs"][1]["basic_auth"]["password_file"] == f"/run/secrets/{secret}"


def test_prometheus_which_wants_no_password_is_not_published():
    assert "ports" not in SERVICES["prometheus"]
    assert SERVICES["grafana"]["environment"]["GF_AUTH_ANONYMOUS_ENABLED"] == "false"


@pytest.mark.parametrize(("password", "starts"), [("", False), ("s3cret", True)])
def test_grafana_starts_with_a_password_only(tmp_path, password, starts):
    run = tmp_path / "run.sh"
    run.write_text("#!/bin/sh\necho started\n")
    run.chmod(0o755)
    shell, option, script = SERVICES["grafana"]["entrypoint"]
    script = script.replace("$$", "$").replace("/run.sh", str(run))
    environment = {"GF_SECURITY_ADMIN_PASSWORD": password}
    result = subprocess.run([shell, option, script], env=environment, capture_output=True, text=True, timeout=10)
    assert (result.returncode == 0, result.stdout) == (starts, "started\n" if starts else "")
    assert starts or "WORKSHOP_GRAFANA_PASSWORD" in result.stderr


def test_grafana_finds_its_source_and_its_dashboard():
    files = mounts("grafana")
    provisioning = files["/etc/grafana/provisioning"]
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards/dashboards.yml").read_text())["providers"]
    folder = Path(provider["options"]["path"])
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert home.parent == folder
    assert (provisioning / folder.name / home.name).is_file()
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places)
