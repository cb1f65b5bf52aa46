"""A connection to an endpoint by gRPC or HTTP, of which only the one that is used gets imported."""

from __future__ import annotations

from workshop.triton.endpoint import Endpoint, ProtocolName
from workshop.triton.transport import Transport


def connect(protocol: ProtocolName, endpoint: Endpoint, connections: int) -> Transport:
    """The transport of a protocol.

    Args:
        protocol: ``grpc`` or ``http``.
        endpoint: where the server is; its URL names that protocol's port.
        connections: requests that HTTP keeps under way at once; gRPC has no limit.
    """
    if protocol == "grpc":
        from workshop.triton.grpc_transport import GrpcTransport

        return GrpcTransport(endpoint)
    from workshop.triton.http_transport import HttpTransport

    return HttpTransport(endpoint, connections)
