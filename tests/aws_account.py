"""An AWS account in this process: moto, with the few calls that it lacks, and every call on record."""

from __future__ import annotations

from typing import Any

import boto3
import botocore.session
from botocore import xform_name
from moto.core import DEFAULT_ACCOUNT_ID
from moto.sagemaker.models import sagemaker_backends

from workshop.sagemaker.aws import Aws, check_arguments

REGION = "eu-west-1"
SESSION = botocore.session.get_session()
SERVICES = ("sagemaker", "s3", "application-autoscaling")
# made once: a client of SageMaker takes a second. moto takes their requests while it is on.
CLIENTS = {
    service: boto3.client(service, REGION, aws_access_key_id="testing", aws_secret_access_key="testing")
    for service in SERVICES
}


class Account(Aws):
    """Calls as :class:`Aws` makes them, checked against botocore's description first.

    ``made`` lists them. ``fail[operation]`` is raised instead of the call, or called after it when it is a function.
    """

    def __init__(self) -> None:
        super().__init__(REGION, client=CLIENTS.__getitem__)
        self.made: list[str] = []
        self.fail: dict[str, Any] = {}
        self.backend = sagemaker_backends[DEFAULT_ACCOUNT_ID][REGION]

    def call(self, service: str, operation: str, **arguments: object) -> dict[str, Any]:
        """Record and make a call."""
        check_arguments(SESSION, service, operation, arguments)
        self.made.append(operation)
        planned = self.fail.get(operation)
        if isinstance(planned, BaseException):
            raise planned
        own = getattr(self, f"_{xform_name(operation)}", None)
        answer = own(**arguments) if own else super().call(service, operation, **arguments)
        if planned:
            planned()
        return answer

    @property
    def changes(self) -> list[str]:
        """What was made, leaving out look-ups."""
        return [operation for operation in self.made if not operation.startswith(("Describe", "Head", "List"))]

    def _update_endpoint(self, **given: object) -> dict[str, Any]:
        self.backend.endpoints[given["EndpointName"]].endpoint_config_name = given["EndpointConfigName"]
        return {}

    def _list_endpoints(self, **_: object) -> dict[str, Any]:
        listed = self.backend.endpoints.values()
        return {
            "Endpoints": [
                {"EndpointName": e.endpoint_name, "EndpointArn": e.arn, "EndpointStatus": e.endpoint_status}
                for e in listed
            ]
        }

    def _list_endpoint_configs(self, **given: object) -> dict[str, Any]:
        listed = self.backend.endpoint_configs.values()
        return {
            "EndpointConfigs": [
                {
                    "EndpointConfigName": c.endpoint_config_name,
                    "EndpointConfigArn": c.response_object["EndpointConfigArn"],
                }
                for c in listed
                if given["NameContains"] in c.endpoint_config_name
            ]
        }
