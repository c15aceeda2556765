"""What the collector reads off a request besides its body: headers, parameters, key and sender."""

from collections.abc import MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from collector.errors import ApiError

BACKFILL = {None: False, b"true": True, b"false": False}

Scope = MutableMapping[str, Any]


class Request:
    """A request's headers (the last of each name) and query parameters (the first of each name)."""

    __slots__ = ("_query", "headers", "scope")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self._query: dict[str, str] | None = None

    @property
    def query(self) -> dict[str, str]:
        """The query parameters; empty ones and stray separators are passed over."""
        if self._query is None:
            pairs = parse_qsl(self.scope["query_string"].decode("latin-1"), errors="replace")
            self._query = dict(reversed(pairs))
        return self._query

    @property
    def key(self) -> str | None:
        """The key, from the Authorization header (as it is, without a scheme), else from the parameter api_key."""
        header = self.headers.get(b"authorization")
        if header:
            return header.decode("latin-1").strip()
        return self.query.get("api_key")

    @property
    def user_agent(self) -> str | None:
        """The User-Agent header."""
        value = self.headers.get(b"user-agent")
        return None if value is None else value.decode("utf-8", "replace")

    @property
    def backfill(self) -> bool:
        """Whether the events are history, as the header Headwater-Backfill says. Raises ApiError where it says something else."""
        value = self.headers.get(b"headwater-backfill")
        try:
            return BACKFILL[value]
        except KeyError:
            raise ApiError(
                400,
                "InvalidHeaderError",
                f"The header Headwater-Backfill is {(value or b'')[:80].decode('latin-1')!r}; it is true, false or not there.",
            ) from None

    def ip(self, trusted_proxies: int) -> str | None:
        """The sender's address: the peer's, or behind proxies the entry of X-Forwarded-For that the outermost one added."""
        forwarded = self.headers.get(b"x-forwarded-for") if trusted_proxies else None
        if forwarded:
            entries = [entry.strip() for entry in forwarded.decode("latin-1").split(",")]
            return entries[-min(trusted_proxies, len(entries))] or None
        client = self.scope.get("client")
        return client[0] if client else None
