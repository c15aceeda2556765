"""The small HTTP server of a worker: /livez, /readyz and /metrics."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from headwater.metrics import registry


def serve_health(
    host: str, port: int, ready: Callable[[], bool], alive: Callable[[], bool] = lambda: True
) -> ThreadingHTTPServer:
    """Serve in a daemon thread: 200 where `alive` and `ready` say so, else 503; `.server_port` is the port, `.shutdown()` ends it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)
            elif self.path in ("/livez", "/readyz"):
                fine = alive() if self.path == "/livez" else ready()
                self._answer(200 if fine else 503, b"ok\n" if fine else b"not ready\n", "text/plain")
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

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server
