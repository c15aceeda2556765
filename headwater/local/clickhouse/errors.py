"""ClickHouse's errors: their codes, and the HTTP status that each has on ClickHouse's HTTP interface."""

import re

SYNTAX_ERROR = 62
UNKNOWN_TYPE_OF_QUERY = 78
BAD_ARGUMENTS = 36
NOT_IMPLEMENTED = 48
CANNOT_DECOMPRESS = 271
NOT_ENOUGH_SPACE = 243
TOO_MANY_SIMULTANEOUS_QUERIES = 202
QUERY_IS_TOO_LARGE = 307
INTO_OUTFILE_NOT_ALLOWED = 348
SESSION_NOT_FOUND = 372
SESSION_IS_LOCKED = 373
INVALID_SESSION_TIMEOUT = 374
UNKNOWN_COMPRESSION_METHOD = 89
AUTHENTICATION_FAILED = 516
UNKNOWN_EXCEPTION = 1002
INCORRECT_DATA = 117

_STATUS = {
    status: codes
    for status, codes in {
        # As in ClickHouse's HTTP interface (exceptionCodeToHTTPStatus.cpp, 26.x).
        400: (
            6,
            25,
            26,
            27,
            36,
            38,
            41,
            43,
            44,
            53,
            62,
            69,
            71,
            72,
            117,
            167,
            168,
            223,
            225,
            376,
            427,
            441,
            10,
            15,
            675,
            676,
            677,
        ),
        403: (192, 193, 497, 516, 512),
        401: (194,),
        404: (46, 47, 50, 56, 60, 63, 73, 81, 115, 78, 82, 105, 511),
        408: (159,),
        411: (381,),
        413: (307,),
        415: (733,),
        501: (48,),
        503: (76, 209, 439),
    }.items()
}
_STATUS_OF = {code: status for status, codes in _STATUS.items() for code in codes}
_CODE = re.compile(r"^Code: (\d+)\. ")
_REPEATED = re.compile(r"^(Code: \d+\. DB::Exception: )(?:Code: \d+\. DB::Exception: )+")


class EngineError(Exception):
    """An error with a code of ClickHouse; `message` is what the client reads."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def status(self) -> int:
        """The HTTP status that ClickHouse answers this code with."""
        return _STATUS_OF.get(self.code, 500)


def refused(code: int, name: str, what: str) -> EngineError:
    """An error of this server itself, written like ClickHouse's: `Code: 62. DB::Exception: <what>. (SYNTAX_ERROR)`."""
    return EngineError(code, f"Code: {code}. DB::Exception: {what}. ({name})")


def from_engine(error: Exception) -> EngineError:
    """What chDB raised, as an error with its code."""
    text = _REPEATED.sub(r"\1", str(error).strip())
    found = _CODE.match(text)
    if found is None:
        return EngineError(UNKNOWN_EXCEPTION, f"Code: {UNKNOWN_EXCEPTION}. DB::Exception: {text}. (UNKNOWN_EXCEPTION)")
    return EngineError(int(found.group(1)), text)
