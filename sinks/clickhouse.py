"""ClickHouse as the sink reaches it: commands over HTTP, connected when first needed."""

import threading
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_connect.driver.exceptions import Error as DriverError
from clickhouse_connect.driver.summary import QuerySummary

from sinks.errors import StoreError

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = (
    60.0  # an insert of 16 MB takes under a second; a server that is silent for this long is taken for lost
)
# The driver asks for progress in headers, for which a server sends the status before it knows the outcome.
SETTINGS = {"send_progress_in_http_headers": 0}


class ClickHouse:
    """A server by its URL. Safe from several threads."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Client | None = None
        self._connecting = threading.Lock()

    def command(
        self,
        sql: str,
        data: bytes | None = None,
        settings: dict[str, Any] | None = None,
        parameters: dict[str, object] | None = None,
    ) -> None:
        """Run a statement, with `data` as the body that it reads. Blocks until it is done; raises StoreError."""
        answer = self._answer(sql, data, settings, parameters)
        if answer and not isinstance(answer, QuerySummary):  # an error that came after the status was sent
            raise StoreError(f"an answer where none was expected: {str(answer)[:1000]}")

    def number(
        self, sql: str, settings: dict[str, Any] | None = None, parameters: dict[str, object] | None = None
    ) -> int:
        """The whole number that a SELECT gives. Blocks; raises StoreError."""
        answer = self._answer(sql, None, settings, parameters)
        try:
            return int(str(answer))
        except ValueError:
            raise StoreError(f"an answer that is no number: {str(answer)[:1000]}") from None

    def text(self, sql: str, parameters: dict[str, object] | None = None) -> str:
        """The text that a SELECT gives. Blocks; raises StoreError."""
        return str(self._answer(sql, None, None, parameters))

    def answers(self) -> bool:
        """Whether the server answers a ping within 2 seconds."""
        try:
            return self._connected().ping(timeout=2.0)
        except (StoreError, ClickHouseError):
            return False

    def close(self) -> None:
        """Give the connections back."""
        if self._client is not None:
            self._client.close()

    def _answer(
        self, sql: str, data: bytes | None, settings: dict[str, Any] | None, parameters: dict[str, object] | None
    ) -> object:
        try:
            return self._connected().command(
                sql, parameters, data=data, settings=SETTINGS | (settings or {}), use_database=False
            )
        except DriverError as error:
            raise StoreError(_reason(str(error)), error.code) from error
        except ClickHouseError as error:
            raise StoreError(str(error)) from error

    def _connected(self) -> Client:
        # The driver asks the server for its version and settings when it connects, so it cannot connect ahead.
        with self._connecting:
            if self._client is None:
                self._client = clickhouse_connect.get_client(
                    dsn=self._url,
                    client_name="headwater-sink",
                    autogenerate_session_id=False,  # a session takes one statement at a time
                    connect_timeout=CONNECT_SECONDS,
                    send_receive_timeout=ANSWER_SECONDS,
                    compress=False,
                )
            return self._client


def _reason(message: str) -> str:
    """The server's own words, out of what the driver puts around them."""
    _, _, words = message.partition("DB::Exception: ")
    words = words or message
    return words[: words.rfind(" (version ")] if " (version " in words else words
