"""Which bodies take long."""

import pytest

from collector.judging import reads_quickly


@pytest.mark.parametrize(
    ("body", "quick"),
    [
        (b'{"c":[' + b",".join([b'{"text":"%s"}' % (b"x" * 1_000)] * 1_000) + b"]}", True),
        (b'{"c":[' + b",".join([b'{"text":"%s"}' % (b"x" * 1_000)] * 1_600) + b"]}", False),
        (b'{"c":[' + b",".join([b"{}"] * 50_000) + b"]}", False),
        (b'{"c":[' + b",".join([b"[]"] * 50_000) + b"]}", False),
        (b'{"c":[' + b"0," * 90_000 + b"0]}", False),
        (b"x" * 100_000, True),
    ],
)
def test_what_is_read_quickly_is_read_at_once(body: bytes, quick: bool) -> None:
    assert reads_quickly(body) is quick
