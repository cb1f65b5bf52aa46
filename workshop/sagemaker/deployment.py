"""What an endpoint is to be: its parts, their names, and what it costs. Calls nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workshop.errors import SettingsError
from workshop.sagemaker.archive import DEFAULT_MODEL_VARIABLE, SINGLE_MODEL_FILE, Archive

VARIANT = "AllTraffic"
PREFIX = "triton"
"""Of the keys of archives in a bucket."""
OWNER_TAG = "graph-triton-workshop"
SCALABLE_DIMENSION = "sagemaker:variant:DesiredInstanceCount"
LONGEST_NAME = 52
"""Of an endpoint: the names of its parts have eleven characters more, and SageMaker takes 63."""
HOURS_A_MONTH = 730
_NAME = re.compile(r"^[A-Za-z0-9](-*[A-Za-z0-9])*$")
_PART = re.compile(r"^(?P<endpoint>.+)-[0-9a-f]{10}$")
_DATA_URL = re.compile(rf"s3://([^/]+)/(.+)/(?:models/|[0-9a-f]{{16}}/{re.escape(SINGLE_MODEL_FILE)})")
_ARCHIVE_KEY = re.compile(rf"models/[^/]+\.tar\.gz|[0-9a-f]{{16}}/{re.escape(SINGLE_MODEL_FILE)}")
_DIGITS = 10


@dataclass(frozen=True)
class Scaling:
    """How many instances, by load.

    Attributes:
        least: instances that always run.
        most: instances at the highest load.
        requests_a_minute: of each instance, which the number of instances is kept at.
        seconds_down: after a change, before instances are taken away.
        seconds_up: after a change, before more are added.
    """

    least: int
    most: int
    requests_a_minute: float
    seconds_down: int = 300
    seconds_up: int = 60


@dataclass(frozen=True)
class Deployment:
    """An endpoint as it is to be.

    Attributes:
        name: of the endpoint; its model and configuration are called ``NAME-`` and ten digits of what they consist of.
        archive: what it serves.
        image: URI of the Triton container.
        role: ARN of the role that the endpoint runs as.
        bucket: S3 bucket for the archive.
        prefix: of the archive's key in the bucket.
        instance_type: ``ml.`` and so on.
        instances: at the start.
        multi_model: an endpoint that takes several archives; requests then name one as ``TargetModel``.
        scaling: how many instances by load; ``None``: always ``instances``.
        environment: further variables of the container.
        tags: further tags of all parts.
        start_seconds: that the container may take to answer its first ping.
    """

    name: str
    archive: Archive
    image: str
    role: str
    bucket: str
    instance_type: str
    prefix: str = PREFIX
    instances: int = 1
    multi_model: bool = False
    scaling: Scaling | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    start_seconds: int = 600

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.scaling and not 1 <= self.scaling.least <= self.scaling.most:
            raise SettingsError(f"scaling from {self.scaling.least} to {self.scaling.most} instances is no range")

    @property
    def target(self) -> str:
        """Name of the archive behind an endpoint for several: what a request calls ``TargetModel``.

        It changes with the contents, since SageMaker keeps what it has loaded under a name.
        """
        return f"{self.archive.model}-{self.archive.sha256[:8]}.tar.gz"

    @property
    def folder(self) -> str:
        """Where in the bucket all archives of this endpoint lie."""
        return archive_folder(self.prefix, self.name)

    @property
    def key(self) -> str:
        """Of the archive in the bucket: no archive ever takes the place of another that an endpoint reads."""
        if self.multi_model:
            return f"{self.folder}/models/{self.target}"
        return f"{self.folder}/{self.archive.sha256[:16]}/{SINGLE_MODEL_FILE}"

    @property
    def data_url(self) -> str:
        """What the model is made from: the archive, or the folder of archives."""
        return f"s3://{self.bucket}/{self.folder}/models/" if self.multi_model else f"s3://{self.bucket}/{self.key}"

    @property
    def part_name(self) -> str:
        """Of the model and of the configuration: another name for other contents, the same for the same.

        An endpoint for several archives stays the same when one is added.
        """
        parts = (self._container(), self._variant(""), self.role)
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return f"{self.name}-{digest[:_DIGITS]}"

    @property
    def delete_command(self) -> str:
        """Removes all of it, also an archive that no model names yet."""
        return delete_command(self.name, self.bucket, self.prefix)

    @property
    def tag_list(self) -> list[dict[str, str]]:
        """Tags of every part, in the form of the API."""
        own = {OWNER_TAG: self.name}
        return [{"Key": key, "Value": value} for key, value in {**self.tags, **own}.items()]

    def upload(self) -> dict[str, Any]:
        """Arguments of ``PutObject`` without the body; S3 refuses a body of another SHA-256."""
        digest = base64.b64encode(bytes.fromhex(self.archive.sha256)).decode()
        return {
            "Bucket": self.bucket,
            "Key": self.key,
            "ChecksumSHA256": digest,
            "ContentType": "application/gzip",
            "Metadata": {"sha256": self.archive.sha256},
        }

    def model(self) -> dict[str, Any]:
        """Arguments of ``CreateModel``. The container of a single model gets no network: its archive needs none."""
        isolated = {} if self.multi_model else {"EnableNetworkIsolation": True}
        return {
            "ModelName": self.part_name,
            "PrimaryContainer": self._container(),
            "ExecutionRoleArn": self.role,
            "Tags": self.tag_list,
            **isolated,
        }

    def configuration(self) -> dict[str, Any]:
        """Arguments of ``CreateEndpointConfig``."""
        return {
            "EndpointConfigName": self.part_name,
            "ProductionVariants": [self._variant(self.part_name)],
            "Tags": self.tag_list,
        }

    def scalable_target(self) -> dict[str, Any]:
        """Arguments of ``RegisterScalableTarget``."""
        return {**scaled(self.name), "MinCapacity": self.scaling.least, "MaxCapacity": self.scaling.most}

    def scaling_policy(self) -> dict[str, Any]:
        """Arguments of ``PutScalingPolicy``."""
        return {
            **scaled(self.name),
            "PolicyName": f"{self.name}-requests",
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": {
                "TargetValue": float(self.scaling.requests_a_minute),
                "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
                "ScaleInCooldown": self.scaling.seconds_down,
                "ScaleOutCooldown": self.scaling.seconds_up,
            },
        }

    def _container(self) -> dict[str, Any]:
        own = {} if self.multi_model else {DEFAULT_MODEL_VARIABLE: self.archive.model}
        return {
            "Image": self.image,
            "Mode": "MultiModel" if self.multi_model else "SingleModel",
            "ModelDataUrl": self.data_url,
            "Environment": {**own, **self.environment},
        }

    def _variant(self, model: str) -> dict[str, Any]:
        return {
            "VariantName": VARIANT,
            "ModelName": model,
            "InstanceType": self.instance_type,
            "InitialInstanceCount": self.instances,
            "InitialVariantWeight": 1.0,
            "ContainerStartupHealthCheckTimeoutInSeconds": self.start_seconds,
        }


def check_name(name: str) -> None:
    """Refuse a name that SageMaker would refuse, for the endpoint or for one of its parts.

    Raises:
        SettingsError: it is too long, or has other characters than letters, digits and hyphens between them.
    """
    if len(name) > LONGEST_NAME or not _NAME.match(name):
        raise SettingsError(
            f"endpoint name {name!r}: expected at most {LONGEST_NAME} letters, digits, and hyphens between them"
        )


def endpoint_of(part: str) -> str:
    """Name of the endpoint that a model or a configuration of ours belongs to; empty for another's."""
    found = _PART.match(part)
    return found["endpoint"] if found else ""


def delete_command(name: str, bucket: str, prefix: str = PREFIX) -> str:
    """What removes an endpoint with all that was made for it, also an archive that no model names."""
    other = "" if prefix == PREFIX else f" --prefix {shlex.quote(prefix)}"
    return f"python scripts/sagemaker.py delete {name} --bucket {bucket}{other}"


def archive_folder(prefix: str, name: str) -> str:
    """Where in the bucket all archives of an endpoint lie."""
    return "/".join(filter(None, [prefix.strip("/"), name]))


def folder_of(url: str, name: str) -> tuple[str, str] | None:
    """Bucket and folder of an endpoint's archives, from the ``ModelDataUrl`` of its model; ``None`` for another's."""
    found = _DATA_URL.fullmatch(url)
    return found.groups() if found and f"/{found[2]}".endswith(f"/{name}") else None


def is_archive(key: str, folder: str) -> bool:
    """Whether an object is an archive where :attr:`Deployment.key` puts them, in the folder of an endpoint."""
    return key.startswith(f"{folder}/") and bool(_ARCHIVE_KEY.fullmatch(key.removeprefix(f"{folder}/")))


def scaled(name: str) -> dict[str, str]:
    """The arguments by which Application Auto Scaling knows the variant of an endpoint."""
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{name}/variant/{VARIANT}",
        "ScalableDimension": SCALABLE_DIMENSION,
    }


def image_uri(accounts: Mapping[str, str], region: str, tag: str, domain: str = "amazonaws.com") -> str:
    """URI of AWS's Triton container.

    Args:
        accounts: region -> the account whose registry has it there; AWS lists them with its container images.
        region: of the endpoint.
        tag: of the image, ``24.09-py3`` for instance.
        domain: of the region's partition.

    Raises:
        SettingsError: the table has no such region.
    """
    if region not in accounts:
        raise SettingsError(
            f"the table of accounts has no region {region!r}, it has {', '.join(sorted(accounts)) or 'none'}",
            hint="--image with the whole URI, or add the region: "
            "https://github.com/aws/deep-learning-containers/blob/master/available_images.md",
        )
    return f"{accounts[region]}.dkr.ecr.{region}.{domain}/sagemaker-tritonserver:{tag}"


def cost_text(deployment: Deployment, price: float | None, currency: str = "USD") -> str:
    """What the endpoint costs while it is there, asked or not.

    Args:
        deployment: its instances.
        price: of one instance for an hour; ``None``: not known, and nothing is guessed.
        currency: of the price.
    """
    least = deployment.scaling.least if deployment.scaling else deployment.instances
    most = deployment.scaling.most if deployment.scaling else deployment.instances
    running = f"{least}" if least == most else f"{least} to {most}"
    what = f"{running} x {deployment.instance_type}, day and night, whether it is asked or not"
    if price is None:
        return f"left running: {what}; give --price-per-hour to see the sum: https://aws.amazon.com/sagemaker/pricing/"
    counts = sorted({least, most})
    hour = [f"{count * price:,.2f}" for count in counts]
    month = [f"{count * price * HOURS_A_MONTH:,.0f}" for count in counts]
    return f"left running: {what}: {' to '.join(hour)} {currency} an hour, {' to '.join(month)} {currency} a month"
