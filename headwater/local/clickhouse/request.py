"""What a request of ClickHouse's HTTP interface asks for, from its URL and headers."""

import base64
import binascii
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

from headwater.local.clickhouse import errors

_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Parameters of the HTTP interface itself; every other one is a setting of the engine.
_OWN = frozenset(
    [
        "query",
        "database",
        "user",
        "password",
        "default_format",
        "session_id",
        "session_timeout",
        "session_check",
        "close_session",
        "query_id",
        "compress",
        "decompress",
        "quota_key",
        "buffer_size",
        "wait_end_of_query",
        "client_protocol_version",
        "role",
        "stacktrace",
        "enable_http_compression",
        "http_zlib_compression_level",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "cancel_http_readonly_queries_on_client_close",
        "add_http_cors_header",
        "http_response_buffer_size",
        "http_wait_end_of_query",
    ]
)
_DEFAULT_SESSION_TIMEOUT = 60.0
_MAX_SESSION_TIMEOUT = 3600.0


class Headers(Protocol):
    """A request's headers: names in any case."""

    def get(self, name: str, default: str, /) -> str:
        """A header's value, or the default."""


@dataclass(frozen=True)
class Request:
    """A request's parameters. `settings` are the engine's; `params` the values of `{name:Type}` in the query."""

    query: str
    database: str
    settings: Mapping[str, str]
    params: Mapping[str, str]
    user: str
    password: str
    query_id: str
    default_format: str
    session_id: str
    session_timeout: float
    session_check: bool
    wait_end_of_query: bool
    accept_encoding: str
    read_only: bool


def parse(method: str, target: str, headers: Headers) -> Request:
    """Raises EngineError for parameters that cannot be meant."""
    own: dict[str, str] = {}
    settings: dict[str, str] = {}
    params: dict[str, str] = {}
    for name, value in parse_qsl(urlsplit(target).query, keep_blank_values=True, errors="surrogateescape"):
        if name in _OWN:
            own[name] = value
        elif name.startswith("param_"):
            params[name[len("param_") :]] = value
        elif _SETTING.fullmatch(name):
            settings[name] = value
        elif name:
            raise errors.refused(errors.Code.UNKNOWN_SETTING, f"Unknown setting {name!r}")
    for name in ("compress", "decompress"):
        if _truth(own.get(name, "")):
            raise errors.refused(
                errors.Code.NOT_IMPLEMENTED,
                f"{name}=1 (ClickHouse's own block framing) is not there in the embedded engine: use Content-Encoding and "
                "Accept-Encoding",
            )
    if own.get("role"):
        raise errors.refused(errors.Code.NOT_IMPLEMENTED, "The embedded engine has no roles")
    user, password = _credentials(own, headers)
    return Request(
        query=own.get("query", ""),
        database=own.get("database") or headers.get("X-ClickHouse-Database", ""),
        settings=settings,
        params=params,
        user=user,
        password=password,
        query_id=own.get("query_id") or str(uuid.uuid4()),
        default_format=own.get("default_format") or headers.get("X-ClickHouse-Format", "") or "TabSeparated",
        session_id=own.get("session_id", ""),
        session_timeout=_session_timeout(own.get("session_timeout", "")),
        session_check=_truth(own.get("session_check", "")),
        wait_end_of_query=_truth(own.get("wait_end_of_query") or own.get("http_wait_end_of_query") or ""),
        accept_encoding=headers.get("Accept-Encoding", "") if _truth(own.get("enable_http_compression", "")) else "",
        read_only=method in ("GET", "HEAD"),
    )


def _credentials(own: Mapping[str, str], headers: Headers) -> tuple[str, str]:
    """User and password from X-ClickHouse-User and -Key, Basic, or the URL, in ClickHouse's order."""
    if headers.get("X-ClickHouse-User", "") or headers.get("X-ClickHouse-Key", ""):
        return headers.get("X-ClickHouse-User", "") or "default", headers.get("X-ClickHouse-Key", "")
    scheme, _, value = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return user or "default", password
    return own.get("user") or "default", own.get("password", "")


def _session_timeout(text: str) -> float:
    if not text:
        return _DEFAULT_SESSION_TIMEOUT
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _MAX_SESSION_TIMEOUT:
        raise errors.refused(
            errors.Code.INVALID_SESSION_TIMEOUT,
            f"Invalid session timeout {text!r}: give seconds from 0 to {_MAX_SESSION_TIMEOUT:.0f}",
        )
    return seconds


def _truth(text: str) -> bool:
    return text.strip().lower() in ("1", "true", "yes", "on")
