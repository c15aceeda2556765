"""What the control plane holds: projects and their keys."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

from headwater.control.grant import PERMITTED, Grant, Operation
from headwater.control.project_settings import NO_SETTINGS, ProjectSettings

ProjectKeyKind = Literal["master", "write", "read"]  # every project has one of each, and may have more
PROJECT_KEY_KINDS: tuple[ProjectKeyKind, ...] = get_args(ProjectKeyKind)
KeyKind = ProjectKeyKind | Literal["access"]
KEY_KINDS: tuple[KeyKind, ...] = (*PROJECT_KEY_KINDS, "access")


class ControlError(Exception):
    """The control plane cannot be read or written; the message says why and what to do."""


class InvalidNameError(ControlError):
    """What was to be written has a name that nothing may have."""


class InvalidSettingError(ControlError):
    """A project has no setting of this name, or the setting cannot have this value."""


class NoSuchObjectError(ControlError):
    """What was to be changed is not there."""


class SecretMismatchError(ControlError):
    """Stored keys cannot be decrypted: the deployment's secret is not the one that they were written under."""


@dataclass(frozen=True, slots=True)
class Project:
    """A project with its settings and the three keys that it was created with, in clear.

    A key that was revoked since is still named here; whether it is active, its Key says.
    """

    id: str  # 24 hexadecimal characters
    name: str
    version: int
    master_key: str = field(repr=False)
    write_key: str = field(repr=False)
    read_key: str = field(repr=False)
    settings: ProjectSettings = NO_SETTINGS


@dataclass(frozen=True)
class Key:
    """A key of a project. Revoked keys stay, with `active` false; so do deleted ones, with `deleted` true."""

    id: str  # the SHA-256 of the key, in hexadecimal
    project_id: str
    kind: KeyKind
    name: str
    active: bool
    version: int
    created_at: int  # milliseconds since 1970 UTC
    key: str = field(repr=False)  # 64 hexadecimal characters, in clear
    permitted: tuple[Operation, ...] = ()  # of an access key; what the other kinds may do, their kind says
    options: Mapping[str, Any] = field(default_factory=dict)  # of an access key
    deleted: bool = False

    @cached_property
    def grant(self) -> Grant:
        """What the key permits while it is active."""
        permitted = frozenset(self.permitted) if self.kind == "access" else PERMITTED[self.kind]
        return Grant(self.project_id, self.id, self.kind, permitted, self.options)


def key_id(raw_key: str) -> str:
    """The id of a key: its SHA-256, in hexadecimal. Keys are 256 random bits, so a plain hash gives nothing away."""
    return hashlib.sha256(raw_key.encode("utf-8", "surrogatepass")).hexdigest()


def new_project_id() -> str:
    """24 random hexadecimal characters."""
    return secrets.token_hex(12)


def new_key() -> str:
    """64 random hexadecimal characters."""
    return secrets.token_hex(32)


def new_access_key() -> str:
    """64 random hexadecimal characters, in capitals as Keen's access keys are."""
    return secrets.token_hex(32).upper()
