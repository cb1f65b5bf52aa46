"""The life of an endpoint: deploy, look at, delete.

Every part has a name that follows from what it consists of, and a tag that says whose it is. So a deployment that was
interrupted goes on where it stopped when it is asked for again, one that is there already changes nothing, and what a
failed one has made is found and removed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from workshop.errors import EndpointFailedError, EndpointNameTakenError, SageMakerError
from workshop.sagemaker.aws import Caller, is_missing
from workshop.sagemaker.deployment import OWNER_TAG, Deployment, endpoint_of, scaled

IN_SERVICE, FAILED, GONE = "InService", "Failed", ""
_LOG_GROUP = "/aws/sagemaker/Endpoints"

Report = Callable[[str], None]


@dataclass(frozen=True)
class Patience:
    """How a change of an endpoint is waited for.

    Attributes:
        seconds: at most.
        every: seconds between two looks.
        sleep: passes the time.
        clock: tells it.
    """

    seconds: float = 1800.0
    every: float = 15.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


@dataclass
class _Undo:
    """What a deployment has made so far, to be taken away again if it fails."""

    steps: list[tuple[str, Callable[[], object]]] = field(default_factory=list)

    def add(self, what: str, step: Callable[[], object]) -> None:
        self.steps.append((what, step))

    def run(self, report: Report) -> list[str]:
        """Take everything away, the last thing first; returns what could not be, with the reason."""
        left = []
        for what, step in reversed(self.steps):
            try:
                step()
                report(f"removed {what}")
            except SageMakerError as error:
                if not is_missing(error.__cause__):  # the call that failed had not made it
                    left.append(f"{what}: {str(error).splitlines()[0]}")
        self.steps.clear()
        return left


def deploy(aws: Caller, deployment: Deployment, report: Report, patience: Patience | None = None) -> None:
    """Bring an endpoint into service as described, from whatever is there of it.

    Nothing is there: all of it is made. An interrupted run left a part: the rest is made. It serves already as
    described: nothing changes. It serves something else of ours: it goes over to the new without a pause, and the old
    is removed.

    Args:
        aws: makes the calls, or shows them.
        deployment: what the endpoint is to be.
        report: receives one line a step.
        patience: how long the endpoint is waited for.

    Raises:
        EndpointNameTakenError: an endpoint of that name is there that this project did not make.
        EndpointFailedError: it did not come into service.
        AwsCredentialsError, AwsQuotaError, AwsRefusedError: a call failed. In all cases what this deployment made is
            removed; an interrupt (Ctrl-C, a lost terminal) leaves it for the next run.
    """
    patience = patience or Patience()
    undo = _Undo()
    try:
        before = _ours(aws, deployment.name)
        if before and before["EndpointStatus"] == FAILED:
            report(f"endpoint {deployment.name} is there and failed: removing it")
            _remove_endpoint(aws, deployment.name, report, patience)
            before = None
        serving = before["EndpointConfigName"] if before else ""
        _upload(aws, deployment, undo, report, keep=serving == deployment.part_name)
        _make_parts(aws, deployment, undo, report, keep=serving == deployment.part_name)
        _make_endpoint(aws, deployment, before, undo, report)
        if not aws.dry:
            _wait(aws, deployment.name, report, patience)
        if serving and serving != deployment.part_name:
            now = aws.call("sagemaker", "DescribeEndpoint", EndpointName=deployment.name)["EndpointConfigName"]
            if now != deployment.part_name:
                raise EndpointFailedError(
                    f"endpoint {deployment.name} went back to what it served before",
                    hint=f"its log is in CloudWatch: {_LOG_GROUP}/{deployment.name}",
                )
        _scale(aws, deployment, undo, report)
    except (SageMakerError, OSError) as error:
        if left := undo.run(report):
            kind = type(error) if isinstance(error, SageMakerError) else SageMakerError
            raise kind(
                f"{error}\nStill there: {'; '.join(left)}",
                hint=f"python scripts/sagemaker.py delete {deployment.name}",
            ) from error
        raise
    for name in _parts(aws, deployment.name) if serving and serving != deployment.part_name else []:
        if name != deployment.part_name:
            _remove_part(aws, name, report)


def _ours(aws: Caller, name: str) -> dict[str, Any] | None:
    """The endpoint's description, ``None`` when it is not there.

    Raises:
        EndpointNameTakenError: it is there and does not carry our tag.
    """
    found = aws.find("sagemaker", "DescribeEndpoint", EndpointName=name)
    if found and _owner(aws, found["EndpointArn"]) != name:
        raise EndpointNameTakenError(
            f"endpoint {name!r} is there and was not made by this project: it lacks the tag {OWNER_TAG}={name}",
            hint="choose another name",
        )
    return found


def _owner(aws: Caller, arn: str) -> str:
    tags = aws.call("sagemaker", "ListTags", ResourceArn=arn)["Tags"]
    return next((tag["Value"] for tag in tags if tag["Key"] == OWNER_TAG), "")


def _upload(aws: Caller, deployment: Deployment, undo: _Undo, report: Report, *, keep: bool) -> None:
    """Put the archive into the bucket unless it is there; ``keep``: an endpoint reads it, so it stays in any case."""
    where = {"Bucket": deployment.bucket, "Key": deployment.key}
    address = f"s3://{deployment.bucket}/{deployment.key}"
    archive = deployment.archive
    found = aws.find("s3", "HeadObject", **where)
    there = bool(found) and found.get("Metadata", {}).get("sha256") == archive.sha256
    if not keep:
        undo.add(address, lambda: aws.call("s3", "DeleteObject", **where))
    if there:
        report(f"{address} is there")
        return
    report(f"uploading {archive.megabytes:.1f} MB to {address}")
    with archive.path.open("rb") as body:
        aws.call("s3", "PutObject", Body=body, **deployment.upload())


def _make_parts(aws: Caller, deployment: Deployment, undo: _Undo, report: Report, *, keep: bool) -> None:
    """Make the model and the configuration unless they are there; ``keep``: the endpoint serves them."""
    name = deployment.part_name
    for kind, arguments in (("Model", deployment.model()), ("EndpointConfig", deployment.configuration())):
        named = {f"{kind}Name": name}
        found = aws.find("sagemaker", f"Describe{kind}", **named)
        if found and _owner(aws, found[f"{kind}Arn"]) != deployment.name:
            raise EndpointNameTakenError(f"{kind} {name!r} is there and was not made by this project")
        if not keep:
            undo.add(f"{kind} {name}", lambda kind=kind, named=named: aws.call("sagemaker", f"Delete{kind}", **named))
        if found:
            report(f"{kind} {name} is there")
        else:
            report(f"making {kind} {name}")
            aws.call("sagemaker", f"Create{kind}", **arguments)


def _make_endpoint(
    aws: Caller, deployment: Deployment, before: Mapping[str, Any] | None, undo: _Undo, report: Report
) -> None:
    """Make the endpoint, or bring one that serves something else over."""
    name, part = deployment.name, deployment.part_name
    if before is None:
        report(f"making endpoint {name}")
        undo.add(f"endpoint {name}", lambda: aws.call("sagemaker", "DeleteEndpoint", EndpointName=name))
        aws.call("sagemaker", "CreateEndpoint", EndpointName=name, EndpointConfigName=part, Tags=deployment.tag_list)
    elif before["EndpointConfigName"] == part:
        report(f"endpoint {name} is there: {before['EndpointStatus']}")
        if before["EndpointStatus"] == "Creating":
            undo.add(f"endpoint {name}", lambda: aws.call("sagemaker", "DeleteEndpoint", EndpointName=name))
    else:
        report(f"endpoint {name} goes over from {before['EndpointConfigName']} to {part}")
        aws.call(
            "sagemaker",
            "UpdateEndpoint",
            EndpointName=name,
            EndpointConfigName=part,
            RetainAllVariantProperties=True,  # the number of instances that scaling has arrived at
        )


def _wait(aws: Caller, name: str, report: Report, patience: Patience, until: str = IN_SERVICE) -> None:
    """Wait until the endpoint has a status, ``GONE`` for none at all, and report every change.

    Raises:
        EndpointFailedError: it failed, or took too long.
    """
    started, shown = patience.clock(), None
    while True:
        found = aws.find("sagemaker", "DescribeEndpoint", EndpointName=name)
        status = found["EndpointStatus"] if found else GONE
        waited = patience.clock() - started
        if status != shown:
            report(f"{waited:4.0f} s  endpoint {name}: {status or 'gone'}")
            shown = status
        if status == until:
            return
        if status in (FAILED, GONE) or waited > patience.seconds:
            reason = (found or {}).get("FailureReason") or f"{status or 'gone'} after {waited:.0f} s"
            raise EndpointFailedError(
                f"endpoint {name}: {reason}", hint=f"its log is in CloudWatch: {_LOG_GROUP}/{name}"
            )
        patience.sleep(patience.every)


def _scale(aws: Caller, deployment: Deployment, undo: _Undo, report: Report) -> None:
    """Let the number of instances follow the load, or not any more."""
    if deployment.scaling is None:
        _unscale(aws, deployment.name, report)
        return
    scaling = deployment.scaling
    report(f"{scaling.least} to {scaling.most} instances, {scaling.requests_a_minute:g} requests a minute each")
    aws.call("application-autoscaling", "RegisterScalableTarget", **deployment.scalable_target())
    undo.add("scaling", lambda: _unscale(aws, deployment.name, report))
    aws.call("application-autoscaling", "PutScalingPolicy", **deployment.scaling_policy())


def _unscale(aws: Caller, name: str, report: Report) -> None:
    target = scaled(name)
    wanted = {"ServiceNamespace": target["ServiceNamespace"], "ResourceIds": [target["ResourceId"]]}
    if aws.call("application-autoscaling", "DescribeScalableTargets", **wanted).get("ScalableTargets"):
        report(f"endpoint {name}: no scaling any more")
        aws.call("application-autoscaling", "DeregisterScalableTarget", **target)


def delete(aws: Caller, name: str, report: Report, patience: Patience | None = None) -> bool:
    """Remove an endpoint with all that was made for it, the archives in S3 included; safe to repeat.

    Also what an interrupted deployment left of an endpoint that never was.

    Returns:
        Whether there was anything.

    Raises:
        EndpointNameTakenError: this project did not make it.
        AwsCredentialsError, AwsQuotaError, AwsRefusedError, EndpointFailedError: a call failed; what is left is found
            by the next run.
    """
    found = _ours(aws, name)
    parts = _parts(aws, name)
    if found:
        _unscale(aws, name, report)
        _remove_endpoint(aws, name, report, patience or Patience())
    for part in parts:
        _remove_part(aws, part, report)
    return bool(found or parts)


def _remove_endpoint(aws: Caller, name: str, report: Report, patience: Patience) -> None:
    report(f"removing endpoint {name}")
    aws.call("sagemaker", "DeleteEndpoint", EndpointName=name)
    if not aws.dry:
        _wait(aws, name, report, patience, until=GONE)


def _parts(aws: Caller, name: str) -> list[str]:
    """Names of the models and configurations of ours for an endpoint."""
    found = {}
    for kind in ("EndpointConfig", "Model"):
        for entry in _pages(aws, f"List{kind}s", f"{kind}s", NameContains=f"{name}-"):
            part = entry[f"{kind}Name"]
            if endpoint_of(part) == name and _owner(aws, entry[f"{kind}Arn"]) == name:
                found[part] = True
    return list(found)


def _remove_part(aws: Caller, part: str, report: Report) -> None:
    """Remove a configuration, its model and the model's archive."""
    if aws.find("sagemaker", "DescribeEndpointConfig", EndpointConfigName=part):
        aws.call("sagemaker", "DeleteEndpointConfig", EndpointConfigName=part)
        report(f"removed EndpointConfig {part}")
    model = aws.find("sagemaker", "DescribeModel", ModelName=part)
    if model:
        _remove_archives(aws, model["PrimaryContainer"].get("ModelDataUrl", ""), endpoint_of(part), report)
        aws.call("sagemaker", "DeleteModel", ModelName=part)
        report(f"removed Model {part}")


def _remove_archives(aws: Caller, url: str, name: str, report: Report) -> None:
    """Remove an archive, or a folder of archives, from S3: only where a deployment of that name puts them."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    if f"/{name}/" not in f"/{key}":
        return
    for entry in _objects(aws, bucket, key):
        aws.call("s3", "DeleteObject", Bucket=bucket, Key=entry)
        report(f"removed s3://{bucket}/{entry}")


def _objects(aws: Caller, bucket: str, prefix: str) -> list[str]:
    keys, more = [], {}
    while True:
        page = aws.call("s3", "ListObjectsV2", Bucket=bucket, Prefix=prefix, **more)
        keys += [entry["Key"] for entry in page.get("Contents", [])]
        if not page.get("NextContinuationToken"):
            return keys
        more = {"ContinuationToken": page["NextContinuationToken"]}


def _pages(aws: Caller, operation: str, field_name: str, **arguments: object) -> Iterator[dict[str, Any]]:
    more: dict[str, object] = {}
    while True:
        page = aws.call("sagemaker", operation, **arguments, **more)
        yield from page.get(field_name, [])
        if not page.get("NextToken"):
            return
        more = {"NextToken": page["NextToken"]}


@dataclass(frozen=True)
class EndpointStatus:
    """How an endpoint is.

    Attributes:
        name: of the endpoint.
        status: in SageMaker's words, empty when there is none.
        configuration: name of what it serves.
        instances: running now, and wanted.
        scaling: least and most instances, ``None`` without scaling.
        reason: why it failed.
        parts: models and configurations that are there for it.
    """

    name: str
    status: str
    configuration: str = ""
    instances: tuple[int, int] = (0, 0)
    scaling: tuple[int, int] | None = None
    reason: str = ""
    parts: tuple[str, ...] = ()


def status(aws: Caller, name: str) -> EndpointStatus:
    """Look at an endpoint; errors are those of the calls."""
    parts = tuple(_parts(aws, name))
    found = _ours(aws, name)
    if not found:
        return EndpointStatus(name, "", parts=parts)
    target = scaled(name)
    wanted = {"ServiceNamespace": target["ServiceNamespace"], "ResourceIds": [target["ResourceId"]]}
    limits = aws.call("application-autoscaling", "DescribeScalableTargets", **wanted)["ScalableTargets"]
    variants = found.get("ProductionVariants", [])
    return EndpointStatus(
        name=name,
        status=found["EndpointStatus"],
        configuration=found["EndpointConfigName"],
        instances=(
            sum(variant.get("CurrentInstanceCount", 0) for variant in variants),
            sum(variant.get("DesiredInstanceCount", 0) for variant in variants),
        ),
        scaling=(limits[0]["MinCapacity"], limits[0]["MaxCapacity"]) if limits else None,
        reason=found.get("FailureReason", ""),
        parts=parts,
    )


def endpoints(aws: Caller) -> list[tuple[str, str]]:
    """Name and status of every endpoint that this project made, in this account and region."""
    return [
        (entry["EndpointName"], entry["EndpointStatus"])
        for entry in _pages(aws, "ListEndpoints", "Endpoints")
        if _owner(aws, entry["EndpointArn"]) == entry["EndpointName"]
    ]
