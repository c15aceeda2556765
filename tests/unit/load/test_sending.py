"""The threads that send a load's requests: how many at once, what they say of errors, and that closing ends them."""

import threading

import pytest

from headwater.client.event import Event
from headwater.load.sending import CLOSING_SECONDS, Failure, Request, Senders
from tests.waiting import wait_until


class Held:
    """Takes requests and answers none until it is told to."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.taken: list[str] = []
        self.stopped: list[str] = []
        self.closed = False

    def __call__(self, request: Request, stop: threading.Event) -> list[Failure]:
        self.taken.append(request.events[0].id)
        while not self.go.wait(0.01):
            if stop.is_set():
                self.stopped.append(request.events[0].id)
                break
        return []

    def close(self) -> None:
        self.closed = True


def request(name: str) -> Request:
    return Request(1, 1, events=[Event("visits", name, b"{}")], numbers=[1])


def test_so_many_are_sent_at_once_and_one_more_waits() -> None:
    send = Held()
    senders = Senders(send, 3)
    requests = [request(name) for name in "abcdef"]
    for one in requests[:4]:
        senders.put(one)
    wait_until(lambda: len(send.taken) == 3, 5)
    fifth = threading.Thread(target=senders.put, args=(requests[4],))
    fifth.start()
    fifth.join(0.05)
    assert fifth.is_alive(), "there is room for what nobody sends"
    assert len(send.taken) == 3
    send.go.set()
    fifth.join(5)
    senders.put(requests[5])
    senders.flush()
    assert sorted(send.taken) == list("abcdef")
    assert all(one.answered and not one.failures for one in requests)
    senders.close()
    assert send.closed


def test_closing_ends_what_is_under_way_and_sends_nothing_more() -> None:
    send = Held()
    before = threading.active_count()
    senders = Senders(send, 2)
    for name in "abc":
        senders.put(request(name))
    wait_until(lambda: len(send.taken) == 2, 5)
    senders.close()
    wait_until(lambda: threading.active_count() == before, CLOSING_SECONDS + 5)
    assert sorted(send.stopped) == ["a", "b"]
    assert "c" not in send.taken
    assert send.closed


def test_threads_that_had_nothing_to_do_end_too() -> None:
    before = threading.active_count()
    Senders(Held(), 8).close()
    wait_until(lambda: threading.active_count() == before, 5)


@pytest.mark.parametrize("error", [ValueError("what it says"), OSError("no socket")])
def test_an_error_of_the_sending_itself_is_told_as_a_failure_that_ends_the_load(error: Exception) -> None:
    class Failing(Held):
        def __call__(self, request: Request, stop: threading.Event) -> list[Failure]:
            raise error

    senders = Senders(Failing(), 1)
    one = request("a")
    senders.put(one)
    senders.flush()
    [failure] = one.failures
    assert failure == Failure(1, type(error).__name__, str(error), refused=False)
    senders.close()
