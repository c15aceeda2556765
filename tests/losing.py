"""A proxy that loses answers, so that clients send again what was stored."""

import gzip
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import httpx

PASSED_ON = ("authorization", "content-type", "content-encoding", "host", "origin", "user-agent", "x-retry-count")
MESSAGE_ID = re.compile(rb'"messageId" ?: ?"([^"]+)"')
LOST = b'{"success":false,"code":"Lost","message":"The answer is lost.","error":"The answer is lost."}'


@dataclass
class LosingProxy:
    """Where it is, and the status that was answered to each POST that it passed on."""

    url: str = ""
    answers: list[int] = field(default_factory=list)


@contextmanager
def losing_proxy(target: str) -> Iterator[LosingProxy]:
    """A proxy before `target` that passes everything on, and answers 503 where it has not seen a message before."""
    proxy, lock = LosingProxy(), Lock()
    seen: set[bytes] = set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = http.post(target + self.path, content=body, headers=self._passed_on())
            plain = gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body
            with lock:
                proxy.answers.append(answer.status_code)
                new = {*MESSAGE_ID.findall(plain)} - seen
                seen.update(new)
            if new:
                self._answer(503, LOST)
            else:
                self._answer(answer.status_code, answer.content)

        def do_GET(self) -> None:
            answer = http.get(target + self.path, headers=self._passed_on())
            self._answer(answer.status_code, answer.content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Nothing is written."""

        def _passed_on(self) -> dict[str, str]:
            return {name: self.headers[name] for name in PASSED_ON if self.headers[name] is not None}

        def _answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that has left with its connection open is none."""
            if not isinstance(sys.exception(), ConnectionError):
                super().handle_error(request, client_address)

    with httpx.Client(timeout=30) as http, Server(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
