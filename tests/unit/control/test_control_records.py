"""The control plane's state after any records."""

import orjson
import pytest

from headwater.codec import codec
from headwater.control.model import Key, KeyKind, Project, key_id, new_key, new_project_id
from headwater.control.records import (
    ControlState,
    Record,
    UnreadableRecordError,
    changed,
    key_record,
    project_record,
    record_key,
)
from headwater.control.seal import Seal

SEAL = Seal("a secret of more than thirty-two characters")
PROJECT = Project(new_project_id(), "shop", 1, master_key=new_key(), write_key=new_key(), read_key=new_key())


def key_of(kind: KeyKind, raw_key: str, project: str = PROJECT.id) -> Key:
    return Key(key_id(raw_key), project, kind, kind, active=True, version=1, created_at=5, key=raw_key)


def records() -> list[Record]:
    """A project with its keys."""
    keys: list[tuple[KeyKind, str]] = [
        ("master", PROJECT.master_key),
        ("write", PROJECT.write_key),
        ("read", PROJECT.read_key),
    ]
    return [*(key_record(key_of(kind, raw_key), SEAL, 7) for kind, raw_key in keys), project_record(PROJECT, 7)]


def state_after(*read: Record, seal: Seal = SEAL) -> ControlState:
    state = ControlState(seal)
    for record in read:
        state.apply(record_key(record["kind"], record["id"]), codec("control_record").encode(record))
    return state


def test_a_project_and_its_keys_are_read_back() -> None:
    state = state_after(*records())
    assert state.projects == {PROJECT.id: PROJECT}
    assert state.key(PROJECT.write_key) == key_of("write", PROJECT.write_key)
    assert state.key(PROJECT.write_key[:-1] + "x") is None
    assert state.key("\ud800") is None


def test_no_key_stands_in_a_record_or_a_repr() -> None:
    written = b"".join(codec("control_record").encode(record) for record in records())
    shown = repr(PROJECT) + repr(key_of("write", PROJECT.write_key))
    for raw_key in (PROJECT.master_key, PROJECT.write_key, PROJECT.read_key):
        assert raw_key.encode() not in written
        assert raw_key not in shown


def test_compaction_may_leave_a_project_before_its_keys() -> None:
    assert state_after(*reversed(records())).projects == {PROJECT.id: PROJECT}


def test_revoked_keys_stay_and_unknown_members_too() -> None:
    record = records()[1]
    body = orjson.loads(record["body"]) | {"later": "member"}
    next_record = changed(record | {"body": orjson.dumps(body).decode()}, 9, {"active": False})
    key = state_after(*records(), next_record).key(PROJECT.write_key)
    assert key is not None
    assert (key.active, key.version) == (False, 2)
    assert orjson.loads(next_record["body"])["later"] == "member"


def test_a_sealed_key_moved_to_another_project_or_kind_is_not_valid() -> None:
    for other in ({"kind": "master"}, {"project_id": new_project_id()}):
        record = records()[2]
        forged = record | {"body": orjson.dumps(orjson.loads(record["body"]) | other).decode()}
        state = state_after(forged)
        assert state.key(PROJECT.read_key) is None
        assert state.sealed_out == {record["id"]}


def test_another_secret_opens_no_key() -> None:
    state = state_after(*records(), seal=Seal("x" * 32))
    assert state.key(PROJECT.master_key) is None
    assert len(state.sealed_out) == 3
    assert state.projects[PROJECT.id].master_key == ""


def test_kinds_of_later_versions_are_kept() -> None:
    policy: Record = {"kind": "policy", "id": "p", "version": 4, "written_at": 1, "body": "anything"}
    state = state_after(policy, *records())
    assert state.records["policy", "p"] == policy
    assert state.projects == {PROJECT.id: PROJECT}


def test_tombstones_remove() -> None:
    state = state_after(*records())
    for record in records():
        state.apply(record_key(record["kind"], record["id"]), None)
    assert not state.projects
    assert not state.keys
    assert not state.records


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{}",
        codec("control_record").encode({"kind": "key", "id": "k", "version": 1, "written_at": 1, "body": "no json"}),
        codec("control_record").encode({"kind": "key", "id": "k", "version": 1, "written_at": 1, "body": "{}"}),
        codec("control_record").encode({"kind": "project", "id": "p", "version": 1, "written_at": 1, "body": "[]"}),
    ],
)
def test_unreadable_records_change_nothing(value: bytes) -> None:
    state = state_after(*records())
    with pytest.raises(UnreadableRecordError):
        state.apply(b"key:k", value)
    assert state.projects == {PROJECT.id: PROJECT}
    assert len(state.records) == 4
