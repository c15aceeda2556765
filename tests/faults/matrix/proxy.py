"""A TCP proxy that breaks connections on purpose: cuts, holds, delays, answers 500, cuts in the middle of what is sent."""

import asyncio
import threading
from contextlib import suppress

CHUNK = 65_536
ERROR_500 = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain\r\nX-ClickHouse-Exception-Code: 999\r\n"
    b"Content-Length: 41\r\nConnection: close\r\n\r\nCode: 999. DB::Exception: broken for test\n"
)
READ_ONLY = b"readonly=1&"


class Proxy:
    """Forwards 127.0.0.1:`port` to 127.0.0.1:`target`, until told otherwise. Methods are for any thread, and return at once."""

    def __init__(self, port: int, target: int) -> None:
        self.port, self._target = port, target
        self.hits = 0  # how often the present fault has met a connection
        self._loop = asyncio.new_event_loop()
        self._mode = "pass"
        self._seconds = 0.0
        self._after = 0  # bytes of one connection, or the key of Kafka's request, behind which it is broken
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{port}", daemon=True)
        self._thread.start()
        self._open = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    def heal(self) -> None:
        """Forward again; what was held goes on."""
        self._set("pass")

    def cut(self) -> None:
        """Reset every connection, and each new one."""
        self._set("cut", abort=True)

    def hold(self) -> None:
        """Forward nothing in either direction, and keep connections: a network that swallows all packets, until it heals."""
        self._set("hold")

    def slow(self, seconds: float) -> None:
        """Every answer comes so much later."""
        self._set("slow", seconds=seconds)

    def answer_500(self) -> None:
        """Answer each HTTP request with 500."""
        self._set("500", abort=True)

    def read_only(self) -> None:
        """Each POST to ClickHouse has the setting readonly=1: the server itself refuses what writes."""
        self._set("readonly", abort=True)

    def cut_inside(self, after: int) -> None:
        """Reset each connection on which so many more bytes were sent to the server."""
        self._set("cut inside", after=after)

    def hold_behind(self, api_key: int) -> None:
        """When a Kafka request of this kind has been forwarded, hold everything: its answer never comes, nor anything else."""
        self._set("hold behind", after=api_key)

    def close(self) -> None:
        """End it."""

        async def end() -> None:
            self._server.close()
            self._abort()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    # In the loop

    async def _start(self) -> asyncio.Event:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        flowing = asyncio.Event()
        flowing.set()
        return flowing

    def _set(self, mode: str, seconds: float = 0.0, after: int = 0, abort: bool = False) -> None:
        async def change() -> None:
            self._mode, self._seconds, self._after, self.hits = mode, seconds, after, 0
            if mode == "hold":
                self._open.clear()
            else:
                self._open.set()
            if abort:
                self._abort()

        asyncio.run_coroutine_threadsafe(change(), self._loop).result(10)

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        upstream: asyncio.StreamWriter | None = None
        try:
            if self._mode == "cut":
                self.hits += 1
                return
            if self._mode == "500":
                await self._refuse(reader, writer)
                return
            await self._open.wait()
            try:
                answers, upstream = await asyncio.open_connection("127.0.0.1", self._target)
            except OSError:
                return  # nobody listens there: the client sees a closed connection
            self._writers.add(upstream)
            ways = [
                asyncio.ensure_future(self._forward_requests(reader, upstream, writer)),
                asyncio.ensure_future(self._forward_answers(answers, writer)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for each in (writer, upstream):
                if each is not None:
                    self._writers.discard(each)
                    each.transport.abort() if self._mode == "cut" else each.close()
            self._tasks.discard(task)

    async def _forward_requests(
        self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter, client: asyncio.StreamWriter
    ) -> None:
        frames, sent, mode = _Frames(), 0, self._mode
        while data := await reader.read(CHUNK):
            await self._open.wait()
            kinds = frames.kinds(data)
            if self._mode != mode:
                sent, mode = 0, self._mode
            if self._mode == "readonly" and data.startswith(b"POST /?"):
                data = data.replace(b"/?", b"/?" + READ_ONLY, 1)
                self.hits += 1
            upstream.write(data)
            await upstream.drain()
            sent += len(data)
            if self._mode == "cut inside" and sent >= self._after:
                self.hits += 1
                client.transport.abort()
                upstream.transport.abort()
                return
            if self._mode == "hold behind" and self._after in kinds:
                self.hits += 1
                self._open.clear()

    async def _forward_answers(self, answers: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while data := await answers.read(CHUNK):
            if self._mode == "slow":
                self.hits += 1
                await asyncio.sleep(self._seconds)
            await self._open.wait()
            client.write(data)
            await client.drain()

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not (line := await reader.readline()).isspace():
            if not line:
                return
        self.hits += 1
        writer.write(ERROR_500)
        await writer.drain()
        with suppress(asyncio.TimeoutError):  # what it still sends, so that it reads the answer
            async with asyncio.timeout(2.0):
                while await reader.read(CHUNK):
                    pass


class _Frames:
    """Where Kafka's requests begin in a stream of bytes: each has its length in front, and its kind behind that."""

    def __init__(self) -> None:
        self._left = 0  # of the request that is under way
        self._head = b""

    def kinds(self, data: bytes) -> set[int]:
        """The kinds of the requests that begin in `data`."""
        found: set[int] = set()
        while data:
            if self._left:
                skipped = min(self._left, len(data))
                self._left -= skipped
                data = data[skipped:]
                continue
            wanted = 6 - len(self._head)
            self._head, data = self._head + data[:wanted], data[wanted:]
            if len(self._head) == 6:
                self._left = max(0, int.from_bytes(self._head[:4], "big") - 2)
                found.add(int.from_bytes(self._head[4:], "big"))
                self._head = b""
        return found
