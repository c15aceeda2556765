"""Every setting of a project: declared once, typed, set by `headwater project set`, kept in the project's record.

docs/project-settings.md is generated from this class (`scripts/docs`).
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from headwater.control.public_key import elliptic_key
from headwater.control.seal import Seal
from headwater.rules import RuleError, check_collection_name

MASK = "********"
SEALED = "sealed"  # the one member of a stored secret


class ProjectSettings(BaseModel):
    """The settings of one project. A field's alias is the setting's name; a secret is a SecretStr, and sealed where it is kept."""

    model_config = ConfigDict(frozen=True, extra="ignore", str_min_length=1)

    # How much the project may send, to each collector
    limits_events_per_second: float | None = Field(
        None,
        gt=0,
        alias="limits.events_per_second",
        description="Events that each collector takes in a second, on average over five; beyond it requests are answered 429.",
    )
    limits_bytes_per_second: float | None = Field(
        None,
        gt=0,
        alias="limits.bytes_per_second",
        description="Bytes of events that each collector takes in a second, as they go into the raw topic; beyond it 429.",
    )

    # What is sent again
    ids_window: Literal["untimed", "all", "off"] = Field(
        "untimed",
        alias="ids.window",
        description="Which events are dropped when their id came before: those with an id but no time of their sender's (untimed), all with an id of their sender's, or none (off). The deployment says how long ids are kept.",
    )

    # Segment's clients
    segment_mode: Literal["cloud", "device"] = Field(
        "cloud",
        alias="segment.mode",
        description="The form of events from Segment's clients: as Segment's servers sent them to Keen, or as its browser code did.",
    )
    segment_track_all_pages: bool = Field(
        True,
        alias="segment.trackAllPages",
        description="Each page is an event of `Loaded a Page`, each screen of `Loaded a Screen`.",
    )
    segment_track_categorized_pages: bool = Field(
        True,
        alias="segment.trackCategorizedPages",
        description="Each page with a category is an event of `Viewed <category> Page`; screens too, with `Screen`.",
    )
    segment_track_named_pages: bool = Field(
        True,
        alias="segment.trackNamedPages",
        description="Each page with a name is an event of `Viewed <category> <name> Page`; screens too, with `Screen`.",
    )
    segment_ip_addon: bool = Field(
        False,
        alias="segment.ipAddon",
        description="Look up the address of events from Segment's clients, into `ip_geo_info`.",
    )
    segment_ua_addon: bool = Field(
        False, alias="segment.uaAddon", description="Take apart their user agent, into `parsed_user_agent`."
    )
    segment_url_addon: bool = Field(
        False, alias="segment.urlAddon", description="Take apart the address of their page, into `parsed_page_url`."
    )
    segment_referrer_addon: bool = Field(
        False,
        alias="segment.referrerAddon",
        description="Take apart where their page was come from, into `referrer_info`.",
    )

    # Webhooks
    github_secret: SecretStr | None = Field(
        None,
        alias="github.secret",
        description="The secret that GitHub signs webhooks with; without it none is checked.",
    )
    sendgrid_public_key: str | None = Field(
        None,
        alias="sendgrid.public_key",
        description="The public key of SendGrid's signed event webhook, base64 as SendGrid shows it; without it none is checked.",
    )
    sendgrid_addons: bool = Field(
        True,
        alias="sendgrid.addons",
        description="SendGrid's events ask for what their address, user agent, URL and time tell.",
    )
    stripe_secret: SecretStr | None = Field(
        None, alias="stripe.secret", description="The signing secret of Stripe's endpoint; without it none is checked."
    )
    stripe_collection: str | None = Field(
        None,
        alias="stripe.collection",
        description="The collection of all of Stripe's events; without it each type has its own, `stripe_` and the type.",
    )

    def shown(self) -> dict[str, Any]:
        """Every setting by its name, for people to see: secrets masked, None where there is none."""
        members = self.model_dump(by_alias=True)
        return {name: MASK if isinstance(value, SecretStr) else value for name, value in members.items()}


NO_SETTINGS = ProjectSettings.model_validate({})


FIELDS = {str(field.alias): name for name, field in ProjectSettings.model_fields.items()}  # by the setting's name


def stored_settings(changes: Mapping[str, str | None], project_id: str, seal: Seal) -> dict[str, Any]:
    """Those of `changes` that have a text, as a project's record keeps them: typed, secrets sealed.

    Raises ValueError for a name that no setting has, and for a value that its setting cannot have.
    """
    for name in changes:
        if name not in FIELDS:
            raise ValueError(f"There is no setting {name[:80]!r}. A project's settings: {', '.join(FIELDS)}.")
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        checked = ProjectSettings.model_validate(given)
    except ValidationError as error:
        # Pydantic's own text would repeat a secret.
        problems = "; ".join(f"{problem['loc'][0]}: {problem['msg']}" for problem in error.errors(include_input=False))
        raise ValueError(f"{problems}.") from None
    _check_meaning(checked)
    stored: dict[str, Any] = {}
    for name in given:
        value = getattr(checked, FIELDS[name])
        if isinstance(value, SecretStr):
            value = {SEALED: seal.close(value.get_secret_value(), _context(name, project_id))}
        stored[name] = value
    return stored


def _check_meaning(settings: ProjectSettings) -> None:
    """Raises ValueError for a key with which every delivery would be refused, and for a collection whose name would be changed. Not asked of
    what is stored: to pass over a bad key would be to check no signature."""
    try:
        if settings.sendgrid_public_key is not None:
            elliptic_key(settings.sendgrid_public_key)
    except ValueError as error:
        raise ValueError(f"sendgrid.public_key: {error}.") from None
    try:
        if settings.stripe_collection is not None:
            check_collection_name(settings.stripe_collection)
    except RuleError as error:
        raise ValueError(f"stripe.collection: {error.description}") from None


def settings_of(stored: Mapping[str, Any], project_id: str, seal: Seal) -> ProjectSettings:
    """The settings that a project's record keeps. What a later version wrote and this one does not know has no effect.

    Raises SealError where a secret cannot be opened: a project must not seem to have none.
    """
    if not stored:
        return NO_SETTINGS
    values = {
        name: seal.open(value[SEALED], _context(name, project_id)) if isinstance(value, dict) else value
        for name, value in stored.items()
    }
    try:
        return ProjectSettings.model_validate(values)
    except ValidationError as error:
        unknown = {problem["loc"][0] for problem in error.errors()}
        return ProjectSettings.model_validate({name: value for name, value in values.items() if name not in unknown})


def _context(name: str, project_id: str) -> str:
    """What a sealed setting is bound to: it opens for no other setting or project."""
    return f"setting:{name}:{project_id}"
