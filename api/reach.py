"""Whether ClickHouse answers the API: asked by /readyz, over a connection of its own that no query waits for."""

import threading
from time import monotonic

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error
from urllib3.exceptions import HTTPError

ANSWER_SECONDS = 2
BELIEVED_SECONDS = 1.0  # an answer, by those who ask next: probes come twice a second


class Reach:
    """The ClickHouse at a URL, with its user and password. Safe from several threads."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Client | None = None
        self._asking = threading.Lock()
        self._asked_at = -BELIEVED_SECONDS
        self._answered = False

    def problems(self) -> list[str]:
        """A line where it does not answer a statement. Blocks about ANSWER_SECONDS at most for each of connecting and asking."""
        with self._asking:
            if monotonic() - self._asked_at >= BELIEVED_SECONDS:
                self._answered = self._ask()
                self._asked_at = monotonic()
        return [] if self._answered else ["ClickHouse does not answer a statement"]

    def close(self) -> None:
        """Give the connection back."""
        with self._asking:
            self._drop()

    def _ask(self) -> bool:
        try:
            if self._client is None:
                self._client = clickhouse_connect.get_client(
                    dsn=self._url,
                    autogenerate_session_id=False,
                    connect_timeout=ANSWER_SECONDS,
                    send_receive_timeout=ANSWER_SECONDS,
                    query_retries=0,
                )
            return str(self._client.command("SELECT 1", use_database=False)) == "1"
        except (Error, HTTPError, OSError):
            self._drop()
            return False

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
