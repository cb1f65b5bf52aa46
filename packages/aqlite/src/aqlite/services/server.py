"""What all requests share: the store, the users, open cursors and transactions."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from aqlite.aql import build_parser
from aqlite.errors import ArangoError
from aqlite.services.cursors import CursorRegistry
from aqlite.services.jobs import JobLimits, JobRegistry
from aqlite.services.metrics import RequestMetrics
from aqlite.services.queries import QueryRegistry
from aqlite.services.transactions import TransactionRegistry
from aqlite.services.users import ROOT, Users
from aqlite.storage.expiry import remove_expired
from aqlite.storage.store import Store

logger = logging.getLogger("aqlite")


@dataclass(frozen=True)
class Limits:
    """Bounds that keep one request from taking the server down.

    Attributes:
        body_bytes: largest request body.
        request_seconds: time that the body of a request may take to arrive.
        query_seconds: longest run time of a query without ``maxRuntime``, 0 for none.
        query_memory: ``memoryLimit`` in bytes of a query that sets none.
        transaction_idle_seconds: an idle stream transaction is aborted after that time.
        lock_seconds: how long a write waits for another writer.
        expiry_seconds: pause between two searches for expired documents.
        open_transactions: stream transactions that may be open at a time; each takes file descriptors.
        cursor_bytes: what the results of all open cursors may take.
        wal_bytes: size of the write-ahead log that readers of old snapshots may cause.
        jobs: background jobs and their results.
    """

    body_bytes: int = 64 * 2**20
    request_seconds: float = 60.0
    query_seconds: float = 600.0
    query_memory: int = 512 * 2**20
    transaction_idle_seconds: float = 60.0
    lock_seconds: float = 15.0
    expiry_seconds: float = 30.0
    open_transactions: int = 128
    cursor_bytes: int = 2**30
    wal_bytes: int = 2**30
    jobs: JobLimits = field(default_factory=JobLimits)


class Server:
    """The running server's state; one per process."""

    def __init__(
        self,
        folder: Path,
        *,
        root_password: str | None,
        limits: Limits | None = None,
        max_bytes: int | None = None,
        set_root_password: bool = False,
        jwt_secret: str | None = None,
    ) -> None:
        """Open the data folder; with ``set_root_password`` root gets the password given, whatever it had.

        ``jwt_secret`` signs tokens instead of the folder's own secret.

        Raises:
            DataFolderError: the folder cannot be used.
            ValueError: first start, or ``set_root_password``, without a root password.
        """
        self.limits = limits or Limits()
        self.started = time.time()
        self.id = secrets.token_hex(8)
        self.store = Store(
            folder, lock_timeout=self.limits.lock_seconds, max_bytes=max_bytes, wal_bytes=self.limits.wal_bytes
        )
        self.users = Users(self.store, jwt_secret)
        if ROOT not in self.users or set_root_password:
            if not root_password:
                self.store.close()
                raise ValueError("no root password is given")
            if ROOT in self.users:
                self.users.change(ROOT, {"passwd": root_password}, replacing=False)
            else:
                self.users.create(ROOT, root_password)
        self.cursors = CursorRegistry(self.limits.cursor_bytes)
        self.queries = QueryRegistry()
        self.requests = RequestMetrics()
        self.jobs = JobRegistry(lambda reply: len(reply.body or b""), self.limits.jobs)
        self.transactions = TransactionRegistry(
            self.store, self.limits.transaction_idle_seconds, self.limits.open_transactions
        )
        build_parser()  # so that no client waits for its tables
        self._stop = threading.Event()
        self._housekeeper = threading.Thread(target=self._keep_house, name="housekeeper", daemon=True)
        self._housekeeper.start()

    def close(self) -> None:
        """Abort what is open and close the files."""
        self._stop.set()
        self._housekeeper.join()
        self.queries.kill_all()
        self.jobs.close()
        self.transactions.abort_all()
        self.cursors.clear()
        self.store.close()

    def _keep_house(self) -> None:
        """Tidy up every second until the server closes; a task that fails stops neither others nor the next round."""
        tasks = (
            (self.cursors.drop_expired, 1.0),
            (self.transactions.abort_idle, 1.0),
            (self.expire_documents, self.limits.expiry_seconds),
        )
        due = {task: time.monotonic() + pause for task, pause in tasks}
        while not self._stop.wait(1.0):
            for task, pause in tasks:
                if time.monotonic() >= due[task]:
                    try:
                        task()
                    except Exception:
                        logger.exception("%s failed; it is tried again", task.__name__)
                    due[task] = time.monotonic() + pause

    def expire_documents(self) -> int:
        """Remove documents whose ttl index says so; returns how many. A busy or full store is tried again later."""
        try:
            return remove_expired(self.store, time.time())
        except ArangoError as error:
            logger.warning("documents could not be expired: %s", error)
            return 0
