"""A stand-in for SageMaker's runtime on this machine: its address, its errors, and Triton behind it.

``POST /endpoints/NAME/invocations`` is what ``invoke_endpoint`` sends. The relay hands it to Triton's SageMaker front
end as SageMaker would inside the container, so that boto3 and Triton are the real ones and only the cloud between them
is not. It checks no signature, and belongs on the loopback only.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from workshop.errors import ServerUnreachableError
from workshop.sagemaker.front_end import TARGET_HEADER, FrontEnd
from workshop.sagemaker.payload import LARGEST_PAYLOAD, error_text

_PATH = re.compile(r"^/endpoints/([^/]+)/invocations$")


@contextmanager
def local_runtime(endpoints: Mapping[str, FrontEnd], port: int = 0) -> Iterator[str]:
    """Answer ``invoke_endpoint`` for the time of a ``with`` block, from a thread of this process.

    Args:
        endpoints: name of an endpoint -> the front end behind it. A request with ``TargetModel`` goes to the model that
            was loaded under that name.
        port: to listen on; 0 takes a free one.

    Yields:
        The address, for boto3's ``endpoint_url``.
    """
    server = ThreadingHTTPServer(("127.0.0.1", port), _handler(dict(endpoints)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(endpoints: Mapping[str, FrontEnd]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # keeps connections
        disable_nagle_algorithm = True
        wbufsize = -1  # head and body of an answer leave together

        def do_POST(self) -> None:  # the name that http.server asks for
            length = int(self.headers.get("Content-Length", 0))
            found = _PATH.match(self.path)
            name = unquote(found[1]) if found else ""
            if length > LARGEST_PAYLOAD:
                self.close_connection = True
                self._refuse(413, "RequestEntityTooLarge", f"{length} bytes, at most {LARGEST_PAYLOAD} are taken")
                return
            body = self.rfile.read(length)
            if name not in endpoints:
                self._refuse(400, "ValidationError", f"Endpoint {name or self.path} not found.")
                return
            self._hand_on(endpoints[name], body)

        def _hand_on(self, front_end: FrontEnd, body: bytes) -> None:
            target = self.headers.get(TARGET_HEADER, "")
            path = f"/models/{target}/invoke" if target else "/invocations"
            try:
                answer = front_end.ask("POST", path, body, self.headers.get("Content-Type", ""), target)
            except ServerUnreachableError as error:
                self._refuse(503, "ServiceUnavailable", str(error))
                return
            if answer.status == 200:
                self._answer(200, answer.content_type, answer.body, {"x-Amzn-Invoked-Production-Variant": "AllTraffic"})
                return
            said = error_text(answer.body)
            message = f"Received client error ({answer.status}) from primary with message {said!r}"
            self._refuse(424, "ModelError", message, OriginalStatusCode=answer.status, OriginalMessage=said)

        def _refuse(self, status: int, kind: str, message: str, **more: object) -> None:
            body = json.dumps({"Code": kind, "Message": message, **more}).encode()
            self._answer(status, "application/json", body, {"x-amzn-ErrorType": kind})

        def _answer(self, status: int, content_type: str, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        def log_message(self, *arguments: object) -> None:
            """Say nothing: requests are the callers' own business."""

    return Handler
