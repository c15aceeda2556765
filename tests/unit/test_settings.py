"""Settings come from the environment, and a wrong one stops the start with its name."""

import pytest

from headwater.settings import Settings, SettingsError, load_settings


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_PORT", "7123")
    assert load_settings().port == 7123


def test_an_override_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_PORT", "7123")
    assert load_settings(port=8000).port == 8000


def test_an_unknown_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_KAFKA_BROKERS", "x:1")
    with pytest.raises(SettingsError, match="HEADWATER_KAFKA_BROKERS is not a setting"):
        load_settings()


@pytest.mark.parametrize("value", ["", "  "])
def test_a_blank_variable_is_named(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HEADWATER_CLICKHOUSE", value)
    with pytest.raises(SettingsError, match="HEADWATER_CLICKHOUSE is blank"):
        load_settings()


def test_a_value_of_the_wrong_form_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_RAW_PARTITIONS", "a dozen")
    with pytest.raises(SettingsError, match="HEADWATER_RAW_PARTITIONS"):
        load_settings()


@pytest.mark.parametrize(("secret", "message"), [(None, "HEADWATER_SECRET is not set"), ("short", "has 5 characters")])
def test_a_deployment_needs_its_secret(secret: str | None, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(secret=secret).required_secret()


def test_secrets_do_not_show() -> None:
    settings = load_settings(secret="s" * 40, master_key="m" * 64, kafka_sasl_password="hidden-word")
    assert not any(word in repr(settings) for word in ("s" * 40, "m" * 64, "hidden-word"))


def test_every_setting_says_what_it_means() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
