"""What the API knows of the processors' state."""

import pytest

from api.live import LiveFollower
from headwater.query import QueryError
from headwater.settings import Settings


def test_nothing_is_called_all_there_is_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    live = LiveFollower(Settings(kafka="127.0.0.1:1"))
    for look in (lambda: live.figures("a1" * 12), lambda: live.catalogues):
        with pytest.raises(QueryError, match="not been read from Kafka yet") as raised:
            look()
        assert raised.value.status == 503
    assert live.problems()
    monkeypatch.setattr(LiveFollower, "caught_up", True)
    assert live.figures("a1" * 12) == {"collections": {}}
    assert list(live.catalogues.collections("a1" * 12)) == []
