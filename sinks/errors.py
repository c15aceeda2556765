"""Which of ClickHouse's errors are a row's fault."""

# Parsing and types, as ClickHouse numbers them (src/Common/ErrorCodes.cpp). Everything that is not here is taken for the
# server's state, and tried again: a row is never given up for a server that is full, busy, read-only or away.
ROW_FAULTS = {
    6: "CANNOT_PARSE_TEXT",
    25: "CANNOT_PARSE_ESCAPE_SEQUENCE",
    26: "CANNOT_PARSE_QUOTED_STRING",
    27: "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
    38: "CANNOT_PARSE_DATE",
    41: "CANNOT_PARSE_DATETIME",
    53: "TYPE_MISMATCH",
    69: "ARGUMENT_OUT_OF_BOUND",
    70: "CANNOT_CONVERT_TYPE",
    72: "CANNOT_PARSE_NUMBER",
    117: "INCORRECT_DATA",
    321: "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
    376: "CANNOT_PARSE_UUID",
    395: "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO",  # the insert's own check of the timestamp
    407: "DECIMAL_OVERFLOW",
    467: "CANNOT_PARSE_BOOL",
    748: "AVRO_EXCEPTION",
}
ARGUMENT_OUT_OF_BOUND = 69
UNKNOWN_TABLE = 60
UNKNOWN_DATABASE = 81
MEMORY_LIMIT_EXCEEDED = 241


class StoreError(Exception):
    """ClickHouse did not take what it was sent. `code` is its error code; None where it gave no answer."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code

    @property
    def row_fault(self) -> bool:
        """Whether a row that was sent may be the cause."""
        return self.code in ROW_FAULTS
