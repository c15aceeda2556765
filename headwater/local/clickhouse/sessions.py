"""Sessions of the HTTP interface: handles that keep settings, current database and temporary tables between requests."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

from headwater.local.clickhouse import errors
from headwater.local.clickhouse.engine import Engine, Handle
from headwater.local.clickhouse.statement import Statement
from headwater.local.clickhouse.tokens import TokenKind, literal, tokens


@dataclass
class _Session:
    """A session's handle, and what is the session's own: a request's database and settings hold for that request only."""

    handle: Handle
    own: dict[str, str]  # settings
    database: str = "default"
    timeout: float = 0.0  # seconds
    used_at: float = 0.0  # monotonic
    busy: bool = True
    # What the handle has at present, from the last request's URL.
    applied: Mapping[str, str] | None = None
    current: str = "default"

    def prepare(self, database: str, settings: Mapping[str, str]) -> None:
        """Give the handle this request's database and settings, and the session's own where the request has none."""
        if settings != self.applied:
            known = dict.fromkeys([*(self.applied or {}), *settings])
            missing = [name for name in known if name not in settings and name not in self.own]
            self.handle.set({name: settings.get(name, self.own.get(name, "")) for name in known if name not in missing})
            if missing:
                self.handle.run(("SET " + ", ".join(f"{name} = DEFAULT" for name in missing)).encode())
            self.applied = dict(settings)
        if (wanted := database or self.database) != self.current:
            self.handle.use(wanted)
            self.current = wanted

    def adopt(self, statement: Statement) -> None:
        """Make what a SET or USE changed the session's own."""
        if statement.verb == "USE":
            self.database = self.current = self.handle.run(b"SELECT currentDatabase() FORMAT TSVRaw").data.decode()[:-1]
        elif statement.verb == "SET":
            names = {
                name.text.decode().strip('`"')
                for name, after in pairwise(tokens(statement.text))
                if name.depth == 0 and after.is_symbol(b"=") and name.kind in (TokenKind.WORD, TokenKind.QUOTED_NAME)
            }
            query = "SELECT name, value FROM system.settings WHERE has({names:Array(String)}, name) FORMAT TSVRaw"
            known = "[" + ",".join(map(literal, sorted(names))) + "]"
            answer = self.handle.run(query.encode(), params={"names": known})
            for line in answer.data.decode().splitlines():
                name, _, value = line.partition("\t")
                self.own[name] = value
            self.applied = {name: value for name, value in (self.applied or {}).items() if name not in names}


class Sessions:
    """All sessions of the server, by id. Safe for use by several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions: dict[str, _Session] = {}
        self._lock = threading.Lock()

    @contextmanager
    def borrow(
        self,
        session_id: str,
        timeout: float,
        must_exist: bool,
        database: str,
        settings: Mapping[str, str],
        statement: Statement,
    ) -> Iterator[Handle]:
        """The session's handle, for one statement, with the request's database and settings over the session's own.

        Raises EngineError: 372 where `must_exist` and there is no such session, 373 while another request uses it.
        """
        session = self._take(session_id, must_exist)
        try:
            session.timeout = timeout
            session.prepare(database, settings)
            yield session.handle
            session.adopt(statement)
        finally:
            with self._lock:
                session.used_at = time.monotonic()
                session.busy = False

    def expire(self) -> None:
        """Close the sessions that nobody used for as long as they asked for."""
        now = time.monotonic()
        with self._lock:
            idle = [name for name, session in self._sessions.items() if not session.busy]
            over = [name for name in idle if now - self._sessions[name].used_at > self._sessions[name].timeout]
            closing = [self._sessions.pop(name) for name in over]
        for session in closing:
            session.handle.close()

    def close(self) -> None:
        """Close all sessions; no request may use one any more."""
        with self._lock:
            closing = list(self._sessions.values())
            self._sessions.clear()
        for session in closing:
            session.handle.close()

    def _take(self, session_id: str, must_exist: bool) -> _Session:
        self.expire()
        with self._lock:
            session = self._sessions.get(session_id)
            if session is None:
                if must_exist:
                    raise errors.refused(errors.Code.SESSION_NOT_FOUND, f"Session {session_id!r} not found")
                session = self._sessions[session_id] = _Session(self._engine.handle(), dict(self._engine.defaults))
            elif session.busy:
                raise errors.refused(
                    errors.Code.SESSION_IS_LOCKED, f"Session {session_id!r} is locked by a concurrent client"
                )
            session.busy = True
            return session
