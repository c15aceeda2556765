"""Refusals: an HTTP status with Keen's name for the error and a sentence for people."""

from headwater.control import AccessError
from headwater.rules import RuleError


class ApiError(Exception):
    """The answer to a request that is refused; `message` is for the client and holds nothing of the server's."""

    def __init__(self, status: int, name: str, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(status, name, message)
        self.status = status
        self.name = name
        self.message = message
        self.headers = headers

    @property
    def body(self) -> dict[str, str]:
        """The error as Keen's clients read it: both members are always there."""
        return {"message": self.message, "error_code": self.name}


class TooLargeError(RuleError):
    """An event has more bytes than the settings allow: 413 where it is the whole request."""


def refused(error: RuleError) -> ApiError:
    """The answer to a request whose one event breaks a rule."""
    return ApiError(413 if isinstance(error, TooLargeError) else 400, error.name, error.description)


RETRY_SOON = ((b"retry-after", b"1"),)


def not_allowed(error: AccessError) -> ApiError:
    """The answer to a request whose project or key is not good."""
    return ApiError(error.status, error.name, error.message, RETRY_SOON if error.status == 503 else ())


def unavailable() -> ApiError:
    """Kafka did not take the events, or not in time: nothing is promised, and the client should try again."""
    return ApiError(
        503,
        "ServiceUnavailableError",
        "The events could not be stored at the moment. Send them again.",
        RETRY_SOON,
    )
