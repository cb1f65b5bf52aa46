"""The local stack: the real tritonserver and aqlite as local processes."""

from workshop.stack.control import SERVICES, ServiceStatus, down, log_path, memory_mb, running, status, up

__all__ = ["SERVICES", "ServiceStatus", "down", "log_path", "memory_mb", "running", "status", "up"]
