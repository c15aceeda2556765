"""Errors keep the engine's code and get ClickHouse's HTTP status."""

import pytest

from headwater.local.clickhouse.errors import Code, EngineError, from_engine, refused


@pytest.mark.parametrize(
    ("code", "status"), [(62, 400), (60, 404), (81, 404), (516, 403), (159, 408), (241, 500), (229, 413)]
)
def test_statuses_are_clickhouses(code: int, status: int) -> None:
    assert EngineError(code, "").status == status


def test_the_engines_message_is_cleaned_of_repetition_and_of_our_file() -> None:
    raw = "Code: 117. DB::Exception: Code: 117. DB::Exception: Bad row 2: (in file/uri /x/spool/a.in): While executing. (INCORRECT_DATA)"
    error = from_engine(RuntimeError(raw))
    assert error.code == 117
    assert error.message == "Code: 117. DB::Exception: Bad row 2: While executing. (INCORRECT_DATA)"


def test_an_error_without_a_code_gets_the_unknown_one() -> None:
    assert from_engine(RuntimeError("boom")).message == "Code: 1002. DB::Exception: boom. (UNKNOWN_EXCEPTION)"


def test_our_own_errors_look_like_the_engines() -> None:
    assert refused(Code.NOT_IMPLEMENTED, "No").message == "Code: 48. DB::Exception: No. (NOT_IMPLEMENTED)"
