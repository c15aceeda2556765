"""Settings of projects: checked, sealed where they are secret, read from records of any age."""

import orjson
import pytest
from pydantic import SecretStr

from headwater.codec import codec
from headwater.control.model import Project, new_key, new_project_id
from headwater.control.project_settings import FIELDS, NO_SETTINGS, ProjectSettings, settings_of, stored_settings
from headwater.control.records import ControlState, UnreadableRecordError, changed, project_record, record_key
from headwater.control.seal import Seal, SealError

SEAL = Seal("a secret of more than thirty-two characters")
PROJECT_ID = "0" * 24


def test_what_is_given_as_text_is_read_back_typed_and_secrets_stand_nowhere() -> None:
    given = {
        "segment.mode": "device",
        "segment.ipAddon": "true",
        "github.secret": "It's a Secret",
        "stripe.secret": None,
    }
    stored = stored_settings(given, PROJECT_ID, SEAL)
    assert stored.keys() == {"segment.mode", "segment.ipAddon", "github.secret"}
    assert b"a Secret" not in orjson.dumps(stored)
    settings = settings_of(stored, PROJECT_ID, SEAL)
    assert (settings.segment_mode, settings.segment_ip_addon) == ("device", True)
    assert settings.github_secret == SecretStr("It's a Secret")
    assert "a Secret" not in repr(settings)
    shown = settings.shown()
    assert shown.keys() == FIELDS.keys()
    assert (shown["github.secret"], shown["stripe.secret"], shown["segment.ipAddon"]) == ("********", None, True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"segment.colour": "red"}, "no setting 'segment.colour'.*segment.trackAllPages"),
        ({"segment_mode": None}, "no setting 'segment_mode'"),
        ({"segment.mode": "hybrid"}, "segment.mode: .*'cloud' or 'device'"),
        ({"segment.ipAddon": "perhaps", "github.secret": "hush"}, "^segment.ipAddon: [^:]*boolean[^:]*$"),
        ({"sendgrid.public_key": ""}, "sendgrid.public_key"),
        ({"sendgrid.public_key": "garbage"}, "sendgrid.public_key: it is no public key"),
        ({"stripe.collection": "_pay$"}, "stripe.collection: .* has a \\$"),
    ],
)
def test_what_cannot_be_set_is_named(changes: dict[str, str | None], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stored_settings(changes, PROJECT_ID, SEAL)


def test_a_secret_opens_for_its_own_setting_project_and_deployment_only() -> None:
    stored = stored_settings({"github.secret": "hush"}, PROJECT_ID, SEAL)
    for members, project_id, seal in (
        ({"stripe.secret": stored["github.secret"]}, PROJECT_ID, SEAL),
        (stored, "1" * 24, SEAL),
        (stored, PROJECT_ID, Seal("another secret of thirty-two characters")),
    ):
        with pytest.raises(SealError):
            settings_of(members, project_id, seal)


def test_what_a_later_version_stored_has_no_effect() -> None:
    settings = settings_of({"segment.mode": "hybrid", "segment.uaAddon": True, "new": [1]}, PROJECT_ID, SEAL)
    assert settings == ProjectSettings.model_validate({"segment.uaAddon": True})


def test_a_project_has_the_settings_of_its_record() -> None:
    project = Project(new_project_id(), "shop", 1, master_key=new_key(), write_key=new_key(), read_key=new_key())
    older = project_record(project, 7)
    newer = changed(older, 8, {"settings": stored_settings({"github.secret": "hush"}, project.id, SEAL)})

    def after(*records: dict[str, object], seal: Seal = SEAL) -> ControlState:
        state = ControlState(seal)
        for record in records:
            state.apply(record_key("project", project.id), codec("control_record").encode(record))
        return state

    assert after(older).projects[project.id].settings is NO_SETTINGS
    assert after(older, newer).projects[project.id].settings.github_secret == SecretStr("hush")
    with pytest.raises(UnreadableRecordError, match="decrypted"):  # and not: a project that checks no signature
        after(newer, seal=Seal("another secret of thirty-two characters"))
