"""The control plane: projects and keys as records of a compacted topic, which every service follows into memory."""

from headwater.control.access import Access, AccessError
from headwater.control.follower import ControlPlane
from headwater.control.model import ControlError, Key, KeyKind, Project, SecretMismatchError
from headwater.control.writer import ControlWriter

__all__ = [
    "Access",
    "AccessError",
    "ControlError",
    "ControlPlane",
    "ControlWriter",
    "Key",
    "KeyKind",
    "Project",
    "SecretMismatchError",
]
