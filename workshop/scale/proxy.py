"""The configuration of nginx as one address before several Triton servers, over HTTP and gRPC.

What may be asked through it is listed. Inference and questions after health and models go to the server with the
fewest requests under way. Loading models, traces and shared memory are each one server's own affair, so the proxy
refuses them: a rollout talks to every server itself.

An HTTP inference whose server breaks off is sent to another one. Over gRPC nginx passes a request on while it still
arrives, so that it can send it elsewhere only when no connection came about; the client tries again after the rest
(``TritonClient(..., retries=2)``). Streams are never sent twice.

https://nginx.org/en/docs/http/ngx_http_grpc_module.html, https://nginx.org/en/docs/http/ngx_http_upstream_module.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from workshop.errors import SettingsError

_HOST = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
_UNARY = "ModelInfer|ServerLive|ServerReady|ServerMetadata|ModelReady|ModelMetadata|ModelConfig|ModelStatistics"
_REFUSAL = "the proxy passes on neither model control nor shared memory: ask each server itself"


@dataclass(frozen=True)
class Backend:
    """One Triton server as the proxy reaches it."""

    host: str
    http: int = 8000
    grpc: int = 8001


def nginx_config(
    backends: Sequence[Backend],
    *,
    http: str = "8000",
    grpc: str = "8001",
    folder: str = "/tmp",
    timeout: int = 300,
    foreground: bool = True,
) -> str:
    """The text of ``nginx.conf``, for a proxy without root's rights.

    Args:
        backends: the servers.
        http: address or port to listen on for HTTP.
        grpc: the same for gRPC, without TLS.
        folder: writable; holds the process id and what large requests are buffered in.
        timeout: seconds a server may take to answer.
        foreground: stay in the foreground, as a container wants it.

    Raises:
        SettingsError: no server, or a host or port that is none.
    """
    if not backends:
        raise SettingsError("a proxy needs a server to pass requests on to")
    for backend in backends:
        if not _HOST.fullmatch(backend.host) or not all(0 < port < 65536 for port in (backend.http, backend.grpc)):
            raise SettingsError(
                f"{backend} is no server's address: expected a host name or IPv4 address, and two ports"
            )
    upstreams = "\n".join(
        _upstream(kind, [f"{backend.host}:{getattr(backend, kind)}" for backend in backends])
        for kind in ("http", "grpc")
    )
    temporary = "\n".join(
        f"    {module}_temp_path {folder}/nginx-{module};"
        for module in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""\
# One address for several Triton servers. Written by workshop.scale.proxy, which says why it is as it is.
worker_processes auto;
pid {folder}/nginx.pid;
daemon {"off" if foreground else "on"};
error_log stderr warn;

events {{
    worker_connections 4096;
}}

http {{
    access_log off;
    server_tokens off;
{temporary}
    client_max_body_size 0;
    client_body_buffer_size 16m;
    # a long-lived client is not sent away after the usual 1,000 requests
    keepalive_requests 1000000000;

{upstreams}
    server {{
        listen {http};
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_connect_timeout 2s;
        proxy_read_timeout {timeout}s;
        proxy_next_upstream error timeout http_502 http_503;
        proxy_next_upstream_timeout {timeout}s;

        location ~ ^/v2(/health/(live|ready)|/models/[^/]+(/versions/[^/]+)?(/(config|ready|stats))?)?$ {{
            limit_except GET {{
                deny all;
            }}
            proxy_pass http://triton_http;
        }}
        # an inference is a POST without side effects: it may be sent again
        location ~ ^/v2/models/[^/]+(/versions/[^/]+)?/(infer|generate)$ {{
            proxy_next_upstream error timeout http_502 http_503 non_idempotent;
            proxy_pass http://triton_http;
        }}
        location ~ ^/v2/models/[^/]+(/versions/[^/]+)?/generate_stream$ {{
            proxy_next_upstream off;
            proxy_buffering off;
            proxy_pass http://triton_http;
        }}
        location / {{
            default_type application/json;
            return 403 '{{"error": "{_REFUSAL}"}}';
        }}
    }}

    server {{
        listen {grpc} http2;
        grpc_connect_timeout 2s;
        grpc_read_timeout {timeout}s;
        grpc_send_timeout {timeout}s;
        grpc_socket_keepalive on;

        location ~ ^/inference\\.GRPCInferenceService/({_UNARY})$ {{
            grpc_next_upstream error timeout non_idempotent;
            grpc_next_upstream_timeout {timeout}s;
            grpc_pass grpc://triton_grpc;
        }}
        location = /inference.GRPCInferenceService/ModelStreamInfer {{
            grpc_next_upstream off;
            client_body_timeout {timeout}s;
            grpc_pass grpc://triton_grpc;
        }}
        location / {{
            default_type application/grpc;
            add_header grpc-status 7 always;
            add_header grpc-message "{_REFUSAL}" always;
            return 204;
        }}
    }}
}}
"""


def _upstream(kind: str, addresses: Sequence[str]) -> str:
    lines = "\n".join(f"        server {address} max_fails=1 fail_timeout=5s;" for address in addresses)
    return f"""\
    upstream triton_{kind} {{
        # the workers count together
        zone triton_{kind} 64k;
        least_conn;
{lines}
        keepalive 64;
    }}
"""
