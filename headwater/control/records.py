"""The control plane's records: what their bodies hold, and the state that following them gives.

A record's key in Kafka is `<kind>:<id>`. The newest record of a key is the object's state: followers may not judge by
version, since compaction keeps the last record whatever its version. One writer at a time makes that safe (writer.py).
"""

import hmac
from typing import Any

import orjson

from headwater.codec import CodecError, codec
from headwater.control.deletions import DELETION, Deletions, deletion_of
from headwater.control.grant import OPERATIONS
from headwater.control.model import KEY_KINDS, PROJECT_KEY_KINDS, Key, Project, key_id
from headwater.control.project_settings import settings_of
from headwater.control.seal import Seal, SealError

PROJECT = "project"
KEY = "key"

Record = dict[str, Any]  # the fields of schemas/control_record


class UnreadableRecordError(Exception):
    """A record is no control record, or its body is not what its kind needs."""


def record_key(kind: str, id: str) -> bytes:  # noqa: A002 - the schema's name for it
    """The key of an object's records in Kafka."""
    return f"{kind}:{id}".encode()


def project_record(project: Project, written_at: int) -> Record:
    """A project's record; its keys are records of their own, named here by id."""
    body = {
        "name": project.name,
        "keys": {
            "master": key_id(project.master_key),
            "write": key_id(project.write_key),
            "read": key_id(project.read_key),
        },
    }
    return object_record(PROJECT, project.id, project.version, written_at, body)


def key_record(key: Key, seal: Seal, written_at: int) -> Record:
    """A key's record, the key itself sealed."""
    body = {
        "project_id": key.project_id,
        "kind": key.kind,
        "name": key.name,
        "active": key.active,
        "created_at": key.created_at,
        "sealed": seal.close(key.key, _context(key.id, key.project_id, key.kind)),
    }
    if key.kind == "access":
        body |= {"permitted": list(key.permitted), "options": dict(key.options)}
    return object_record(KEY, key.id, key.version, written_at, body)


def object_record(kind: str, id: str, version: int, written_at: int, body: dict[str, Any]) -> Record:  # noqa: A002
    """The record of an object of any kind."""
    return {"kind": kind, "id": id, "version": version, "written_at": written_at, "body": orjson.dumps(body).decode()}


def changed(record: Record, written_at: int, changes: dict[str, Any]) -> Record:
    """An object's next record, some members changed; members that this version does not know stay as they are."""
    body = orjson.loads(record["body"]) | changes
    return object_record(record["kind"], record["id"], record["version"] + 1, written_at, body)


def _context(id: str, project_id: str, kind: str) -> str:  # noqa: A002
    """What a sealed key is bound to: it opens for no other record, project or kind."""
    return f"{KEY}:{id}:{project_id}:{kind}"


class ControlState:
    """The objects after the records read so far, in memory. Written by one thread, read by any."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal
        self.records: dict[tuple[str, str], Record] = {}  # of every kind, those of later versions too
        self.projects: dict[str, Project] = {}
        self.keys: dict[str, Key] = {}
        self.masters: dict[str, tuple[str, ...]] = {}  # ids of each project's master keys
        self.deletions = Deletions()
        self.sealed_out: set[str] = set()  # ids of keys that cannot be decrypted

    def key(self, raw_key: str) -> Key | None:
        """The key that this text is, active or not."""
        key = self.keys.get(key_id(raw_key))
        if key is None or not hmac.compare_digest(key.key.encode(), raw_key.encode("utf-8", "surrogatepass")):
            return None
        return key

    def apply(self, record_key: bytes | None, value: bytes | None) -> None:
        """Take in the next record of the topic. Raises UnreadableRecordError, leaving the state as it was."""
        if value is None:
            kind, _, object_id = (record_key or b"").decode("utf-8", "replace").partition(":")
            self._forget(kind, object_id)
            return
        try:
            record = codec("control_record").decode(value)
            if record["kind"] == KEY:
                self._apply_key(record)
            elif record["kind"] == PROJECT:
                self._apply_project(record)
            elif record["kind"] == DELETION:
                self.deletions.put(deletion_of(record, self._seal))
        except (CodecError, ValueError, KeyError, TypeError) as error:
            raise UnreadableRecordError(f"{type(error).__name__}: {error}") from error
        self.records[record["kind"], record["id"]] = record

    def _apply_key(self, record: Record) -> None:
        body = orjson.loads(record["body"])
        identity, project_id, kind = record["id"], body["project_id"], body["kind"]
        if kind not in KEY_KINDS:
            return  # a kind of a later version: never valid here
        try:
            raw_key = self._seal.open(body["sealed"], _context(identity, project_id, kind))
        except SealError:
            self.sealed_out.add(identity)
            self.keys.pop(identity, None)
            return
        self.sealed_out.discard(identity)
        self.keys[identity] = Key(
            id=identity,
            project_id=project_id,
            kind=kind,
            name=body["name"],
            active=body["active"] is True,
            version=record["version"],
            created_at=body["created_at"],
            key=raw_key,
            permitted=tuple(operation for operation in OPERATIONS if operation in body.get("permitted", ())),
            options=body.get("options") or {},
            deleted=body.get("deleted") is True,
        )
        masters = self.masters.get(project_id, ())
        if kind == "master" and identity not in masters:
            self.masters[project_id] = (*masters, identity)
        project = self.records.get((PROJECT, project_id))
        if project:  # after a compaction a project may stand before its keys
            self._apply_project(project)

    def _apply_project(self, record: Record) -> None:
        body = orjson.loads(record["body"])
        keys = {kind: self.keys.get(body["keys"][kind]) for kind in PROJECT_KEY_KINDS}
        try:
            settings = settings_of(body.get("settings") or {}, record["id"], self._seal)
        except SealError as error:
            raise ValueError(f"a setting of project {record['id']} cannot be decrypted") from error
        self.projects[record["id"]] = Project(
            id=record["id"],
            name=body["name"],
            version=record["version"],
            settings=settings,
            **{f"{kind}_key": key.key if key else "" for kind, key in keys.items()},
        )

    def _forget(self, kind: str, identity: str) -> None:
        self.records.pop((kind, identity), None)
        if kind == KEY:
            self.keys.pop(identity, None)
            self.sealed_out.discard(identity)
        elif kind == PROJECT:
            self.projects.pop(identity, None)
