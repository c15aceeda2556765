"""Avro single-object encoding: how every record in Kafka is written and read.

A record is the marker C3 01, the schema's CRC-64-AVRO fingerprint (8 bytes, little endian) and the datum, as in the Avro
specification, section "Single-object encoding". Writers use the newest version of a schema; readers resolve any version
that the schemas folder holds (`<name>.<version>.avsc`; old versions stay there for ever). Times are integers here:
milliseconds since 1970 UTC.
"""

import io
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import fastavro
import orjson
from fastavro.schema import fingerprint, to_parsing_canonical_form

MARKER = b"\xc3\x01"
HEADER_LENGTH = 10
_FILE = re.compile(r"(?P<name>[a-z_]+)\.(?P<version>\d+)\.avsc")


class CodecError(ValueError):
    """Bytes are not a record of the expected schema."""


def schemas_folder() -> Path:
    """The folder of the .avsc files: inside the package in a wheel, beside it in a checkout."""
    packaged = Path(__file__).parent / "schemas"
    return packaged if packaged.is_dir() else Path(__file__).parents[1] / "schemas"


class UnknownSchemaError(CodecError):
    """They are a record of a schema, or of a version of one, that is not known here: something newer wrote it."""


class Codec:
    """Encodes and decodes the records of one schema.

    `versions` maps a version's fingerprint to its parsed schema; `schema` is the newest and `header` what its records
    start with.
    """

    def __init__(self, name: str, folder: Path | None = None) -> None:
        found: dict[int, Any] = {}
        for path in (folder or schemas_folder()).iterdir():
            match = _FILE.fullmatch(path.name)
            if match and match["name"] == name:
                found[int(match["version"])] = fastavro.parse_schema(
                    _without_logical_types(orjson.loads(path.read_bytes()))
                )
        if not found:
            raise CodecError(f"no schema named {name}")
        self.name = name
        self.versions = {schema_fingerprint(schema): schema for schema in found.values()}
        self.schema: Any = found[max(found)]
        self.header = MARKER + schema_fingerprint(self.schema)

    def encode(self, record: Mapping[str, Any]) -> bytes:
        """The record in the newest version. Raises CodecError where it does not fit the schema."""
        out = io.BytesIO()
        out.write(self.header)
        try:
            fastavro.schemaless_writer(out, self.schema, record)
        except (ValueError, TypeError, KeyError, OverflowError, AttributeError) as error:
            raise CodecError(f"not a {self.name} record: {error}") from error
        return out.getvalue()

    def decode(self, data: bytes) -> dict[str, Any]:
        """The record, whatever version it was written in. Raises CodecError for anything else, trailing bytes too."""
        header = data[:HEADER_LENGTH]
        writer = self.schema if header == self.header else self._writer(header)
        stream = io.BytesIO(data)
        stream.seek(HEADER_LENGTH)
        try:
            record: Any = fastavro.schemaless_reader(stream, writer, None if writer is self.schema else self.schema)
        except Exception as error:  # fastavro raises many kinds on bytes that are no datum
            raise CodecError(f"not a {self.name} record: {error}") from error
        if stream.tell() != len(data):
            raise CodecError(f"not a {self.name} record: {len(data) - stream.tell()} bytes follow the datum")
        decoded: dict[str, Any] = record
        return decoded

    def _writer(self, header: bytes) -> Any:
        """The schema of a record that was not written in the newest version."""
        if not header.startswith(MARKER):
            raise CodecError(
                f"not a {self.name} record: it starts with {header[:2].hex() or 'nothing'}, not with the marker c301"
            )
        try:
            return self.versions[header[2:]]
        except KeyError:
            reason = f"unknown schema fingerprint {header[2:].hex()}"
            raise UnknownSchemaError(f"not a {self.name} record: {reason}") from None


def _without_logical_types(schema: Any) -> Any:
    """The schema with plain longs for times: services count in milliseconds, and no datetime is made on a hot path."""
    if isinstance(schema, dict):
        return {key: _without_logical_types(value) for key, value in schema.items() if key != "logicalType"}
    return [_without_logical_types(part) for part in schema] if isinstance(schema, list) else schema


def schema_fingerprint(schema: Any) -> bytes:
    """The schema's CRC-64-AVRO fingerprint in wire order."""
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


@cache
def codec(name: str) -> Codec:
    """The codec of a schema by name, made once: raw_event, event, dead_letter, control_record."""
    return Codec(name)
