"""A double on a real socket. What it keeps is in a sandbox EHR (`staff`), which also is how its staff work."""

from __future__ import annotations

import threading
from typing import Any, Self

from werkzeug.serving import WSGIRequestHandler, make_server

from afterdose.sandbox import SandboxEHR


class Double:
    """Answers from its making to the end of the block."""

    def __init__(self, app: Any, staff: SandboxEHR, protocol: str = "HTTP/1.0") -> None:
        self.staff = staff
        handler = type("Handler", (_Silent,), {"protocol_version": protocol})
        self._server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=handler)
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/fhir"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.staff.close()


class _Silent(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""
