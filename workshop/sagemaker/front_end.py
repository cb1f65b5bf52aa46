"""Triton's SageMaker front end, asked directly, as SageMaker's own platform asks it inside a container.

``GET /ping`` and ``POST /invocations`` for one model; ``/models`` to load, list, ask and unload several:
https://docs.aws.amazon.com/sagemaker/latest/dg/mms-container-apis.html
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import quote

from workshop.errors import InvocationError, ServerUnreachableError, SettingsError
from workshop.sagemaker.payload import Payload, error_text
from workshop.settings import Settings

TARGET_HEADER = "X-Amzn-SageMaker-Target-Model"
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Answer:
    """Status, content type and body of an answer."""

    status: int
    content_type: str
    body: bytes


class FrontEnd:
    """The front end at an address; safe to share between threads, each of which keeps a connection.

    Args:
        host: of the server.
        port: of its SageMaker front end.
        timeout: seconds a request may take; loading a model is one.
    """

    def __init__(self, host: str, port: int, timeout: float = 120.0) -> None:
        self.host, self.port, self.timeout = host, port, timeout
        self._own = threading.local()

    @classmethod
    def from_settings(cls, settings: Settings) -> FrontEnd:
        """The front end of the server that the settings name.

        Raises:
            SettingsError: the settings say that it has none.
        """
        if not settings.effective_sagemaker_port:
            raise SettingsError(
                "Triton runs without its SageMaker front end: WORKSHOP_SAGEMAKER_PORT is 0",
                hint="on the local stack: unset it, then make down, then make up",
            )
        return cls(settings.triton_host, settings.effective_sagemaker_port)

    def ask(self, method: str, path: str, body: bytes = b"", content_type: str = "", target: str = "") -> Answer:
        """Send one request.

        Raises:
            ServerUnreachableError: nothing answers there.
        """
        headers = {"Content-Type": content_type} if content_type else {}
        if target:
            headers[TARGET_HEADER] = target
        # a server closes a connection that was idle for long, which shows at the next request: that one is sent again
        for connection in (getattr(self._own, "connection", None), self._connect()):
            if connection is None:
                continue
            try:
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                content = response.read()
                self._own.connection = connection
                return Answer(response.status, response.getheader("Content-Type", ""), content)
            except (OSError, HTTPException) as error:
                connection.close()
                self._own.connection, failure = None, error
        raise ServerUnreachableError(
            f"Triton's SageMaker front end does not answer at {self.host}:{self.port}: {failure}",
            hint="make status shows its port; WORKSHOP_SAGEMAKER_PORT=0 switches it off",
        ) from failure

    def _connect(self) -> HTTPConnection:
        return HTTPConnection(self.host, self.port, timeout=self.timeout)

    def ping(self) -> bool:
        """Whether the server says that it is healthy.

        Raises:
            ServerUnreachableError: nothing answers there.
        """
        return self.ask("GET", "/ping").status == 200

    def wait(self, seconds: float = 60.0) -> None:
        """Wait until the server is healthy.

        Raises:
            ServerUnreachableError: it is not within ``seconds``.
        """
        end = time.monotonic() + seconds
        while True:
            try:
                if self.ping():
                    return
                reason = "it answers that it is not ready"
            except ServerUnreachableError as error:
                if time.monotonic() > end:
                    raise
                reason = str(error)
            if time.monotonic() > end:
                raise ServerUnreachableError(
                    f"no healthy server at {self.host}:{self.port}: {reason}", hint="make status"
                )
            time.sleep(_POLL_SECONDS)

    def invoke(self, payload: Payload, model: str = "", target: str = "") -> Payload:
        """Ask the default model, or one that was loaded as ``model`` (its archive's name as ``target``).

        Raises:
            InvocationError: the server refused the request, or knows no such model.
            ServerUnreachableError: nothing answers there.
        """
        path = f"/models/{quote(model, safe='')}/invoke" if model else "/invocations"
        answer = self.ask("POST", path, payload.body, payload.content_type, target)
        if answer.status != 200:
            what = f"model {model!r}" if model else "the default model"
            raise InvocationError(f"{what}: status {answer.status}: {error_text(answer.body)}")
        return Payload(answer.body, answer.content_type)

    def load(self, model: str, folder: Path, target: str = "") -> None:
        """Load an unpacked archive under a name; one that has the name already is unloaded first.

        Args:
            model: the name, which is the model's name in the server unless ``target`` is given.
            folder: the unpacked archive, as the server sees it.
            target: the archive's name.

        Raises:
            InvocationError: the server cannot load it.
            ServerUnreachableError: nothing answers there.
        """
        body = json.dumps({"model_name": model, "url": str(folder)}).encode()
        answer = self.ask("POST", "/models", body, "application/json", target)
        if answer.status == 409:
            self.unload(model, target)
            answer = self.ask("POST", "/models", body, "application/json", target)
        if answer.status != 200:
            raise InvocationError(
                f"model {model!r} from {folder}: status {answer.status}: {error_text(answer.body)}",
                hint="the folder must be one that the server can read",
            )

    def models(self) -> dict[str, str]:
        """Names of the loaded models, and the folders they come from."""
        listed = json.loads(self.ask("GET", "/models").body)["models"]
        return {entry["modelName"]: entry["modelUrl"] for entry in listed if entry}

    def unload(self, model: str, target: str = "") -> None:
        """Unload a model that :meth:`load` loaded; one that is not loaded is left as it is.

        Raises:
            InvocationError: the server refused.
        """
        answer = self.ask("DELETE", f"/models/{quote(model, safe='')}", target=target)
        if answer.status not in (200, 404):
            raise InvocationError(
                f"model {model!r} was not unloaded: status {answer.status}: {error_text(answer.body)}"
            )
