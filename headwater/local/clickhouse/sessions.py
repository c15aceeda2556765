"""Sessions of the HTTP interface: handles that keep settings, current database and temporary tables between requests."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from headwater.local.clickhouse import errors
from headwater.local.clickhouse.engine import Engine, Handle
from headwater.local.clickhouse.errors import EngineError


@dataclass
class _Session:
    handle: Handle
    timeout: float
    used_at: float
    busy: bool = True
    of_url: dict[str, str] = field(default_factory=dict)  # what the last request's URL set, on top of the session's own


class Sessions:
    """All sessions of the server, by id. Safe for use by several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions: dict[str, _Session] = {}
        self._lock = threading.Lock()

    @contextmanager
    def handle(
        self, session_id: str, timeout: float, must_exist: bool, database: str, settings: Mapping[str, str]
    ) -> Iterator[Handle]:
        """The session's handle, for one statement, with the request's settings on top of the session's own.

        Raises EngineError: 372 where `must_exist` and there is no such session, 373 while another request uses it.
        """
        session = self._take(session_id, timeout, must_exist)
        try:
            gone = [name for name in session.of_url if name not in settings]
            session.handle.reset(gone)
            fresh = {name: value for name, value in settings.items() if session.of_url.get(name) != value}
            session.of_url = {name: value for name, value in session.of_url.items() if name in settings}
            if database:
                session.handle.use(database)
            session.handle.set(fresh)
            session.of_url = dict(settings)
            yield session.handle
        finally:
            with self._lock:
                session.used_at = time.monotonic()
                session.busy = False

    def expire(self) -> None:
        """Close the sessions that nobody used for as long as they asked for."""
        now = time.monotonic()
        with self._lock:
            over = [
                name
                for name, session in self._sessions.items()
                if not session.busy and now - session.used_at > session.timeout
            ]
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

    def _take(self, session_id: str, timeout: float, must_exist: bool) -> _Session:
        self.expire()
        with self._lock:
            session = self._sessions.get(session_id)
            if session is not None:
                if session.busy:
                    raise errors.refused(
                        errors.SESSION_IS_LOCKED,
                        "SESSION_IS_LOCKED",
                        f"Session {session_id!r} is locked by a concurrent client",
                    )
                session.busy = True
                session.timeout = timeout
                return session
            if must_exist:
                raise errors.refused(errors.SESSION_NOT_FOUND, "SESSION_NOT_FOUND", f"Session {session_id!r} not found")
            session = self._sessions[session_id] = _Session(self._new_handle(), timeout, time.monotonic())
            return session

    def _new_handle(self) -> Handle:
        try:
            return self._engine.handle()
        except EngineError:
            raise
