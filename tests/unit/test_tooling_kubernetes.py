"""deploy/kubernetes: valid by the schemas of Kubernetes, and in step with code, settings and the compose files.

No cluster is needed, and none is used.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess

import jsonschema
import pytest
import yaml
from kustomized import build, containers, find
from network_policies import Pod, lets_in, pods, policies_of, selects
from test_tooling_compose import CPU, GPU, TRITON_IMAGE

from scripts import api, demo
from workshop.catalogue import SIGNATURES
from workshop.scale.object_store import Location
from workshop.settings import PROJECT_ROOT, Settings, load_settings
from workshop.triton.artefact import MODEL_FILES
from workshop.triton.endpoint import CONTROL_HEADER

FOLDER = PROJECT_ROOT / "deploy/kubernetes"
OVERLAYS = {name: build(FOLDER / f"overlays/{name}") for name in ("cpu", "gpu", "monitoring")}
KSERVE = build(FOLDER / "kserve")
SERVED = find(KSERVE, "InferenceService", "sentence-bert")
FOLDERS = {**{f"overlays/{name}": resources for name, resources in OVERLAYS.items()}, "kserve": KSERVE}
README = (FOLDER / "README.md").read_text()
SCHEMAS = PROJECT_ROOT / "tests/schemas"
OURS = json.loads((SCHEMAS / "kubernetes-1.34.json").read_text())
CUSTOM = json.loads((SCHEMAS / "custom-resources.json").read_text())
OPERATORS = json.loads((SCHEMAS / "operators.json").read_text())
TRITON_PORTS = {"http": 8000, "grpc": 8001, "metrics": 8002}
SECRETS = {
    "model-store": {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"},
    "triton-control": {"WORKSHOP_TRITON_CONTROL_KEY"},
    "arangodb-root": {"username", "password"},
}
KUBECTL = shutil.which("kubectl")

every = pytest.mark.parametrize("resources", OVERLAYS.values(), ids=OVERLAYS)


def problems(resource: dict) -> list[str]:
    """What the schema of its kind says against a resource."""
    kind = f"{resource['apiVersion']}/{resource['kind']}"
    if kind in CUSTOM["kinds"]:
        shape = {
            "type": "object",
            "required": ["spec"],
            "properties": {
                "apiVersion": {},
                "kind": {},
                "metadata": {"$ref": "#/definitions/metadata"},
                "spec": CUSTOM["kinds"][kind],
            },
            "additionalProperties": False,
        }
        schema = {**shape, "definitions": CUSTOM["definitions"]}
    else:
        schema = {**OURS["kinds"][resource["kind"]], "definitions": OURS["definitions"]}
    return [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(resource)] + refusals(resource)


def refusals(resource: dict) -> list[str]:
    """What the operator's own types say against a custom resource; nothing where they could not be had."""
    definition = OPERATORS["kinds"].get(f"{resource['apiVersion']}/{resource['kind']}")
    if definition is None:
        return []
    schema = {"$ref": f"#/definitions/{definition}", "definitions": OPERATORS["definitions"]}
    return [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(resource["spec"])]


@every
def test_the_schemas_accept_it(resources):
    found = {f"{one['kind']} {one['metadata']['name']}": problems(one) for one in [*resources, *KSERVE]}
    assert not {name: said for name, said in found.items() if said}


def test_the_schemas_refuse_what_is_wrong():
    triton = find(OVERLAYS["cpu"], "Deployment", "triton")
    assert problems({**triton, "apiVersion": "apps/v2"})
    assert problems({**triton, "spec": {**triton["spec"], "replica": 2}})
    service = find(OVERLAYS["cpu"], "Service", "triton")
    assert problems({**service, "spec": {**service["spec"], "ports": [{"name": "http", "port": "8000"}]}})
    cluster = find(OVERLAYS["cpu"], "ArangoDeployment", "arangodb")
    assert problems({**cluster, "spec": {**cluster["spec"], "dbservers": {"count": 3, "arguments": []}}})


def test_custom_resources_are_held_against_the_operators_own_types():
    used = {f"{one['apiVersion']}/{one['kind']}" for one in [*OVERLAYS["monitoring"], *KSERVE]}
    assert set(CUSTOM["kinds"]) <= used
    assert set(CUSTOM["kinds"]) - set(OPERATORS["kinds"]) == {"database.arangodb.com/v1/ArangoDeployment"}
    scaled = find(OVERLAYS["monitoring"], "ScaledObject", "triton")
    monitor, store = (find(OVERLAYS["monitoring"], "PodMonitor", name) for name in ("triton", "arangodb"))
    for resource, change in (
        (scaled, {"fallback": {"replicas": 3}}),
        (scaled, {"minReplicas": 2}),
        (monitor, {"podMetricsEndpoints": [{"port": 8002}]}),
        (store, {"podMetricsEndpoints": [{"basicAuth": {"username": {"name": "arangodb-root"}}}]}),
        (SERVED, {"predictor": {**SERVED["spec"]["predictor"], "replicas": 2}}),
    ):
        assert not refusals(resource)
        assert refusals({**resource, "spec": {**resource["spec"], **change}})


@pytest.mark.skipif(KUBECTL is None, reason="no kubectl on this machine, whose kustomize this test compares with")
@pytest.mark.parametrize("folder", FOLDERS)
def test_kustomize_builds_the_same(folder):
    command = [KUBECTL, "kustomize", str(FOLDER / folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    theirs = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(result.stdout)}
    assert theirs == {(one["kind"], one["metadata"]["name"]): one for one in FOLDERS[folder]}


@every
def test_images_are_those_of_the_compose_files(resources):
    tag = TRITON_IMAGE.rpartition(":")[2]
    (triton,) = containers(find(resources, "Deployment", "triton"))
    assert triton["image"].endswith(f"/triton:{tag}")
    cluster = find(resources, "ArangoDeployment", "arangodb")["spec"]
    assert cluster["image"] == GPU["services"]["arangodb"]["image"]
    assert SERVED["spec"]["predictor"]["model"]["runtimeVersion"] == tag
    version = re.search(r'^version = "(.*)"$', (PROJECT_ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    for name in ("api", "demo"):
        (container,) = containers(find(resources, "Deployment", name))
        assert container["image"].endswith(f"/services:{version}")
        assert f"{container['image']} " in (PROJECT_ROOT / "docker/services.Dockerfile").read_text()
    assert f"--tag {triton['image']}" in README


@every
def test_triton_is_started_as_in_compose_but_for_its_models(resources):
    (triton,) = containers(find(resources, "Deployment", "triton"))
    expected = [
        re.sub(r"\$\{(\w+):\?[^}]*\}", r"$(\1)", option)
        for option in GPU["services"]["triton"]["command"]
        if not option.startswith("--model-repository=")
    ]
    ours = {"--model-repository=$(WORKSHOP_MODEL_REPOSITORY_URL)", "--exit-timeout-secs=60"}
    assert set(triton["args"]) == {*expected, *ours}
    assert {port["name"]: port["containerPort"] for port in triton["ports"]} == TRITON_PORTS
    given = {env["name"] for env in triton["env"]}
    assert set(re.findall(r"\$\((\w+)\)", " ".join(triton["args"]))) <= given
    assert sum(f"=model-repository:{CONTROL_HEADER}=" in option for option in triton["args"]) == 2
    shm = GPU["services"]["triton"]["shm_size"].removesuffix("gb")
    volumes = {
        one["name"]: one for one in find(resources, "Deployment", "triton")["spec"]["template"]["spec"]["volumes"]
    }
    assert volumes["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": f"{shm}Gi"}


@every
def test_probes_ask_what_the_server_answers(resources):
    names = {signature.name for signature in SIGNATURES}
    (triton,) = containers(find(resources, "Deployment", "triton"))
    ready = triton["readinessProbe"]["httpGet"]["path"]
    assert re.fullmatch(r"/v2/models/(\w+)/ready", ready)[1] in names
    for probe in ("startupProbe", "livenessProbe"):
        assert triton[probe]["httpGet"]["path"] == "/v2/health/live"
    for name in ("triton", "api", "demo"):
        (container,) = containers(find(resources, "Deployment", name))
        ports = {port["name"] for port in container["ports"]}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            (asked,) = [value for kind, value in container[probe].items() if kind in ("httpGet", "tcpSocket")]
            assert asked["port"] in ports
    served = SERVED["metadata"]["name"].replace("-", "_")
    assert served in names
    assert f"--load-model={served}" in SERVED["spec"]["predictor"]["model"]["args"]


def test_kserve_serves_under_the_key_and_with_the_credentials_of_the_base():
    (triton,) = containers(find(OVERLAYS["cpu"], "Deployment", "triton"))
    predictor = SERVED["spec"]["predictor"]
    model = predictor["model"]
    restricted = {option for option in triton["args"] if "-restricted-" in option}
    assert len(restricted) == 2
    assert {option for option in model["args"] if "-restricted-" in option} == restricted
    assert model["env"] == [env for env in triton["env"] if env["name"] == "WORKSHOP_TRITON_CONTROL_KEY"]
    assert set(re.findall(r"\$\((\w+)\)", " ".join(model["args"]))) == {env["name"] for env in model["env"]}
    account = find(KSERVE, "ServiceAccount", predictor["serviceAccountName"])
    assert account["automountServiceAccountToken"] is False
    secrets = [one["secretRef"]["name"] for one in triton["envFrom"]]
    assert [one["name"] for one in account["secrets"]] == secrets
    # the names that KServe's storage initializer looks for in the secret
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= SECRETS[secrets[0]]
    egress = find(OVERLAYS["cpu"], "NetworkPolicy", "triton")["spec"]["egress"]
    assert find(KSERVE, "NetworkPolicy", "sentence-bert")["spec"]["egress"] == egress, "to the same store"


def test_devices_are_asked_for_where_they_are():
    (cpu,), (gpu,) = (containers(find(OVERLAYS[name], "Deployment", "triton")) for name in ("cpu", "gpu"))
    assert gpu["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in cpu["resources"]["limits"]
    threads = {env["name"]: env.get("value") for env in cpu["env"]}["OMP_NUM_THREADS"]
    assert f"OMP_NUM_THREADS:-{threads}" in CPU["services"]["triton"]["environment"]["OMP_NUM_THREADS"]


@every
def test_services_reach_their_pods_and_budgets_and_policies_name_them(resources):
    deployments = {one["metadata"]["name"]: one for one in resources if one["kind"] == "Deployment"}
    labels = {name: one["spec"]["template"]["metadata"]["labels"] for name, one in deployments.items()}
    for one in resources:
        if one["kind"] == "Service":
            (name,) = [name for name, given in labels.items() if one["spec"]["selector"].items() <= given.items()]
            ports = {port["name"]: port["containerPort"] for port in containers(deployments[name])[0]["ports"]}
            assert {port["targetPort"]: port["port"] for port in one["spec"]["ports"]}.items() <= ports.items()
        elif one["kind"] == "Deployment":
            assert one["spec"]["selector"]["matchLabels"] == one["spec"]["template"]["metadata"]["labels"]
    budget = find(resources, "PodDisruptionBudget", "triton")["spec"]
    assert budget["selector"]["matchLabels"] == labels["triton"]
    assert budget["minAvailable"] < 2
    policies = {one["metadata"]["name"]: one["spec"] for one in resources if one["kind"] == "NetworkPolicy"}
    assert policies["closed"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    allowed = {port["port"] for rule in policies["triton"]["ingress"] for port in rule["ports"]}
    assert allowed == set(TRITON_PORTS)
    for rule in policies["triton"]["ingress"]:  # the services have no key, and ask the metrics for the models' names
        (named,) = [m for one in rule["from"] for m in one.get("podSelector", {}).get("matchExpressions", [])]
        assert set(named["values"]) == set(deployments) - {"triton"}


@every
def test_pods_run_as_nobody_in_particular_and_write_to_their_own_folders_only(resources):
    for one in resources:
        for container in containers(one):
            pod = one["spec"]["template"]["spec"]
            assert pod["securityContext"]["runAsNonRoot"] is True
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert pod["automountServiceAccountToken"] is False
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]
            assert {mount["name"] for mount in container["volumeMounts"]} == {
                volume["name"] for volume in pod["volumes"]
            }


@every
def test_settings_reach_the_services(resources, monkeypatch):
    given = find(resources, "ConfigMap", "workshop")["data"]
    assert {name.removeprefix("WORKSHOP_").lower() for name in given} <= set(Settings.model_fields)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    services = {one["metadata"]["name"]: one for one in resources if one["kind"] == "Service"}
    assert settings.triton_host in services
    ports = {port["name"]: port["port"] for port in services[settings.triton_host]["spec"]["ports"]}
    assert ports == {
        "http": settings.triton_http_port,
        "grpc": settings.triton_grpc_port,
        "metrics": settings.triton_metrics_port,
    }
    cluster = find(resources, "ArangoDeployment", "arangodb")  # its operator names the Service after it
    assert settings.effective_arango_url == f"http://{cluster['metadata']['name']}:8529"
    assert Location.parse(settings.model_repository_url).prefix
    assert SERVED["spec"]["predictor"]["model"]["storageUri"] == settings.model_repository_url


@every
def test_secrets_are_asked_for_by_names_that_the_readme_makes(resources):
    for one in [*resources, *KSERVE]:
        assert one["kind"] != "Secret", "none is committed"
        for container in containers(one):
            for env in container.get("env", []):
                reference = env.get("valueFrom", {}).get("secretKeyRef")
                assert reference is None or reference["key"] in SECRETS[reference["name"]]
            for source in container.get("envFrom", []):
                assert "configMapRef" in source or source["secretRef"]["name"] in SECRETS
    assert (
        find(resources, "ArangoDeployment", "arangodb")["spec"]["bootstrap"]["passwordSecretNames"]["root"] in SECRETS
    )
    for name, keys in SECRETS.items():
        (command,) = re.findall(rf"kubectl .*create secret generic {name} (.*)", README.replace("\\\n", " "))
        assert set(re.findall(r"--from-literal=(\w+)=", command)) == keys


@every
@pytest.mark.parametrize("name", ["api", "demo"])
def test_the_services_start_by_commands_that_exist(resources, name, monkeypatch, capsys):
    (container,) = containers(find(resources, "Deployment", name))
    program, script, *options = container["command"]
    assert program == "python"
    assert (PROJECT_ROOT / script).is_file()
    module = {"api": api, "demo": demo}[name]
    started = {}
    monkeypatch.setattr(module, "make_app", lambda *_: None)
    monkeypatch.setattr(module.uvicorn, "run", lambda _, **given: started.update(given))
    assert module.main(options) == 0
    assert (started["host"], started["port"]) == ("0.0.0.0", container["ports"][0]["containerPort"])
    assert started["port"] == Settings.model_fields[f"{name}_port"].default


def test_triton_is_scaled_by_the_time_that_requests_wait():
    scaled = find(OVERLAYS["monitoring"], "ScaledObject", "triton")["spec"]
    target = find(OVERLAYS["monitoring"], "Deployment", scaled["scaleTargetRef"]["name"])
    assert "replicas" not in target["spec"], "two hands at one number"
    assert scaled["minReplicaCount"] == find(OVERLAYS["gpu"], "Deployment", "triton")["spec"]["replicas"]
    assert scaled["minReplicaCount"] <= scaled["fallback"]["replicas"] <= scaled["maxReplicaCount"]
    (trigger,) = scaled["triggers"]
    rules = (PROJECT_ROOT / "docker/monitoring/rules.yml").read_text()
    names = set(re.findall(r"\bnv_\w+", trigger["metadata"]["query"]))
    assert names == {"nv_inference_queue_duration_us", "nv_inference_request_success"}
    assert all(name in rules for name in names), "those that tests ask a real server for"


CALLERS = {
    "api": Pod({"app.kubernetes.io/name": "api"}),
    "demo": Pod({"app.kubernetes.io/name": "demo"}),
    "who uses Triton": Pod({"workshop/uses-triton": "true"}),
    "who uses ArangoDB": Pod({"workshop/uses-arangodb": "true"}),
    "cluster": Pod({"app": "arangodb", "arango_deployment": "arangodb", "role": "dbserver"}),
    "operator": Pod({"app.kubernetes.io/name": "kube-arangodb"}, "operators"),
    "prometheus": Pod({"app.kubernetes.io/name": "prometheus"}, "monitoring"),
    "gateway": Pod({"app.kubernetes.io/name": "proxy"}, "gateway"),
    "another here": Pod({"app.kubernetes.io/name": "another"}),
    "another elsewhere": Pod({"workshop/uses-triton": "true", "workshop/uses-arangodb": "true"}, "default"),
}
ASKING = {"api", "demo", "who uses Triton"}
OF_THE_STORE = {"api", "demo", "who uses ArangoDB", "cluster", "operator"}
WAYS_IN = {
    "triton": {8000: ASKING, 8001: ASKING, 8002: {"api", "demo", "prometheus"}},
    "arangodb agent": {8529: OF_THE_STORE},
    "arangodb dbserver": {8529: OF_THE_STORE},
    "arangodb coordinator": {8529: OF_THE_STORE},
    "api": {8010: {"gateway"}},
    # by kubectl's port-forward, which asks no policy
    "demo": {8020: set()},
    "sentence-bert": {8080: {"who uses Triton"}, 9000: {"who uses Triton"}, 8002: set()},
}
WITH_METRICS = {**WAYS_IN, "arangodb coordinator": {8529: {*OF_THE_STORE, "prometheus"}}}


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("beside", [[], KSERVE], ids=["alone", "with KServe"])
def test_the_policies_let_in_to_each_pod_who_needs_it_and_nobody_else(overlay, beside):
    resources = [*OVERLAYS[overlay], *beside]
    expected = WITH_METRICS if overlay == "monitoring" else WAYS_IN
    made = pods(resources)
    assert set(made) == set(expected) - (set() if beside else {"sentence-bert"}), "each that makes pods stands above"
    for name, pod in made.items():
        assert set(pod.ports.values()) == set(expected[name])
        assert policies_of(pod, resources) - {"closed"} or not any(expected[name].values()), name
        for port, callers in expected[name].items():
            found = {caller for caller, its in CALLERS.items() if lets_in(resources, pod, its, port)}
            assert found == callers, f"{name}:{port}"


@every
def test_who_has_the_password_of_the_store_is_let_in_to_it(resources):
    holders = {
        one["metadata"]["name"]
        for one in resources
        for container in containers(one)
        for env in container.get("env", [])
        if env.get("valueFrom", {}).get("secretKeyRef", {}).get("name") == "arangodb-root"
    }
    assert holders == {"api", "demo"} <= OF_THE_STORE


def test_what_makes_pods_unknown_to_the_test_above_is_refused():
    with pytest.raises(ValueError, match="DaemonSet"):
        pods([{"kind": "DaemonSet", "metadata": {"name": "another"}, "spec": {}}])


def test_the_alerts_are_those_of_compose_asked_of_this_namespace_alone():
    ours = copy.deepcopy(find(OVERLAYS["monitoring"], "PrometheusRule", "workshop")["spec"])
    scope = '{namespace="workshop"}'
    for rule in (rule for group in ours["groups"] for rule in group["rules"]):
        named = re.findall(r"\b(?:up|nv_\w+|arangodb_\w+)\b(\{.*?\})?", rule["expr"])
        assert set(named) == {scope}, rule["expr"]
        rule["expr"] = rule["expr"].replace(scope, "")
    assert ours == yaml.safe_load((PROJECT_ROOT / "docker/monitoring/rules.yml").read_text())


def test_every_metric_that_is_asked_for_is_fetched_from_a_pod_that_prometheus_reaches():
    resources = OVERLAYS["monitoring"]
    fetched = {}
    for monitor in (one["spec"] for one in resources if one["kind"] == "PodMonitor"):
        (end,) = monitor["podMetricsEndpoints"]
        for name, pod in pods(resources).items():
            if selects(monitor["selector"], pod.labels):
                assert lets_in(resources, pod, CALLERS["prometheus"], pod.ports[end["port"]]), name
                fetched[name] = end
    rules = [
        rule for group in find(resources, "PrometheusRule", "workshop")["spec"]["groups"] for rule in group["rules"]
    ]
    triggers = find(resources, "ScaledObject", "triton")["spec"]["triggers"]
    queries = [rule["expr"] for rule in rules] + [trigger["metadata"]["query"] for trigger in triggers]
    families = set(re.findall(r"\b(nv|arangodb)_\w+\{", " ".join(queries)))
    # where each server reports: ArangoDB counts queries where they run
    assert set(fetched) == {{"nv": "triton", "arangodb": "arangodb coordinator"}[family] for family in families}
    compose = yaml.safe_load((PROJECT_ROOT / "docker/monitoring/prometheus.yml").read_text())
    triton, store = ({"metrics_path": None, **job} for job in compose["scrape_configs"])
    assert (fetched["triton"]["port"], fetched["triton"].get("path")) == ("metrics", triton["metrics_path"])
    assert fetched["arangodb coordinator"]["path"] == store["metrics_path"]
    root = find(resources, "ArangoDeployment", "arangodb")["spec"]["bootstrap"]["passwordSecretNames"]["root"]
    assert fetched["arangodb coordinator"]["basicAuth"] == {
        key: {"name": root, "key": key} for key in ("username", "password")
    }
    assert SECRETS[root] == {"username", "password"}


def test_the_image_of_the_services_holds_code_and_no_weights():
    ignored = (PROJECT_ROOT / "docker/services.Dockerfile.dockerignore").read_text().split()
    copied = re.findall(
        r"^COPY (\S+) /workshop/\1$", (PROJECT_ROOT / "docker/services.Dockerfile").read_text(), re.MULTILINE
    )
    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied)
    kept = {f"model_repository/**/*{name[name.index('.') :]}" for name in MODEL_FILES.values()} - set(ignored)
    assert kept == {"model_repository/**/*.xml"}, "OpenVINO's graph, a text beside its weights in .bin"


def test_the_image_for_studio_holds_nothing_that_git_leaves_out():
    rules = [line for line in (PROJECT_ROOT / ".gitignore").read_text().splitlines() if line and line[0] != "#"]
    assert not [rule for rule in rules if rule[0] == "!"], "an exception has to stand after what it is one of"
    left_out = (PROJECT_ROOT / "docker/sagemaker-studio/Dockerfile.dockerignore").read_text().split("\n")
    # a name without a folder is git's at every depth, and Docker's at the root alone
    missing = {line.strip("/") if "/" in line.rstrip("/") else f"**/{line.strip('/')}" for line in rules} - set(
        left_out
    )
    assert not missing
    assert ".git" in left_out
    assert {f"model_repository/*/[0-9]*/{name}" for name in MODEL_FILES.values()} <= set(left_out)


def test_the_cluster_has_a_vector_index_everywhere_it_is_asked_for():
    spec = find(OVERLAYS["cpu"], "ArangoDeployment", "arangodb")["spec"]
    for group in ("dbservers", "coordinators"):
        assert "--vector-index=true" in spec[group]["args"]
    assert "--vector-index=true" in GPU["services"]["arangodb"]["command"]
    assert spec["agents"]["count"] % 2 == 1
    assert spec["coordinators"]["count"] >= 2
