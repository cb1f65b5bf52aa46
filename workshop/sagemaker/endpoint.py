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
from workshop.sagemaker.deployment import OWNER_TAG, Deployment, endpoint_of, folder_of, is_archive, scaled

CREATING, IN_SERVICE, FAILED, GONE = "Creating", "InService", "Failed", ""
_NO_WAY_ON = (FAILED, "UpdateRollbackFailed", GONE)
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
    is removed, but for an archive that the new serves as well. A change that is under way is waited for first.

    Args:
        aws: makes the calls, or shows them.
        deployment: what the endpoint is to be.
        report: receives one line a step.
        patience: how long the endpoint is waited for.

    Raises:
        EndpointNameTakenError: an endpoint of that name is there that this project did not make.
        EndpointFailedError: it did not come into service.
        AwsCredentialsError, AwsQuotaError, AwsRefusedError: a call failed. In all cases what this deployment made is
            removed, unless the endpoint goes over to it or serves it by then: the error says so, and the next run goes
            on. An interrupt (Ctrl-C, a lost terminal) leaves everything for the next run.
    """
    patience = patience or Patience()
    undo, part = _Undo(), deployment.part_name
    goes_over = False
    try:
        before = _settled(aws, deployment, report, patience)
        serving = before["EndpointConfigName"] if before else ""
        keep = serving == part and before["EndpointStatus"] != CREATING
        goes_over = bool(before) and serving != part
        _upload(aws, deployment, undo, report, keep=keep, check=bool(before))
        _make_parts(aws, deployment, undo, report, keep=keep)
        _make_endpoint(aws, deployment, before, undo, report)
        if not aws.dry:
            now = _wait(aws, deployment.name, report, patience, until=(IN_SERVICE,))
            if now["EndpointConfigName"] != part:
                raise EndpointFailedError(
                    f"endpoint {deployment.name} went back to what it served before",
                    hint=f"its log is in CloudWatch: {_LOG_GROUP}/{deployment.name}",
                )
        if goes_over or keep:  # it serves as described: what it serves from stays, whatever fails from here on
            goes_over = False
            undo.steps.clear()
        _scale(aws, deployment, undo, report)
    except (SageMakerError, OSError) as error:
        kind = type(error) if isinstance(error, SageMakerError) else SageMakerError
        if goes_over and _may_serve(aws, deployment):
            raise kind(
                f"{error}\nNothing was undone: endpoint {deployment.name} may still go over to {part}",
                hint=f"the same command waits for it, {deployment.delete_command} removes all of it",
            ) from error
        if left := undo.run(report):
            raise kind(f"{error}\nStill there: {'; '.join(left)}", hint=deployment.delete_command) from error
        raise
    for name in _parts(aws, deployment.name):
        if name != part:
            _remove_part(aws, name, report, in_use=deployment.data_url)


def _settled(aws: Caller, deployment: Deployment, report: Report, patience: Patience) -> dict[str, Any] | None:
    """The endpoint when no other change of it is under way; ``None`` when it is not there, or failed and was removed.

    One that is being made as described is not waited for.
    """
    name = deployment.name
    found = _ours(aws, name)
    status = found["EndpointStatus"] if found else GONE
    made = status == CREATING and found["EndpointConfigName"] == deployment.part_name
    if status not in (IN_SERVICE, FAILED, GONE) and not made and not aws.dry:
        report(f"endpoint {name} is there, and a change of it is under way: {status}")
        found = _wait(aws, name, report, patience, until=(IN_SERVICE, FAILED, GONE))
    if found and found["EndpointStatus"] == FAILED:
        report(f"endpoint {name} is there and failed: removing it")
        _remove_endpoint(aws, name, report, patience)
        return None
    return found


def _may_serve(aws: Caller, deployment: Deployment) -> bool:
    """Whether the endpoint is going over to what is described, serves it, or cannot be asked."""
    try:
        found = aws.find("sagemaker", "DescribeEndpoint", EndpointName=deployment.name)
    except SageMakerError:
        return True
    settled = not found or found["EndpointStatus"] in (IN_SERVICE, FAILED)
    return not settled or (bool(found) and found["EndpointConfigName"] == deployment.part_name)


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


def _upload(aws: Caller, deployment: Deployment, undo: _Undo, report: Report, *, keep: bool, check: bool) -> None:
    """Put the archive into the bucket unless it is there.

    Args:
        aws, deployment, undo, report: as :func:`deploy` has them.
        keep: the endpoint serves as described, and so the archive.
        check: an endpoint is there, which may serve the archive from another model.
    """
    where = {"Bucket": deployment.bucket, "Key": deployment.key}
    address = f"s3://{deployment.bucket}/{deployment.key}"
    archive = deployment.archive
    found = aws.find("s3", "HeadObject", **where)
    there = bool(found) and found.get("Metadata", {}).get("sha256") == archive.sha256
    added = deployment.multi_model and not there  # to a folder that may be in use: nobody has asked for this one yet
    served = keep or (check and _in_use(aws, deployment.name, deployment.data_url, but=deployment.part_name))
    if added or not served:
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
        if before["EndpointStatus"] == CREATING:
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


def _wait(aws: Caller, name: str, report: Report, patience: Patience, until: tuple[str, ...]) -> dict[str, Any] | None:
    """Wait until the endpoint has one of some statuses, ``GONE`` for none at all, and report every change.

    Returns:
        Its description, ``None`` when it is gone.

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
        if status in until:
            return found
        if status in _NO_WAY_ON or waited > patience.seconds:
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


def delete(
    aws: Caller,
    name: str,
    report: Report,
    patience: Patience | None = None,
    archives: tuple[str, str] | None = None,
) -> bool:
    """Remove an endpoint with all that was made for it, the archives in S3 included; safe to repeat.

    Also what an interrupted deployment left of an endpoint that never was.

    Args:
        aws: makes the calls, or shows them.
        name: of the endpoint.
        report: receives one line a step.
        patience: how long the endpoint is waited for.
        archives: bucket and folder (:attr:`Deployment.folder`) to look for archives in, beside those of the models
            that are there: a deployment interrupted in its first upload leaves no model that would name them.

    Returns:
        Whether there was anything.

    Raises:
        EndpointNameTakenError: this project did not make it.
        AwsCredentialsError, AwsQuotaError, AwsRefusedError, EndpointFailedError: a call failed; what is left is found
            by the next run.
    """
    found = _ours(aws, name)
    parts = _parts(aws, name)
    folders = {archives} if archives else set()
    folders |= {place for url in _data_urls(aws, parts).values() if (place := folder_of(url, name))}
    if found:
        _unscale(aws, name, report)
        _remove_endpoint(aws, name, report, patience or Patience())
    # archives before the models: these name the folder, should the next run have to go on
    removed = [key for bucket, folder in sorted(folders) for key in _remove_archives(aws, bucket, folder, report)]
    for part in parts:
        _remove_part(aws, part, report)
    return bool(found or parts or removed)


def _remove_endpoint(aws: Caller, name: str, report: Report, patience: Patience) -> None:
    report(f"removing endpoint {name}")
    aws.call("sagemaker", "DeleteEndpoint", EndpointName=name)
    if not aws.dry:
        _wait(aws, name, report, patience, until=(GONE,))


def _parts(aws: Caller, name: str) -> list[str]:
    """Names of the models and configurations of ours for an endpoint."""
    found = {}
    for kind in ("EndpointConfig", "Model"):
        for entry in _pages(aws, f"List{kind}s", f"{kind}s", NameContains=f"{name}-"):
            part = entry[f"{kind}Name"]
            if endpoint_of(part) == name and _owner(aws, entry[f"{kind}Arn"]) == name:
                found[part] = True
    return list(found)


def _data_urls(aws: Caller, parts: list[str]) -> dict[str, str]:
    """What the models among some parts are made from: an archive each, or a folder of archives."""
    models = {part: aws.find("sagemaker", "DescribeModel", ModelName=part) for part in parts}
    return {part: model["PrimaryContainer"].get("ModelDataUrl", "") for part, model in models.items() if model}


def _in_use(aws: Caller, name: str, url: str, but: str) -> bool:
    """Whether a model of an endpoint, ``but`` one, is made from an archive or a folder of archives."""
    return url in _data_urls(aws, [part for part in _parts(aws, name) if part != but]).values()


def _remove_part(aws: Caller, part: str, report: Report, in_use: str = "") -> None:
    """Remove a configuration, its model, and the model's archives unless other models of the endpoint need them.

    ``in_use`` is what the endpoint is made from, which may not be in the account yet (a preview makes nothing).
    """
    if aws.find("sagemaker", "DescribeEndpointConfig", EndpointConfigName=part):
        aws.call("sagemaker", "DeleteEndpointConfig", EndpointConfigName=part)
        report(f"removed EndpointConfig {part}")
    name = endpoint_of(part)
    for url in _data_urls(aws, [part]).values():
        place = folder_of(url, name)
        if place and url != in_use and not _in_use(aws, name, url, but=part):
            _remove_archives(aws, *place, report, below=url)
        aws.call("sagemaker", "DeleteModel", ModelName=part)
        report(f"removed Model {part}")


def _remove_archives(aws: Caller, bucket: str, folder: str, report: Report, below: str = "") -> list[str]:
    """Remove an endpoint's archives from its folder in S3, ``below``: those of one model; returns their keys."""
    start = f"s3://{bucket}/"
    keys = [key for key in _objects(aws, bucket, f"{folder}/") if is_archive(key, folder)]
    keys = [key for key in keys if f"{start}{key}".startswith(below)]
    for key in keys:
        aws.call("s3", "DeleteObject", Bucket=bucket, Key=key)
        report(f"removed {start}{key}")
    return keys


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
