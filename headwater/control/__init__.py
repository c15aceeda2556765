"""The control plane: projects and keys as records of a compacted topic, which every service follows into memory."""

from headwater.control.access import Access, AccessError
from headwater.control.follower import ControlPlane
from headwater.control.grant import OPERATIONS, Grant, Need, Operation
from headwater.control.model import (
    ControlError,
    InvalidNameError,
    Key,
    KeyKind,
    NoSuchObjectError,
    Project,
    SecretMismatchError,
)
from headwater.control.writer import ControlWriter

__all__ = [
    "OPERATIONS",
    "Access",
    "AccessError",
    "ControlError",
    "ControlPlane",
    "ControlWriter",
    "Grant",
    "InvalidNameError",
    "Key",
    "KeyKind",
    "Need",
    "NoSuchObjectError",
    "Operation",
    "Project",
    "SecretMismatchError",
]
