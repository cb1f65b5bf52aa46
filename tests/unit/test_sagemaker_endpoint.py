"""The life of an endpoint: in moto's account, with failures put in, and as a dry run."""

import io
import json
import subprocess
import sys

import pytest
from aws_account import CLIENTS, REGION, Account
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from moto import mock_aws

from scripts import sagemaker as command
from workshop.errors import (
    AwsCredentialsError,
    AwsQuotaError,
    AwsRefusedError,
    EndpointFailedError,
    EndpointNameTakenError,
    SettingsError,
)
from workshop.sagemaker import endpoint
from workshop.sagemaker.archive import Archive, pack
from workshop.sagemaker.aws import Aws, DryRun, Preview
from workshop.sagemaker.deployment import Deployment, Scaling, check_name, cost_text, image_uri
from workshop.settings import PROJECT_ROOT
from workshop.triton.signature import ModelSignature, TensorSpec, write_config

BUCKET, ROLE = "archives", "arn:aws:iam::123456789012:role/endpoint"
IMAGE = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-tritonserver:24.09-py3"
AT_ONCE = endpoint.Patience(seconds=60, every=1, sleep=lambda seconds: None)


@pytest.fixture
def account(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        account = Account()
        place = {"LocationConstraint": REGION}
        account.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
        yield account


@pytest.fixture
def archive(tmp_path):
    row = TensorSpec("x", "FP32", (2,))
    write_config(ModelSignature(name="model", backend="python", inputs=(row,), outputs=(row,)), tmp_path / "models")
    (tmp_path / "models" / "model" / "1").mkdir()
    (tmp_path / "models" / "model" / "1" / "model.py").write_text("# a model\n")
    return pack(tmp_path / "models", tmp_path / "model.tar.gz")


def deployment(archive, **changes):
    given = {"name": "films", "image": IMAGE, "role": ROLE, "bucket": BUCKET, "instance_type": "ml.g4dn.xlarge"}
    return Deployment(archive=archive, **{**given, **changes})


def deploy(account, wanted):
    lines = []
    endpoint.deploy(account, wanted, lines.append, AT_ONCE)
    return lines


def left(account):
    """Everything that is there, in the account."""
    backend = account.backend
    objects = account.client("s3").list_objects_v2(Bucket=BUCKET).get("Contents", [])
    scaling = account.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="sagemaker")
    return {
        "endpoints": sorted(backend.endpoints),
        "configurations": sorted(backend.endpoint_configs),
        "models": sorted(backend._models),
        "objects": sorted(entry["Key"] for entry in objects),
        "scaling": [entry["ResourceId"] for entry in scaling["ScalableTargets"]],
    }


NOTHING = {"endpoints": [], "configurations": [], "models": [], "objects": [], "scaling": []}


def refused(code, message="as it is"):
    """The error of the workshop that a refusal of AWS becomes, with its cause."""
    client = CLIENTS["sagemaker"]
    with Stubber(client) as stub:
        stub.add_client_error("create_endpoint", code, message)
        with pytest.raises((AwsCredentialsError, AwsQuotaError, AwsRefusedError)) as raised:
            Aws(client=lambda service: client).call(
                "sagemaker", "CreateEndpoint", EndpointName="films", EndpointConfigName="films"
            )
    return raised.value


def test_an_endpoint_is_made_with_all_its_parts(account, archive):
    wanted = deployment(archive, scaling=Scaling(1, 3, 600), tags={"team": "film"}, environment={"LEVEL": "1"})
    lines = deploy(account, wanted)
    assert left(account) == {
        "endpoints": ["films"],
        "configurations": [wanted.part_name],
        "models": [wanted.part_name],
        "objects": [wanted.key],
        "scaling": ["endpoint/films/variant/AllTraffic"],
    }
    assert lines[-2].endswith("s  endpoint films: InService")
    model = account.call("sagemaker", "DescribeModel", ModelName=wanted.part_name)
    assert model["PrimaryContainer"]["Environment"] == {"SAGEMAKER_TRITON_DEFAULT_MODEL_NAME": "model", "LEVEL": "1"}
    assert model["PrimaryContainer"]["ModelDataUrl"] == f"s3://{BUCKET}/{wanted.key}"
    tags = account.call("sagemaker", "ListTags", ResourceArn=model["ModelArn"])["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"team": "film", "graph-triton-workshop": "films"}
    stored = account.client("s3").get_object(Bucket=BUCKET, Key=wanted.key)["Body"].read()
    assert stored == archive.path.read_bytes()
    policies = account.client("application-autoscaling").describe_scaling_policies(ServiceNamespace="sagemaker")
    assert [policy["PolicyName"] for policy in policies["ScalingPolicies"]] == ["films-requests"]


def test_a_second_deployment_of_the_same_changes_nothing(account, archive):
    deploy(account, deployment(archive))
    before, made = left(account), len(account.changes)
    lines = deploy(account, deployment(archive))
    assert left(account) == before
    assert account.changes[made:] == []
    assert "endpoint films is there: InService" in lines


@pytest.mark.parametrize("stop", ["PutObject", "CreateModel", "CreateEndpointConfig", "CreateEndpoint"])
def test_an_interrupted_deployment_goes_on_where_it_stopped(account, archive, stop):
    def interrupt():
        raise KeyboardInterrupt

    account.fail[stop] = interrupt
    with pytest.raises(KeyboardInterrupt):
        deploy(account, deployment(archive))
    assert left(account) != NOTHING
    account.fail.clear()
    made = list(account.changes)
    deploy(account, deployment(archive))
    assert left(account)["endpoints"] == ["films"]
    rest = account.changes[len(made) :]
    assert stop not in rest
    assert [*made, *rest] == ["PutObject", "CreateModel", "CreateEndpointConfig", "CreateEndpoint"]


def test_an_interrupted_deployment_can_be_deleted_instead(account, archive):
    def interrupt():
        raise KeyboardInterrupt

    account.fail["CreateEndpointConfig"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        deploy(account, deployment(archive))
    account.fail.clear()
    assert endpoint.delete(account, "films", lambda line: None, AT_ONCE)
    assert left(account) == NOTHING
    assert not endpoint.delete(account, "films", lambda line: None, AT_ONCE)


@pytest.mark.parametrize(
    "step", ["CreateModel", "CreateEndpointConfig", "CreateEndpoint", "RegisterScalableTarget", "PutScalingPolicy"]
)
def test_a_step_that_fails_leaves_nothing_behind(account, archive, step):
    account.fail[step] = refused("ResourceLimitExceeded", "0 instances of ml.g4dn.xlarge are allowed")
    with pytest.raises(AwsQuotaError, match=r"0 instances of ml\.g4dn\.xlarge are allowed(?s:.*)Service Quotas"):
        deploy(account, deployment(archive, scaling=Scaling(1, 2, 60)))
    assert left(account) == NOTHING


def test_what_an_interrupted_run_left_goes_too_when_the_next_one_fails(account, archive):
    def interrupt():
        raise KeyboardInterrupt

    account.fail["CreateEndpointConfig"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        deploy(account, deployment(archive))
    account.fail = {"CreateEndpoint": refused("ResourceLimitExceeded")}
    with pytest.raises(AwsQuotaError):
        deploy(account, deployment(archive))
    assert left(account) == NOTHING


def test_a_failure_leaves_an_endpoint_that_serves_already_as_it_is(account, archive):
    deploy(account, deployment(archive))
    before = left(account)
    account.fail["RegisterScalableTarget"] = refused("ValidationException")
    with pytest.raises(AwsRefusedError):
        deploy(account, deployment(archive, scaling=Scaling(1, 2, 60)))
    assert left(account) == before


def test_what_cannot_be_removed_is_named(account, archive):
    account.fail = {"CreateEndpoint": refused("ResourceLimitExceeded"), "DeleteModel": refused("AccessDeniedException")}
    name = deployment(archive).part_name
    with pytest.raises(AwsQuotaError, match=rf"Still there: Model {name}: .*AccessDenied(?s:.*)delete films"):
        deploy(account, deployment(archive))
    assert left(account) == {**NOTHING, "models": [name]}


def test_an_endpoint_that_fails_says_why_and_where_its_log_is(account, archive):
    def fail():
        account.backend.endpoints["films"].endpoint_status = "Failed"
        account.backend.endpoints["films"].failure_reason = "the container did not pass the ping health check"

    account.fail["CreateEndpoint"] = fail
    with pytest.raises(EndpointFailedError, match="/aws/sagemaker/Endpoints/films"):
        deploy(account, deployment(archive))
    assert left(account) == NOTHING


def test_an_endpoint_that_takes_too_long_is_given_up(account, archive):
    def hang():
        account.backend.endpoints["films"].endpoint_status = "Creating"

    account.fail["CreateEndpoint"] = hang
    lines = []
    with pytest.raises(EndpointFailedError, match=r"Creating after 63 s"):
        endpoint.deploy(account, deployment(archive), lines.append, impatient())
    assert sum("Creating" in line for line in lines) == 1, "a status is reported once"
    assert left(account) == NOTHING


def test_a_failed_endpoint_of_ours_is_replaced(account, archive):
    deploy(account, deployment(archive))
    account.backend.endpoints["films"].endpoint_status = "Failed"
    deploy(account, deployment(archive))
    assert account.changes.count("CreateEndpoint") == 2
    assert endpoint.status(account, "films").status == "InService"


def test_another_archive_takes_the_place_of_the_first_and_the_first_is_removed(account, archive, tmp_path):
    deploy(account, deployment(archive))
    (tmp_path / "models" / "model" / "1" / "model.py").write_text("# another model\n")
    second = deployment(pack(tmp_path / "models", tmp_path / "model.tar.gz"), scaling=Scaling(1, 2, 60))
    deploy(account, second)
    assert account.changes.count("UpdateEndpoint") == 1
    found = left(account)
    assert found["configurations"] == found["models"] == [second.part_name]
    assert found["objects"] == [second.key]


def test_an_update_that_sagemaker_took_back_fails_and_the_first_goes_on(account, archive, tmp_path):
    first = deployment(archive)
    deploy(account, first)
    before = left(account)

    def take_back():
        account.backend.endpoints["films"].endpoint_config_name = first.part_name

    account.fail["UpdateEndpoint"] = take_back
    with pytest.raises(EndpointFailedError, match="went back to what it served before"):
        deploy(account, deployment(archive, environment={"LEVEL": "2"}))
    assert left(account) == before


CHANGES = {
    "environment": {"environment": {"LEVEL": "2"}},
    "instance type": {"instance_type": "ml.g4dn.2xlarge"},
    "image": {"image": IMAGE.replace("24.09", "24.08")},
    "role": {"role": f"{ROLE}-2"},
}
several = pytest.mark.parametrize("multi_model", [False, True], ids=["one archive", "several archives"])
changed = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)


@several
@changed
def test_the_same_archive_served_otherwise_stays_in_the_bucket(account, archive, change, multi_model):
    deploy(account, deployment(archive, multi_model=multi_model))
    second = deployment(archive, multi_model=multi_model, **change)
    deploy(account, second)
    found = left(account)
    assert found["configurations"] == found["models"] == [second.part_name]
    assert found["objects"] == [second.key]
    assert endpoint.delete(account, "films", lambda line: None, AT_ONCE)
    assert left(account) == NOTHING


@several
@changed
@pytest.mark.parametrize("step", ["CreateModel", "CreateEndpointConfig", "UpdateEndpoint"])
def test_a_change_that_fails_takes_nothing_from_what_serves(account, archive, change, multi_model, step):
    deploy(account, deployment(archive, multi_model=multi_model))
    before = left(account)
    account.fail[step] = refused("ResourceLimitExceeded")
    with pytest.raises(AwsQuotaError):
        deploy(account, deployment(archive, multi_model=multi_model, **change))
    assert left(account) == before


def another(archive, text="# another model\n"):
    """The archive of the fixture with other contents."""
    (archive.path.parent / "models" / "model" / "1" / "model.py").write_text(text)
    return pack(archive.path.parent / "models", archive.path.parent / "another.tar.gz")


@several
def test_another_archive_that_fails_to_take_over_is_removed_again(account, archive, multi_model):
    deploy(account, deployment(archive, multi_model=multi_model))
    before = left(account)
    account.fail["UpdateEndpoint"] = refused("ResourceLimitExceeded")
    with pytest.raises(AwsQuotaError):
        deploy(account, deployment(another(archive), multi_model=multi_model, environment={"LEVEL": "2"}))
    assert left(account) == before


def impatient():
    clock = iter(range(0, 1000, 7))
    return endpoint.Patience(seconds=60, every=1, sleep=lambda seconds: None, clock=lambda: float(next(clock)))


@pytest.mark.parametrize("shown", ["the new", "the old"], ids="shows {} configuration".format)
def test_an_update_that_takes_too_long_is_left_to_go_on(account, archive, shown):
    first, second = deployment(archive), deployment(another(archive))
    deploy(account, first)
    served = account.backend.endpoints["films"]

    def hang():
        served.endpoint_status = "Updating"
        served.endpoint_config_name = second.part_name if shown == "the new" else first.part_name

    account.fail["UpdateEndpoint"] = hang
    with pytest.raises(EndpointFailedError, match=r"Updating after 63 s(?s:.*)Nothing was undone(?s:.*)same command"):
        endpoint.deploy(account, second, lambda line: None, impatient())
    assert left(account)["objects"] == sorted([first.key, second.key])
    assert left(account)["models"] == sorted([first.part_name, second.part_name])

    def arrive(seconds):
        served.endpoint_status, served.endpoint_config_name = "InService", second.part_name

    account.fail.clear()
    made = len(account.changes)
    endpoint.deploy(account, second, lambda line: None, endpoint.Patience(seconds=60, every=1, sleep=arrive))
    found = left(account)
    assert found["configurations"] == found["models"] == [second.part_name]
    assert found["objects"] == [second.key]
    assert not {"UpdateEndpoint", "PutObject"} & set(account.changes[made:])


def test_a_look_that_fails_during_an_update_undoes_nothing(account, archive):
    deploy(account, deployment(archive))
    second = deployment(another(archive))
    account.fail["UpdateEndpoint"] = lambda: account.fail.update(DescribeEndpoint=refused("ExpiredToken"))
    with pytest.raises(AwsCredentialsError, match="Nothing was undone"):
        deploy(account, second)
    assert second.key in left(account)["objects"]
    assert second.part_name in left(account)["models"]


def test_an_endpoint_that_serves_the_new_keeps_it_when_scaling_fails(account, archive):
    deploy(account, deployment(archive))
    second = deployment(another(archive), scaling=Scaling(1, 2, 60))
    account.fail["PutScalingPolicy"] = refused("ValidationException")
    with pytest.raises(AwsRefusedError):
        deploy(account, second)
    assert second.key in left(account)["objects"]
    assert left(account)["scaling"] == []
    account.fail.clear()
    deploy(account, second)
    assert left(account)["objects"] == [second.key]


def test_a_change_under_way_is_waited_for_before_the_next(account, archive):
    deploy(account, deployment(archive))
    served = account.backend.endpoints["films"]
    served.endpoint_status = "Updating"
    asked = []

    def arrive(seconds):
        asked.append(account.changes.count("UpdateEndpoint"))
        served.endpoint_status = "InService"

    second = deployment(archive, environment={"LEVEL": "2"})
    patience = endpoint.Patience(seconds=60, every=1, sleep=arrive)
    lines = []
    endpoint.deploy(account, second, lines.append, patience)
    assert asked == [0], "SageMaker refuses an update during another"
    assert any("a change of it is under way: Updating" in line for line in lines)
    assert served.endpoint_config_name == second.part_name


def test_an_interrupted_upload_can_be_deleted_instead(account, archive):
    wanted = deployment(archive)

    def interrupt():
        raise KeyboardInterrupt

    account.fail["PutObject"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        deploy(account, wanted)
    account.client("s3").put_object(Bucket=BUCKET, Key=f"{wanted.folder}/notes.txt", Body=b"someone's")
    assert endpoint.delete(account, "films", lambda line: None, AT_ONCE, (wanted.bucket, wanted.folder))
    assert left(account) == {**NOTHING, "objects": [f"{wanted.folder}/notes.txt"]}
    assert not endpoint.delete(account, "films", lambda line: None, AT_ONCE, (wanted.bucket, wanted.folder))


def test_an_upload_interrupted_beside_a_serving_endpoint_is_found_without_the_bucket(account, archive):
    deploy(account, deployment(archive))
    account.fail["CreateModel"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        deploy(account, deployment(another(archive)))
    assert endpoint.delete(account, "films", lambda line: None, AT_ONCE)
    assert left(account) == NOTHING


def test_an_endpoint_of_someone_else_is_left_alone(account, archive):
    model, name = deployment(archive).model(), "films"
    account.call("sagemaker", "CreateModel", **{**model, "Tags": []})
    variant = deployment(archive).configuration()["ProductionVariants"]
    account.call("sagemaker", "CreateEndpointConfig", EndpointConfigName="theirs", ProductionVariants=variant)
    account.call("sagemaker", "CreateEndpoint", EndpointName=name, EndpointConfigName="theirs")
    before = left(account)
    for action in (
        lambda: deploy(account, deployment(archive)),
        lambda: endpoint.delete(account, name, print, AT_ONCE),
    ):
        with pytest.raises(EndpointNameTakenError, match=r"was not made by this project(?s:.*)another name"):
            action()
    assert left(account) == before


def test_an_endpoint_for_several_archives_takes_a_second_one_as_a_file(account, archive, tmp_path):
    first = deployment(archive, multi_model=True)
    deploy(account, first)
    model = account.call("sagemaker", "DescribeModel", ModelName=first.part_name)["PrimaryContainer"]
    assert (model["Mode"], model["ModelDataUrl"]) == ("MultiModel", f"s3://{BUCKET}/triton/films/models/")
    assert "SAGEMAKER_TRITON_DEFAULT_MODEL_NAME" not in model["Environment"]
    (tmp_path / "models" / "model" / "1" / "model.py").write_text("# another model\n")
    second = deployment(pack(tmp_path / "models", tmp_path / "model.tar.gz"), multi_model=True)
    deploy(account, second)
    assert account.changes.count("CreateEndpoint") == 1
    assert "UpdateEndpoint" not in account.changes
    assert left(account)["objects"] == sorted([first.key, second.key])
    endpoint.delete(account, "films", lambda line: None, AT_ONCE)
    assert left(account) == NOTHING


def test_deleting_removes_everything_of_that_name_and_nothing_else(account, archive):
    deploy(account, deployment(archive, scaling=Scaling(1, 2, 60)))
    deploy(account, deployment(archive, name="films-2"))
    other = deployment(archive, name="films-2")
    assert endpoint.delete(account, "films", lambda line: None, AT_ONCE)
    assert left(account) == {
        **NOTHING,
        "endpoints": ["films-2"],
        "configurations": [other.part_name],
        "models": [other.part_name],
        "objects": [other.key],
    }


def test_status_and_list_show_what_is_there(account, archive):
    assert endpoint.status(account, "films") == endpoint.EndpointStatus("films", "")
    wanted = deployment(archive, scaling=Scaling(1, 4, 60))
    deploy(account, wanted)
    found = endpoint.status(account, "films")
    assert (found.status, found.configuration, found.scaling) == ("InService", wanted.part_name, (1, 4))
    assert found.parts == (wanted.part_name,)
    assert endpoint.endpoints(account) == [("films", "InService")]


@pytest.mark.parametrize(
    ("code", "kind", "hint"),
    [
        ("UnrecognizedClientException", AwsCredentialsError, "aws configure"),
        ("ExpiredToken", AwsCredentialsError, "aws sso login"),
        ("ResourceLimitExceeded", AwsQuotaError, "Service Quotas"),
        ("ThrottlingException", AwsQuotaError, "Service Quotas"),
        ("AccessDeniedException", AwsRefusedError, "lacks a right"),
        ("ValidationException", AwsRefusedError, None),
    ],
)
def test_each_refusal_has_its_error_and_names_the_call(account, code, kind, hint):
    error = refused(code, "so it is")
    assert type(error) is kind
    assert str(error).startswith(f"sagemaker CreateEndpoint: {code}: so it is")
    assert hint is None or hint in error.hint
    assert isinstance(error.__cause__, ClientError)


def test_a_deployment_without_credentials_or_region_says_so(archive, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(AwsCredentialsError, match=r"DescribeEndpoint: no AWS credentials(?s:.*)aws configure"):
        deploy(Aws(REGION), deployment(archive))
    with pytest.raises(AwsRefusedError, match="no AWS region is known"):
        deploy(Aws(), deployment(archive))
    with pytest.raises(AwsCredentialsError, match="nobody"):
        deploy(Aws(REGION, profile="nobody"), deployment(archive))


# --- without an account ---------------------------------------------------------------------------------------
def test_a_dry_run_shows_every_call_in_order_with_arguments_that_the_services_take(archive):
    dry, steps = DryRun(lambda line: None), []
    endpoint.deploy(dry, deployment(archive, scaling=Scaling(1, 2, 60)), steps.append)
    assert [operation for _, operation, _ in dry.calls] == [
        *("DescribeEndpoint", "HeadObject", "PutObject"),
        *("DescribeModel", "CreateModel", "DescribeEndpointConfig", "CreateEndpointConfig", "CreateEndpoint"),
        *("RegisterScalableTarget", "PutScalingPolicy", "ListEndpointConfigs", "ListModels"),
    ]
    arguments = {operation: given for _, operation, given in dry.calls}
    assert arguments["CreateModel"]["EnableNetworkIsolation"] is True
    assert arguments["CreateModel"]["PrimaryContainer"]["Image"] == IMAGE


def test_a_dry_run_refuses_arguments_that_the_service_does_not_take():
    with pytest.raises(AwsRefusedError, match="sagemaker has no operation CreateEverything"):
        DryRun(print).call("sagemaker", "CreateEverything")
    with pytest.raises(AwsRefusedError, match='Unknown parameter in input: "Colour"'):
        DryRun(print).call("sagemaker", "DescribeEndpoint", EndpointName="films", Colour="red")


def test_names_follow_from_the_contents(archive):
    plain = deployment(archive)
    assert deployment(archive).part_name == plain.part_name
    others = [
        deployment(archive, instances=2),
        deployment(archive, environment={"A": "1"}),
        deployment(archive, image=IMAGE.replace("24.09", "24.08")),
        deployment(Archive(archive.path, "model", ("model",), "0" * 64, 1.0)),
    ]
    assert len({other.part_name for other in (plain, *others)}) == 5
    assert deployment(archive, tags={"a": "b"}).part_name == plain.part_name


@pytest.mark.parametrize("name", ["", "-films", "films-", "fi_lms", "f" * 53])
def test_names_that_sagemaker_would_refuse_are_refused(name):
    with pytest.raises(SettingsError, match="expected at most 52 letters, digits, and hyphens"):
        check_name(name)


def test_the_table_of_accounts_decides_the_image():
    accounts = {"eu-west-1": "111122223333", "cn-north-1": "444455556666"}
    assert image_uri(accounts, "eu-west-1", "24.09-py3") == IMAGE
    with pytest.raises(SettingsError, match=r"no region 'mars-1', it has cn-north-1, eu-west-1(?s:.*)--image"):
        image_uri(accounts, "mars-1", "24.09-py3")


def test_the_cost_is_computed_from_the_price_and_never_guessed(archive):
    wanted = deployment(archive, scaling=Scaling(1, 3, 60))
    assert cost_text(wanted, 1.5).endswith("1.50 to 4.50 USD an hour, 1,095 to 3,285 USD a month")
    assert "2 x ml.g4dn.xlarge" in cost_text(deployment(archive, instances=2), None)
    assert "--price-per-hour" in cost_text(wanted, None)


# --- the command ----------------------------------------------------------------------------------------------
def arguments(archive, tmp_path):
    accounts = tmp_path / "accounts.json"
    accounts.write_text(json.dumps({REGION: "111122223333", "cn-north-1": "444455556666"}))
    return [
        *("deploy", "films", "--archive", str(archive.path), "--role", ROLE, "--bucket", BUCKET),
        *("--accounts", str(accounts), "--triton", "24.09-py3", "--instance-type", "ml.g4dn.xlarge"),
    ]


def test_the_command_shows_a_dry_run_without_credentials(archive, tmp_path):
    given = [
        *arguments(archive, tmp_path),
        "--region",
        "cn-north-1",
        "--dry-run",
        "--price-per-hour",
        "1",
        "--tag",
        "a=b",
    ]
    environment = {"PATH": "/usr/bin:/bin", "AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}
    run = [sys.executable, "scripts/sagemaker.py", *given]
    shown = subprocess.run(
        run, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert "444455556666.dkr.ecr.cn-north-1.amazonaws.com.cn/sagemaker-tritonserver:24.09-py3" in shown.stdout
    assert "730 USD a month" in shown.stdout
    assert shown.stdout.splitlines()[0] == "no AWS credentials are here: the calls are those for an empty account"
    assert shown.stdout.splitlines()[-1] == "nothing was sent"


def test_a_dry_run_with_credentials_shows_what_changes_in_the_account(account, archive, tmp_path, monkeypatch, capsys):
    first = deployment(archive)
    deploy(account, first)
    before = left(account)
    monkeypatch.setattr(command, "Preview", lambda show, *places: Preview(show, REGION, client=CLIENTS.__getitem__))
    given = [*arguments(archive, tmp_path), "--region", REGION, "--env", "LEVEL=2", "--dry-run"]
    assert command.main(given) == 0
    said = capsys.readouterr().out
    assert "empty account" not in said
    for call in ("CreateModel", "CreateEndpointConfig", "UpdateEndpoint", "DeleteEndpointConfig", "DeleteModel"):
        assert f"sagemaker {call} {{" in said
    for call in ("PutObject", "DeleteObject", "CreateEndpoint"):
        assert f" {call} {{" not in said
    assert said.splitlines()[-1] == "nothing was changed"
    assert left(account) == before


def test_the_command_makes_shows_and_removes_an_endpoint(account, archive, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "Aws", lambda *places, **named: account)
    assert command.main([*arguments(archive, tmp_path), "--region", REGION, "--scale", "1", "2"]) == 0
    assert command.main(["status", "films"]) == 0
    assert command.main(["list"]) == 0
    said = capsys.readouterr().out
    assert "give --price-per-hour" in said
    assert "scaling: 1 to 2 instances" in said
    assert "films  InService" in said
    assert command.main(["delete", "films"]) == 0
    assert command.main(["delete", "films"]) == command.MISSING
    assert command.main(["status", "films"]) == command.MISSING
    assert left(account) == NOTHING


def test_the_command_names_errors_and_interrupts(account, archive, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "Aws", lambda *places, **named: account)
    given = [*arguments(archive, tmp_path), "--region", REGION]
    account.fail["CreateModel"] = KeyboardInterrupt()
    assert command.main(given) == command.INTERRUPTED
    said = capsys.readouterr().err
    assert "the same command goes on from here" in said
    assert f"delete films --bucket {BUCKET} removes what is there" in said
    assert left(account)["objects"]
    assert command.main(["delete", "films", "--bucket", BUCKET]) == 0
    assert left(account) == NOTHING
    capsys.readouterr()
    account.fail["CreateModel"] = refused("ResourceLimitExceeded")
    assert command.main(given) == 1
    assert capsys.readouterr().err.startswith("AwsQuotaError: ")
    for wrong, message in (
        (["--triton", ""], "which container"),
        (["--region", "mars-1"], "AWS has no region 'mars-1'"),
        (["--region", "eu-west-3"], "the table of accounts has no region 'eu-west-3'"),
        (["--tag", "colour"], "colour: expected NAME=VALUE"),
        (["--scale", "2", "1"], "from 2 to 1 instances is no range"),
        (["--archive", str(tmp_path / "none")], "is not there"),
    ):
        assert command.main([*given, *wrong]) == 1
        assert message in capsys.readouterr().err
    assert command.main(["invoke", "films"]) == 1
    assert "Give texts, or --body" in capsys.readouterr().err


def test_a_deletion_can_be_looked_at_first(account, archive):
    deploy(account, deployment(archive))
    before, shown = left(account), io.StringIO()

    class Look(Preview):
        """Looks in the test's account."""

        def call(self, service, operation, **arguments):
            if operation.startswith(("Describe", "Head", "List")):
                return account.call(service, operation, **arguments)
            return super().call(service, operation, **arguments)

    assert endpoint.delete(Look(lambda line: shown.write(line + "\n"), REGION), "films", print)
    for call in ("DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel", "DeleteObject"):
        assert f" {call} {{" in shown.getvalue()
    assert left(account) == before
