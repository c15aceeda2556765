"""What a sample of a stack is counted to."""

from benchmarks.profile import ELSE, JSON, shares


def test_a_sample_is_counted_to_what_is_innermost() -> None:
    loop = "run (asyncio/runners.py:118);process (processors/pipeline.py:159);_prepare (processors/pipeline.py:218)"
    lines = [
        f"{loop} 10",
        f"{loop};0x7f7a (orjson/orjson.cpython-311-x86_64-linux-gnu.so) 50",
        f"{loop};raw_event (processors/datums.py:87);malloc (libc.so.6) 30",
        "run (asyncio/runners.py:118) 6",
        "thread_run (libpython3.11.so.1.0) 4",
    ]
    assert shares(lines) == [
        (JSON, 50.0),
        ("Avro", 30.0),
        ("the loop over a slice's records", 10.0),
        ("Faust and the event loop", 6.0),
        (ELSE, 4.0),
    ]
