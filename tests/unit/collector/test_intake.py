"""The intake's thread, whatever goes wrong in it."""

from typing import NoReturn

import pytest
from confluent_kafka import KafkaError, KafkaException

from collector import intake
from collector.intake import Intake
from headwater import metrics
from headwater.control import ControlPlane
from headwater.membership import StrandedError
from headwater.settings import load_settings
from tests.waiting import wait_until


@pytest.mark.parametrize(
    "error", [KafkaException(KafkaError(KafkaError._TRANSPORT)), StrandedError(), RuntimeError("a fault of ours")]
)
def test_what_fails_is_counted_and_begun_anew(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(intake, "_consumer", fails)
    monkeypatch.setattr(intake, "RETRY_SECONDS", 0.0)
    before = metrics.intake_failures._value.get()
    settings = load_settings(secret="s" * 32)
    with Intake(settings, ControlPlane(settings)).running():
        wait_until(lambda: metrics.intake_failures._value.get() >= before + 3)
