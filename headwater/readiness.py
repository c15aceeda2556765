"""What keeps a service from its work, as /readyz and /livez say it.

A probe answers 200 and `ok`, or 503 and a line for each problem. The lines are made here and in the services, of names, counts and
durations; never of a message from elsewhere, which could quote an address with its password.
"""

from collections.abc import Callable, Iterable
from time import monotonic

OK = b"ok\n"

Problems = Callable[[], list[str]]  # one line each; none where all is well. May block for two seconds


def answer(problems: Iterable[str]) -> tuple[int, bytes]:
    """The status and the body, plain text, of a probe."""
    lines = list(problems)
    return (503, "\n".join(["not ready", *lines, ""]).encode()) if lines else (200, OK)


class Trouble:
    """Whether something fails again and again, and since when. Safe from several threads."""

    def __init__(self) -> None:
        self._since: float | None = None

    def failed(self) -> None:
        """It has failed."""
        if self._since is None:
            self._since = monotonic()

    def mended(self) -> None:
        """It has worked."""
        self._since = None

    @property
    def seconds(self) -> float | None:
        """For how long it has failed; None where it works."""
        since = self._since
        return None if since is None else monotonic() - since

    def lines(self, what: str, after: float = 0.0) -> list[str]:
        """`what`, with for how long, where it has failed for `after` seconds or more."""
        seconds = self.seconds
        return [] if seconds is None or seconds < after else [f"{what}, for {seconds:.0f} s"]
