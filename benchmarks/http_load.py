"""An HTTP client that costs little, so that what is measured is the server: keep-alive connections, prepared bytes."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from benchmarks.stack import BenchmarkError

HEADERS_END = b"\r\n\r\n"


@dataclass
class Answers:
    """What was answered: when each request was sent and answered (perf_counter), in the order of the answers."""

    sent: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)

    def milliseconds(self) -> list[float]:
        """How long each request took, shortest first."""
        return sorted((b - a) * 1_000 for a, b in zip(self.sent, self.answered, strict=True))


def request(path: str, key: str | None, body: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> bytes:
    """The bytes of a POST, of JSON unless `headers` says otherwise; the key, where there is one, in Authorization."""
    given = {"Host": "localhost", "Content-Type": "application/json"} | dict(headers)
    if key is not None:
        given["Authorization"] = key
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"POST {path} HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


def get(path: str, key: str) -> bytes:
    """The bytes of a GET."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {key}\r\n\r\n".encode()


def bulk_requests(path: str, key: str, collection: str, events: list[bytes], size: int) -> list[bytes]:
    """Keen's bulk requests, `size` events in each."""
    return [
        request(path, key, b'{"%s":[%s]}' % (collection.encode(), b",".join(events[start : start + size])))
        for start in range(0, len(events), size)
    ]


async def send_all(port: int, requests: Iterator[bytes], connections: int, until: float | None = None) -> Answers:
    """Send requests over so many connections, each one at a time, till there are no more or the time is `until`.

    Raises BenchmarkError for an answer that is no success.
    """
    answers = Answers()

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for data in requests:
                sent = time.perf_counter()
                if until is not None and sent >= until:
                    return
                writer.write(data)
                await read_answer(reader)
                answers.sent.append(sent)
                answers.answered.append(time.perf_counter())
        finally:
            writer.close()

    await asyncio.gather(*(work() for _ in range(connections)))
    return answers


async def send_paced(port: int, requests: list[bytes], per_second: float, connections: int) -> Answers:
    """Send the requests evenly over time, whatever the answers take; `answered` is in the order of the requests."""
    answers = Answers([0.0] * len(requests), [0.0] * len(requests))
    began = time.perf_counter()
    numbers = iter(range(len(requests)))

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for number in numbers:
                wait = began + number / per_second - time.perf_counter()
                if wait > 0:
                    await asyncio.sleep(wait)
                answers.sent[number] = time.perf_counter()
                writer.write(requests[number])
                await read_answer(reader)
                answers.answered[number] = time.perf_counter()
        finally:
            writer.close()

    await asyncio.gather(*(work() for _ in range(connections)))
    return answers


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    """The body of one answer. Raises BenchmarkError unless it is a success with a length."""
    head = await reader.readuntil(HEADERS_END)
    lower = head.lower()
    at = lower.find(b"content-length:")
    if at < 0 or not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
        raise BenchmarkError(f"answered {head[:200]!r}")
    length = int(lower[at + 15 : lower.index(b"\r\n", at)])
    return await reader.readexactly(length)
