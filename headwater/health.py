"""The small HTTP server of a worker: /livez, /readyz and /metrics."""

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from headwater.metrics import registry
from headwater.readiness import Problems, answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing, where somebody asked and did not wait for the answer: probes do so while a service is slow."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def serve_health(host: str, port: int, unready: Problems, dead: Problems = list) -> ThreadingHTTPServer:
    """Serve in a daemon thread; `.server_port` is the port, `.shutdown()` ends it.

    `unready` says what keeps the worker from its work (/readyz), `dead` what only a restart helps against (/livez).
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)
            elif self.path in ("/livez", "/readyz"):
                self._answer(*answer(dead() if self.path == "/livez" else unready()), "text/plain")
            else:
                self._answer(404, b"there is /livez, /readyz and /metrics\n", "text/plain")

        def _answer(self, status: int, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's signature
            """Nothing: probes come every second."""

    server = _Server((host, port), Handler)
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server
