"""What all requests share: the store, the users, open cursors and transactions."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from aqlite.aql import build_parser
from aqlite.errors import ArangoError
from aqlite.services.cursors import CursorRegistry
from aqlite.services.jobs import JobRegistry
from aqlite.services.queries import QueryRegistry
from aqlite.services.transactions import TransactionRegistry
from aqlite.services.users import ROOT, Users
from aqlite.storage.expiry import remove_expired
from aqlite.storage.store import Store


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
    """

    body_bytes: int = 64 * 2**20
    request_seconds: float = 60.0
    query_seconds: float = 600.0
    query_memory: int = 512 * 2**20
    transaction_idle_seconds: float = 60.0
    lock_seconds: float = 15.0
    expiry_seconds: float = 30.0


class Server:
    """The running server's state; one per process."""

    def __init__(
        self, folder: Path, *, root_password: str | None, limits: Limits | None = None, max_bytes: int | None = None
    ) -> None:
        """Open the data folder.

        Raises:
            DataFolderError: the folder cannot be used.
            ValueError: first start without a root password.
        """
        self.limits = limits or Limits()
        self.started = time.time()
        self.id = secrets.token_hex(8)
        self.store = Store(folder, lock_timeout=self.limits.lock_seconds, max_bytes=max_bytes)
        self.users = Users(self.store)
        if ROOT not in self.users:
            if not root_password:
                self.store.close()
                raise ValueError("a new data folder needs a root password")
            self.users.create(ROOT, root_password)
        self.cursors = CursorRegistry()
        self.queries = QueryRegistry()
        self.jobs = JobRegistry()
        self.transactions = TransactionRegistry(self.store, self.limits.transaction_idle_seconds)
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
        last_expiry = time.monotonic()
        while not self._stop.wait(1.0):
            self.cursors.drop_expired()
            self.transactions.abort_idle()
            if time.monotonic() - last_expiry >= self.limits.expiry_seconds:
                last_expiry = time.monotonic()
                self.expire_documents()

    def expire_documents(self) -> int:
        """Remove documents whose ttl index says so; returns how many. A busy or full store is tried again later."""
        try:
            return remove_expired(self.store, time.time())
        except ArangoError:
            return 0
