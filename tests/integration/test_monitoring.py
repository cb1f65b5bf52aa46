"""The queries of dashboard and rules against what real servers report, and in a real Prometheus where one is here."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
import yaml

from workshop.errors import InferenceError
from workshop.settings import PROJECT_ROOT, Settings
from workshop.stack.private import free_ports
from workshop.store.connection import connect
from workshop.triton.client import TritonClient

FOLDER = PROJECT_ROOT / "docker/monitoring"
DASHBOARD = json.loads((FOLDER / "grafana/dashboards/workshop.json").read_text())
RULES = yaml.safe_load((FOLDER / "rules.yml").read_text())
QUERIES = {
    f"{panel['title']} {target['refId']}": target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", [])
} | {rule["alert"]: rule["expr"] for group in RULES["groups"] for rule in group["rules"]}
OF_PROMETHEUS = {"up"}
SECONDS = 60


def make_traffic(served: Settings, store: Settings) -> None:
    """Answered and refused requests, queries and transactions."""
    with TritonClient.from_settings(served) as client:
        for rows in (1, 4):
            client.infer("look_up", {"ids__0": np.zeros((rows, 2), np.int64)})
        with pytest.raises(InferenceError):
            client.infer("look_up", {"ids__0": np.full((1, 2), 10**6)})
    database = connect(store)
    assert list(database.aql.execute("FOR n IN 1..3 RETURN n")) == [1, 2, 3]
    database.begin_transaction().abort_transaction()


def password(store: Settings) -> str:
    return store.arango_password or store.stack_password_file.read_text().strip()


@pytest.fixture(scope="module")
def samples(local_stack, local_store) -> dict[str, set[str]]:
    """Names of the labels of every sample that the two servers report, by the sample's name."""
    make_traffic(local_stack, local_store)
    triton = requests.get(f"http://127.0.0.1:{local_stack.triton_metrics_port}/metrics", timeout=10)
    store = requests.get(
        f"{local_store.aqlite_url}/_admin/metrics/v2", auth=("root", password(local_store)), timeout=10
    )
    found: dict[str, set[str]] = {}
    for answer in (triton, store):
        assert answer.status_code == 200
        # by hand, since the library's parser gives counters the ending _total, which Prometheus does not
        for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? \S+$", answer.text, re.MULTILINE):
            found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


@pytest.mark.parametrize("name", QUERIES)
def test_what_a_query_names_is_reported(name, samples):
    query = QUERIES[name]
    names = set(re.findall(r"\b(?:nv|arangodb)_\w+", query))
    assert names or set(re.findall(r"\w+", query)) & OF_PROMETHEUS
    assert names <= samples.keys()
    grouped = {label for labels in re.findall(r"by \(([^)]*)\)", query) for label in labels.split(", ")}
    for metric in names:
        assert grouped <= samples[metric], metric


@pytest.fixture
def prometheus(tmp_path, local_stack, local_store) -> Iterator[str]:
    """Address of a real Prometheus, with the committed configuration but for the servers' places."""
    if not (binary := shutil.which("prometheus")):
        pytest.skip("no prometheus on this machine; Debian's package of that name has it")
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    secret = tmp_path / "password"
    secret.write_text(password(local_store))
    config["rule_files"] = [str(FOLDER / "rules.yml")]
    config["global"]["scrape_interval"] = "1s"
    triton, store = config["scrape_configs"]
    triton.pop("dns_sd_configs")  # no name server knows Compose's names here
    triton["static_configs"] = [{"targets": [f"127.0.0.1:{local_stack.triton_metrics_port}"]}]
    store["static_configs"][0]["targets"] = [f"127.0.0.1:{local_store.arango_port}"]
    store["basic_auth"]["password_file"] = str(secret)
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    (port,) = free_ports(1)
    command = [binary, f"--config.file={path}", f"--storage.tsdb.path={tmp_path / 'data'}"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stderr=log, stdout=log)
    try:
        yield f"http://127.0.0.1:{port}/api/v1"
    finally:
        process.terminate()
        process.wait(20)


def test_a_real_prometheus_takes_the_rules_and_answers_every_query(prometheus, local_stack, local_store):
    deadline = time.monotonic() + SECONDS
    missing = dict(QUERIES)
    failed: dict[str, str] = {}
    with requests.Session() as session:
        session.mount(
            "http://", requests.adapters.HTTPAdapter(max_retries=requests.adapters.Retry(8, backoff_factor=0.2))
        )
        while missing and time.monotonic() < deadline:
            make_traffic(local_stack, local_store)
            for name, query in list(missing.items()):
                # without the bound of a rule, which nothing here is meant to exceed
                asked = re.split(r" [>]=? | == 0", query)[0]
                answer = session.get(f"{prometheus}/query", params={"query": asked}, timeout=10).json()
                failed[name] = str(answer)
                values = [float(series["value"][1]) for series in answer["data"]["result"]]
                if not all(map(np.isnan, values)):  # a model that nobody asked has no mean
                    del missing[name]
            time.sleep(1)
        groups = session.get(f"{prometheus}/rules", timeout=10).json()["data"]["groups"]
    assert not missing, {name: failed[name] for name in missing}
    assert {rule["name"] for group in groups for rule in group["rules"]} == {
        rule["alert"] for group in RULES["groups"] for rule in group["rules"]
    }
    assert all(rule["health"] in ("ok", "unknown") for group in groups for rule in group["rules"])


def test_prometheus_s_own_checker_accepts_the_files(tmp_path):
    if not (promtool := shutil.which("promtool")):
        pytest.skip("no promtool on this machine; Debian's package prometheus has it")
    config = (FOLDER / "prometheus.yml").read_text()
    for place, here in (
        ("/etc/prometheus/rules.yml", FOLDER / "rules.yml"),
        ("/run/secrets/arango_password", Path(__file__)),
    ):
        assert place in config
        config = config.replace(place, str(here))
    path = tmp_path / "prometheus.yml"
    path.write_text(config)
    result = subprocess.run([promtool, "check", "config", str(path)], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
