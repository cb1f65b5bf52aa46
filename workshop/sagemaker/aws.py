"""Calls to AWS by the names of its API, with errors that say what to do; and the same calls shown instead of made."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import boto3
import botocore.session
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    UnknownRegionError,
)
from botocore.validate import ParamValidator

from workshop.errors import AwsCredentialsError, AwsQuotaError, AwsRefusedError, SageMakerError, SettingsError

_NO_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    ProfileNotFound,
    SSOError,
)
_CREDENTIAL_CODES = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_QUOTA_CODES = {
    "LimitExceededException",
    "ResourceLimitExceeded",
    "ServiceQuotaExceededException",
    "ThrottlingException",
    "TooManyRequestsException",
}
_READS = ("Describe", "Head", "List")
_MISSING_CODES = {"404", "NoSuchKey", "NotFound", "ObjectNotFoundException", "ResourceNotFound"}
_MISSING_WORDS = ("could not find", "does not exist", "not found")
CREDENTIALS_HINT = "aws configure, or aws sso login; AWS_PROFILE names the profile to use"


class Caller(Protocol):
    """Makes calls to AWS, or shows them.

    Attributes:
        dry: nothing is made, so nothing can be waited for.
    """

    dry: bool

    def call(self, service: str, operation: str, **arguments: object) -> dict[str, Any]:
        """Make a call: ``call("sagemaker", "CreateModel", ModelName=...)``."""
        ...

    def find(self, service: str, operation: str, **arguments: object) -> dict[str, Any] | None:
        """As :meth:`call`, where ``None`` means that there is no such thing."""
        ...


class Aws:
    """Calls made with the credentials and the region of boto3's usual places.

    Args:
        region: wins over that of the profile; empty: the profile's.
        profile: of the AWS configuration; empty: the usual one.
        client: makes a boto3 client of a service, for tests.
    """

    dry = False

    def __init__(self, region: str = "", profile: str = "", client: Callable[[str], Any] | None = None) -> None:
        self._region, self._profile = region, profile
        self._make = client
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """The boto3 client of a service.

        Raises:
            AwsCredentialsError: the profile is not there.
            AwsRefusedError: no region is known.
        """
        if service not in self._clients:
            try:
                self._clients[service] = self._make(service) if self._make else self._connect(service)
            except _NO_CREDENTIALS as error:
                raise AwsCredentialsError(f"no AWS credentials: {error}", hint=CREDENTIALS_HINT) from error
            except NoRegionError as error:
                raise AwsRefusedError("no AWS region is known", hint="--region, or AWS_REGION") from error
        return self._clients[service]

    @property
    def region(self) -> str:
        """The region in use, empty where none is known."""
        return self._region or boto3.Session(profile_name=self._profile or None).region_name or ""

    @property
    def has_credentials(self) -> bool:
        """Whether there are any, valid or not.

        Raises:
            AwsCredentialsError: the profile is not there, or cannot be read.
        """
        try:
            return boto3.Session(profile_name=self._profile or None).get_credentials() is not None
        except _NO_CREDENTIALS as error:
            raise AwsCredentialsError(f"no AWS credentials: {error}", hint=CREDENTIALS_HINT) from error

    def _connect(self, service: str) -> Any:
        session = boto3.Session(profile_name=self._profile or None, region_name=self._region or None)
        return session.client(service, config=Config(retries={"mode": "standard"}, connect_timeout=10))

    def call(self, service: str, operation: str, **arguments: object) -> dict[str, Any]:
        """Make a call.

        Raises:
            AwsCredentialsError, AwsQuotaError, AwsRefusedError: as their names say.
        """
        client = self.client(service)
        try:
            return getattr(client, xform_name(operation))(**arguments)
        except (ClientError, BotoCoreError) as error:
            raise explained(f"{service} {operation}", error) from error

    def find(self, service: str, operation: str, **arguments: object) -> dict[str, Any] | None:
        """Make a call that looks something up; ``None`` when it is not there. Errors are those of :meth:`call`."""
        try:
            return self.call(service, operation, **arguments)
        except AwsRefusedError as error:
            if is_missing(error.__cause__):
                return None
            raise


class DryRun:
    """Shows every call with its arguments, after botocore has checked them against the service's own description.

    Nothing is sent and no credentials are needed; whatever is looked up is taken as not there.

    Args:
        show: receives one line of text at a time.
    """

    dry = True

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._session = botocore.session.get_session()
        self.calls: list[tuple[str, str, Mapping[str, object]]] = []

    def call(self, service: str, operation: str, **arguments: object) -> dict[str, Any]:
        """Check and show a call; the answer is empty.

        Raises:
            AwsRefusedError: an argument is missing, unknown or of another kind than the service's description says.
        """
        check_arguments(self._session, service, operation, arguments)
        self.calls.append((service, operation, arguments))
        self._show(f"{service} {operation} {json.dumps(_shown(arguments), indent=2)}")
        return {}

    def find(self, service: str, operation: str, **arguments: object) -> dict[str, Any] | None:
        """Check and show a look-up."""
        self.call(service, operation, **arguments)
        return None


class Preview(Aws):
    """Looks things up in the account, and shows the calls that would change something instead of making them.

    Args:
        show: receives one line of text at a time.
        region, profile, client: as :class:`Aws` has them.
    """

    dry = True

    def __init__(
        self,
        show: Callable[[str], None],
        region: str = "",
        profile: str = "",
        client: Callable[[str], Any] | None = None,
    ) -> None:
        super().__init__(region, profile, client)
        self._shown = DryRun(show)

    def call(self, service: str, operation: str, **arguments: object) -> dict[str, Any]:
        """Make a call that only reads, show any other; errors are those of both."""
        maker = super() if operation.startswith(_READS) else self._shown
        return maker.call(service, operation, **arguments)


def check_arguments(
    session: botocore.session.Session, service: str, operation: str, arguments: Mapping[str, object]
) -> None:
    """Hold the arguments of a call against botocore's description of the service.

    Raises:
        AwsRefusedError: the service has no such operation, or the arguments do not fit it.
    """
    model = session.get_service_model(service)
    if operation not in model.operation_names:
        raise AwsRefusedError(f"{service} has no operation {operation}")
    report = ParamValidator().validate(dict(arguments), model.operation_model(operation).input_shape)
    if report.has_errors():
        raise AwsRefusedError(f"{service} {operation}: {report.generate_report()}")


def partition_domain(region: str) -> str:
    """The domain of AWS's services in a region: China has another.

    Raises:
        SettingsError: botocore knows no such region.
    """
    try:
        partition = botocore.session.get_session().get_partition_for_region(region)
    except UnknownRegionError as error:
        raise SettingsError(f"AWS has no region {region!r}", hint="--region, or AWS_REGION") from error
    return "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"


def is_missing(error: BaseException | None) -> bool:
    """Whether an error of botocore says that a thing is not there; SageMaker says so in words only."""
    if not isinstance(error, ClientError):
        return False
    code, said = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "").lower()
    return code in _MISSING_CODES or (code == "ValidationException" and any(word in said for word in _MISSING_WORDS))


def explained(what: str, error: ClientError | BotoCoreError) -> SageMakerError:
    """The error of a call as one of the workshop's."""
    if isinstance(error, _NO_CREDENTIALS):
        return AwsCredentialsError(f"{what}: no AWS credentials: {error}", hint=CREDENTIALS_HINT)
    if isinstance(error, ParamValidationError):
        return AwsRefusedError(f"{what}: {error}")
    if not isinstance(error, ClientError):
        return AwsRefusedError(f"{what}: AWS was not reached: {error}", hint="check the network and --region")
    code, said = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    if code in _CREDENTIAL_CODES:
        return AwsCredentialsError(f"{what}: {code}: {said}", hint=CREDENTIALS_HINT)
    if code in _QUOTA_CODES:
        return AwsQuotaError(
            f"{what}: {code}: {said}",
            hint="another --instance-type or fewer instances, or ask for more in Service Quotas",
        )
    hint = "the role or user lacks a right that the message names" if "AccessDenied" in code else None
    return AwsRefusedError(f"{what}: {code}: {said}", hint=hint)


def _shown(arguments: Mapping[str, object]) -> dict[str, object]:
    """Arguments as JSON can hold them: a file is named."""
    return {
        name: value if isinstance(value, (str, int, float, bool, list, dict)) else f"<{getattr(value, 'name', value)}>"
        for name, value in arguments.items()
    }
