"""The scripts around the Studio image: shellcheck, and each AWS call that they make held against the services.

The scripts run as they are, with stand-ins for ``aws``, ``docker`` and ``curl`` that write down how they were called.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name

from workshop.sagemaker.aws import check_arguments
from workshop.settings import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "docker" / "sagemaker-studio"
SCRIPTS = sorted(FOLDER.glob("*.sh"))
GIVEN = {"AWS_REGION": "eu-west-1", "ROLE_ARN": "arn:aws:iam::123456789012:role/studio", "DOMAIN_ID": "d-abcdefghijkl"}
GLOBAL_OPTIONS = {"--query", "--output", "--region", "--profile"}
SESSION = botocore.session.get_session()

STAND_IN = """#!{python}
import json, os, pathlib, sys
name, given = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
if name == "docker" and given[:1] == ["login"]:
    sys.stdin.read()
files = [pathlib.Path(part[7:]).read_text() for part in given if part.startswith("file://")]
with open(os.environ["CALLS"], "a") as log:
    log.write(json.dumps([name, *given, *files]) + "\\n")
operation = " ".join(given[:2])
if operation in json.loads(os.environ["MISSING"]):
    sys.exit("An error occurred (ResourceNotFound): it does not exist")
if operation in json.loads(os.environ["REFUSED"]):
    sys.exit("An error occurred (AccessDeniedException): not allowed")
print(json.loads(os.environ["ANSWERS"]).get(operation, ""))
"""
THEIRS = {"ImageName": "theirs", "AppImageConfigName": "theirs"}
ANSWERS = {
    "sts get-caller-identity": "123456789012",
    "ecr get-login-password": "secret",
    "sagemaker describe-image-version": "3",
    "sagemaker describe-domain": json.dumps(
        {"DefaultUserSettings": {"JupyterLabAppSettings": {"CustomImages": [THEIRS]}}}
    ),
    "port container": "127.0.0.1:1",
    "run --detach": "container",
}


@pytest.fixture
def run(tmp_path):
    """Run a script with the stand-ins; returns its result and the calls it made."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("aws", "docker", "curl"):
        (tools / name).write_text(STAND_IN.format(python=sys.executable))
        (tools / name).chmod(0o755)
    log = tmp_path / "calls"

    def run(script, *, missing=(), refused=(), **environment):
        log.write_text("")
        own = {"PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin", "CALLS": str(log), "IMAGE_TAG": "abc"}
        said = {"MISSING": json.dumps(missing), "REFUSED": json.dumps(refused), "ANSWERS": json.dumps(ANSWERS)}
        command = ["bash", str(FOLDER / script)]
        result = subprocess.run(
            command, env={**own, **said, **environment}, capture_output=True, text=True, timeout=60, check=False
        )
        return result, [json.loads(line) for line in log.read_text().splitlines()]

    return run


def operations(calls):
    return [" ".join(call[1:3]) for call in calls if call[0] == "aws"]


def check_call(call):
    """Hold one ``aws`` command line against botocore's description of the service.

    Raises AwsRefusedError or AssertionError when name, options or values do not fit.
    """
    service, command, *rest = call
    if command == "wait":
        waiter, *rest = rest
        model = SESSION.get_waiter_model(service)
        [found] = [name for name in model.waiter_names if xform_name(name, "-") == waiter]
        operation = model.get_waiter(found).operation
    elif (service, command) == ("ecr", "get-login-password"):
        return  # of the command line itself, see `aws ecr get-login-password help`
    else:
        names = SESSION.get_service_model(service).operation_names
        [operation] = [name for name in names if xform_name(name, "-") == command]
    shape = SESSION.get_service_model(service).operation_model(operation).input_shape
    members = {xform_name(name, "-"): (name, kind) for name, kind in (shape.members if shape else {}).items()}
    arguments, position = {}, 0
    while position < len(rest):
        option, position = rest[position], position + 1
        assert option.startswith("--"), rest
        values = []
        while position < len(rest) and not rest[position].startswith("--"):
            values.append(rest[position])
            position += 1
        if option in GLOBAL_OPTIONS:
            continue
        if option == "--cli-input-json":
            arguments.update(json.loads(values[1]))  # the stand-in put the file's text behind its name
            continue
        name, kind = members[option.removeprefix("--")]
        arguments[name] = typed(kind, values)
    check_arguments(SESSION, service, operation, arguments)


def typed(kind, values):
    """The values of an option as the command line reads them."""
    if kind.type_name == "list" and not values[0].startswith("["):
        return values
    [value] = values
    return value if kind.type_name == "string" else json.loads(value)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_has_no_complaint(script):
    check = [Path(sys.executable).with_name("shellcheck"), "--external-sources", "--source-path=SCRIPTDIR", str(script)]
    found = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, found.stdout


def test_a_new_image_is_pushed_made_known_and_offered_by_calls_that_the_services_take(run):
    missing = ["ecr describe-repositories", "ecr describe-images", "sagemaker describe-image"]
    missing.append("sagemaker describe-app-image-config")
    result, calls = run("create_studio_image.sh", missing=missing, **GIVEN)
    assert result.returncode == 0, result.stderr
    assert operations(calls) == [
        *("sts get-caller-identity", "ecr describe-repositories", "ecr create-repository", "ecr describe-images"),
        *("ecr get-login-password", "sagemaker describe-image", "sagemaker create-image", "sagemaker wait"),
        *("sagemaker create-image-version", "sagemaker wait"),
        *("sagemaker describe-app-image-config", "sagemaker create-app-image-config"),
        *("sagemaker describe-domain", "sagemaker update-domain"),
    ]
    for call in calls:
        if call[0] == "aws":
            check_call(call[1:])
    pushed = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/graph-triton-workshop-studio:abc"
    assert ["docker", "push", pushed] in calls
    [update] = [call for call in calls if call[1:3] == ["sagemaker", "update-domain"]]
    assert json.loads(update[-1]) == {
        "DomainId": "d-abcdefghijkl",
        "DefaultUserSettings": {
            "JupyterLabAppSettings": {
                "CustomImages": [
                    {"ImageName": "graph-triton-workshop", "AppImageConfigName": "graph-triton-workshop-jupyterlab"},
                    THEIRS,
                ]
            }
        },
    }


def test_a_second_run_makes_nothing_twice(run):
    result, calls = run("create_studio_image.sh", **GIVEN)
    assert result.returncode == 0, result.stderr
    made = [operation for operation in operations(calls) if "create" in operation]
    assert made == ["sagemaker create-image-version"], "which has a token that makes it the same version"
    assert ["docker", "push"] not in [call[:2] for call in calls]
    for call in calls:
        if call[0] == "aws":
            check_call(call[1:])


def test_an_update_makes_a_version(run):
    result, calls = run("update_studio_image.sh", missing=["ecr describe-images"], AWS_REGION="cn-north-1")
    assert result.returncode == 0, result.stderr
    assert "new version: 3" in result.stdout
    assert operations(calls)[-3:] == [
        "sagemaker create-image-version",
        "sagemaker wait",
        "sagemaker describe-image-version",
    ]
    assert any("dkr.ecr.cn-north-1.amazonaws.com.cn/" in call[-1] for call in calls if call[:2] == ["docker", "push"])
    for call in calls:
        if call[0] == "aws":
            check_call(call[1:])
    result, _ = run("update_studio_image.sh", missing=["sagemaker describe-image"], AWS_REGION="eu-west-1")
    assert result.returncode == 1
    assert "run create_studio_image.sh first" in result.stderr


def test_missing_parameters_and_rights_stop_a_script_at_once(run):
    result, calls = run("create_studio_image.sh", AWS_REGION="eu-west-1")
    assert (result.returncode, calls) == (2, [])
    assert "set ROLE_ARN DOMAIN_ID" in result.stderr
    result, calls = run("create_studio_image.sh", refused=["sagemaker describe-image"], **GIVEN)
    assert result.returncode == 1
    assert "AccessDeniedException" in result.stderr
    assert operations(calls)[-1] == "sagemaker describe-image"


def test_a_build_is_started_once_and_asked_where_studio_will_ask(run):
    result, calls = run("build_image.sh")
    assert result.returncode == 0, result.stderr
    assert [call[:2] for call in calls] == [
        *(["docker", "build"], ["docker", "run"], ["docker", "port"]),
        *(["curl", "--fail"], ["docker", "stop"]),
    ]
    assert calls[3][-1] == "http://127.0.0.1:1/jupyterlab/default/api/status"
    result, calls = run("build_image.sh", SKIP_CHECK="1")
    assert [call[:2] for call in calls] == [["docker", "build"]]


def test_a_parameter_of_the_domain_that_has_no_value_is_named():
    command = [sys.executable, str(FOLDER / "fill_domain_config.py"), str(FOLDER / "studio-domain-config.json")]
    result = subprocess.run(
        command, input="{}", env={"DOMAIN_ID": "d-1"}, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 1
    assert "lacks the parameter 'STUDIO_IMAGE'" in result.stderr


def test_the_image_holds_the_user_that_the_app_settings_name():
    dockerfile = (FOLDER / "Dockerfile").read_text()
    assert "NB_UID=1000 NB_GID=100" in dockerfile
    assert '"DefaultUid": 1000, "DefaultGid": 100' in (FOLDER / "create_studio_image.sh").read_text()
    assert "--ServerApp.base_url=/jupyterlab/default" in (FOLDER / "start_studio.sh").read_text()
