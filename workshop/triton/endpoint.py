"""Where a Triton server is, and what it takes to be let in: TLS and headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from workshop.errors import SettingsError

if TYPE_CHECKING:  # pydantic takes a fifth of the client's time to import
    from workshop.settings import Settings

ProtocolName = Literal["grpc", "http"]

CONTROL_HEADER = "workshop-control-key"
"""Carries the key of a server that restricts the listing, loading and unloading of models.

Over gRPC Triton puts ``triton-grpc-protocol-`` before it:
https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/customization_guide/inference_protocols.html#limit-endpoint-access-beta
"""


@dataclass(frozen=True)
class Tls:
    """Encrypt the connection and check the server's certificate, host name included.

    Attributes:
        ca: PEM file with the authorities to trust; ``None``: those that the system, or gRPC's library, trusts.
        certificate: PEM file with the client's own certificate, where the server asks for one.
        key: PEM file with the key that belongs to it.

    Raises:
        SettingsError: a file does not exist, or only one of certificate and key is given.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise SettingsError("TLS: the client's certificate and its key are given together or not at all")
        for what in ("ca", "certificate", "key"):
            path = getattr(self, what)
            if path is not None and not path.is_file():
                raise SettingsError(f"TLS: no file {path}", hint=f"check WORKSHOP_TRITON_TLS_{what.upper()}")


def control_headers(key: str) -> dict[str, str]:
    """What an HTTP request about the model repository carries; nothing where there is no key."""
    return {CONTROL_HEADER: key} if key else {}


@dataclass(frozen=True)
class Endpoint:
    """One port of a server.

    Attributes:
        url: ``host:port``, without a scheme; over HTTP a path may follow.
        tls: how to encrypt; ``None``: not at all.
        headers: sent with every request, for instance ``{"authorization": "Bearer ..."}``; over gRPC as metadata.
        control_key: sent with the requests about the model repository, and with no other.
    """

    url: str
    tls: Tls | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    control_key: str = field(default="", repr=False)

    def http_headers(self, *, control: bool = False) -> dict[str, str]:
        """Headers of a request over HTTP; ``control``: it is about the model repository."""
        return {**self.headers, **(control_headers(self.control_key) if control else {})}

    def grpc_metadata(self, *, control: bool = False) -> dict[str, str]:
        """The same as gRPC takes it: in lower case."""
        found = {name.lower(): value for name, value in self.headers.items()}
        if control and self.control_key:
            found[f"triton-grpc-protocol-{CONTROL_HEADER}"] = self.control_key
        return found

    @classmethod
    def from_settings(cls, settings: Settings, protocol: ProtocolName) -> Endpoint:
        """The port of the server that ``settings`` name."""
        port = settings.triton_grpc_port if protocol == "grpc" else settings.triton_http_port
        tls = None
        if settings.triton_tls:
            tls = Tls(settings.triton_tls_ca, settings.triton_tls_certificate, settings.triton_tls_key)
        return cls(f"{settings.triton_host}:{port}", tls, settings.triton_headers, settings.triton_control_key)
