"""ClickHouse's errors: their codes, and the HTTP status that each has on ClickHouse's HTTP interface."""

import re
from enum import IntEnum


class Code(IntEnum):
    """The codes that this server itself raises or looks at; the engine has many more."""

    BAD_ARGUMENTS = 36
    NOT_IMPLEMENTED = 48
    SYNTAX_ERROR = 62
    UNKNOWN_TYPE_OF_QUERY = 78
    UNKNOWN_COMPRESSION_METHOD = 89
    UNKNOWN_SETTING = 115
    INCORRECT_DATA = 117
    READONLY = 164
    TOO_MANY_SIMULTANEOUS_QUERIES = 202
    QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING = 216
    QUERY_IS_TOO_LARGE = 229
    ABORTED = 236
    NOT_ENOUGH_SPACE = 243
    CANNOT_DECOMPRESS = 271
    INTO_OUTFILE_NOT_ALLOWED = 358
    SESSION_NOT_FOUND = 372
    SESSION_IS_LOCKED = 373
    INVALID_SESSION_TIMEOUT = 374
    AUTHENTICATION_FAILED = 516
    UNKNOWN_EXCEPTION = 1002


# As ClickHouse's HTTP interface answers them (src/Server/HTTP/exceptionCodeToHTTPStatus.cpp); every other code is a 500.
_CODES_OF_STATUS: dict[int, tuple[int, ...]] = {
    400: (6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123, 167, 168, 223, 321, 376, 427, 441, 675, 676),
    401: (194,),
    403: (192, 193, 497, 512, 516),
    404: (46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511),
    408: (159,),
    411: (381,),
    413: (229,),
    415: (779,),
    501: (48,),
    503: (76, 209, 439),
}
_STATUS = {code: status for status, codes in _CODES_OF_STATUS.items() for code in codes}
_CODE = re.compile(r"Code: (\d+)\. ")
_NESTED = re.compile(r"(Code: \d+\. DB::Exception: )(?:Code: \d+\. DB::Exception: )+")
_INNER_ENDING = re.compile(r" \(version [^)]*\)\. \(\w+\)")
_SPOOLED_FILE = re.compile(r": \(in file/uri [^)]*\)")


class EngineError(Exception):
    """An error with a code of ClickHouse; `message` is what the client reads."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def status(self) -> int:
        """The HTTP status that ClickHouse answers this code with."""
        return _STATUS.get(self.code, 500)


def refused(code: Code, what: str) -> EngineError:
    """An error of this server itself, in ClickHouse's form: `Code: 62. DB::Exception: <what>. (SYNTAX_ERROR)`."""
    return EngineError(code, f"Code: {code}. DB::Exception: {what}. ({code.name})")


def from_engine(error: Exception) -> EngineError:
    """What chDB raised, with its code, without repeated prefixes and without the path of our spool file."""
    text = _INNER_ENDING.sub("", _SPOOLED_FILE.sub("", _NESTED.sub(r"\1", str(error).strip())))
    found = _CODE.match(text)
    if found is None:
        return refused(Code.UNKNOWN_EXCEPTION, text)
    return EngineError(int(found.group(1)), text)
