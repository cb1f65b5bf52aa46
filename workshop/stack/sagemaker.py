"""Keep Triton's SageMaker front end on this machine.

The HTTP, gRPC and metrics front ends have an address option; the SageMaker front end has none and listens on every
network interface, with a server release that has known remote vulnerabilities. Its address reaches the socket through
one call of ``inet_addr`` in the binary, so the stack runs a copy of the binary in which that call is replaced by the
constant 127.0.0.1. The place is known for one binary, told by its SHA-256. With any other the front end stays off,
unless its port was asked for by number: then it listens where it always does, on every interface, and a warning says
so.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from workshop.errors import UnsupportedPlatformError
from workshop.files import sha256_of

BINARY_SHA256 = "01f1d4a777fea48f8e62a3df0403bcbd858c7a0be203e032a795032555f3e3f4"  # nvidia-pytriton 0.7.0
CALL_OFFSET = 0x99D4DB
RETURN_LOOPBACK = b"\xb8\x7f\x00\x00\x01"  # mov eax, 127.0.0.1 in network byte order; as long as the call


def is_known(binary: Path) -> bool:
    """Whether :func:`write_loopback_binary` knows this server."""
    return sha256_of(binary) == BINARY_SHA256


def write_loopback_binary(binary: Path, target: Path) -> None:
    """Write the copy of the server whose HTTP-based front ends listen on 127.0.0.1 whatever their address is.

    Raises:
        UnsupportedPlatformError: the binary is not the one of the pinned wheel.
    """
    content = bytearray(binary.read_bytes())
    digest = hashlib.sha256(content).hexdigest()
    if digest != BINARY_SHA256:
        raise UnsupportedPlatformError(
            "the SageMaker front end can be kept on 127.0.0.1 for one tritonserver only "
            f"(SHA-256 {BINARY_SHA256[:12]}...), {binary} is another ({digest[:12]}...)",
            hint="install the pinned nvidia-pytriton, or switch the front end off: WORKSHOP_SAGEMAKER_PORT=0",
        )
    content[CALL_OFFSET : CALL_OFFSET + len(RETURN_LOOPBACK)] = RETURN_LOOPBACK
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_suffix(".new")
    aside.write_bytes(content)
    aside.chmod(0o755)
    os.replace(aside, target)
