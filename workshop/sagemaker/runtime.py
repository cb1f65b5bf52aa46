"""Ask an endpoint with boto3, with errors that say what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import boto3
import numpy as np
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from workshop.errors import InvocationError, PayloadError
from workshop.sagemaker.aws import explained
from workshop.sagemaker.payload import LARGEST_PAYLOAD, Payload, check, decode, encode

_TOO_LARGE = 413


def local_client(url: str) -> Any:
    """A boto3 ``sagemaker-runtime`` client of :func:`workshop.sagemaker.relay.local_runtime`: needs no credentials."""
    settings = Config(signature_version=UNSIGNED, retries={"max_attempts": 1}, proxies={})
    return boto3.client("sagemaker-runtime", region_name="us-east-1", endpoint_url=url, config=settings)


def invoke(client: Any, endpoint: str, payload: Payload, target: str = "") -> Payload:
    """Send one request to an endpoint.

    Args:
        client: boto3's ``sagemaker-runtime``.
        endpoint: its name.
        payload: body and content type.
        target: name of the archive, for an endpoint that has several.

    Raises:
        PayloadError: the request is too large or of a content type that Triton does not take; nothing is sent.
        InvocationError: the model refused the request, or failed.
        AwsCredentialsError, AwsQuotaError, AwsRefusedError: SageMaker did.
    """
    check(payload)
    more = {"TargetModel": target} if target else {}
    try:
        answer = client.invoke_endpoint(
            EndpointName=endpoint, Body=payload.body, ContentType=payload.content_type, **more
        )
        return Payload(answer["Body"].read(), answer["ContentType"])
    except ClientError as error:
        if error.response["Error"].get("Code") == "ModelError":
            said = error.response.get("OriginalMessage") or error.response["Error"].get("Message", "")
            status = error.response.get("OriginalStatusCode", "unknown")
            raise InvocationError(f"endpoint {endpoint!r}: Triton answered with status {status}: {said}") from error
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == _TOO_LARGE:
            raise PayloadError(
                f"endpoint {endpoint!r} refused {len(payload.body):,} bytes; {LARGEST_PAYLOAD:,} are taken",
                hint="send fewer texts at a time",
            ) from error
        raise explained(f"endpoint {endpoint!r}", error) from error
    except BotoCoreError as error:
        raise explained(f"endpoint {endpoint!r}", error) from error


def ask(
    client: Any,
    endpoint: str,
    inputs: Mapping[str, np.ndarray],
    outputs: Sequence[str],
    *,
    binary: bool = True,
    target: str = "",
) -> dict[str, np.ndarray]:
    """Arrays in, arrays out; arguments and errors are those of :func:`invoke` and of ``payload.encode``."""
    return decode(invoke(client, endpoint, encode(inputs, outputs, binary=binary), target))
