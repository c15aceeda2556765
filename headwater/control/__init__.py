"""The control plane: projects, keys and deletions as records of a compacted topic, which every service follows into memory."""

from headwater.control.access import Access, AccessError
from headwater.control.deleting import DeletionWriter
from headwater.control.deletions import Deletion, Deletions
from headwater.control.follower import ControlPlane
from headwater.control.grant import OPERATIONS, Grant, Need, Operation
from headwater.control.model import (
    ControlError,
    InvalidNameError,
    InvalidSettingError,
    Key,
    KeyKind,
    NoSuchObjectError,
    Project,
    SecretMismatchError,
)
from headwater.control.project_settings import ProjectSettings
from headwater.control.writer import ControlWriter

__all__ = [
    "OPERATIONS",
    "Access",
    "AccessError",
    "ControlError",
    "ControlPlane",
    "ControlWriter",
    "Deletion",
    "DeletionWriter",
    "Deletions",
    "Grant",
    "InvalidNameError",
    "InvalidSettingError",
    "Key",
    "KeyKind",
    "Need",
    "NoSuchObjectError",
    "Operation",
    "Project",
    "ProjectSettings",
    "SecretMismatchError",
]
