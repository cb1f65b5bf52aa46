"""The local stack: the real tritonserver and aqlite as local processes."""

from workshop.stack.control import (
    SERVICES,
    ServiceStatus,
    down,
    local_services,
    log_path,
    memory_mb,
    running,
    set_password,
    status,
    up,
)

__all__ = [
    "SERVICES",
    "ServiceStatus",
    "down",
    "local_services",
    "log_path",
    "memory_mb",
    "running",
    "set_password",
    "status",
    "up",
]
