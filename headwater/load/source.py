"""A file to load: what it is, whatever it is called, and its bytes, plain or unzipped."""

import gzip
import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple
from urllib.parse import unquote

from headwater.rules import RuleError, check_property_name, parse_json

GZIP = b"\x1f\x8b"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
PARQUET = b"PAR1"
# How files begin that are neither text nor Parquet.
STRANGE = {
    rb"PK\x03\x04": "a ZIP archive: unpack it first",
    rb"BZh[1-9]1AY": "packed by bzip2: unpack it first",
    rb"\xfd7zXZ": "packed by xz: unpack it first",
    rb"\x28\xb5\x2f\xfd": "packed by zstd: unpack it first",
    rb"Obj\x01": "an Avro container, which this cannot load",
    rb"ORC[\x00-\x08\x0b\x0c\x0e-\x1f\x80-\xff]": "an ORC file, which this cannot load",
}
Format = Literal["ndjson", "csv", "parquet", "array"]
BEGIN_BYTES = 65_536
WHOLE = re.compile(r"0|[1-9]\d{0,17}", re.ASCII).fullmatch
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
SUFFIXES = (".ndjson", ".jsonl", ".json", ".csv", ".parquet")


LINE_AT = 24  # in a UUID's text: its last 48 bits are the line


class FormatError(ValueError):
    """A file cannot be loaded as it is; the message says what to do."""


class Partition(NamedTuple):
    """What the names of the folders that a file is in say of all its rows, and those of these names that say something."""

    properties: Mapping[str, Any]
    text: str


class Source:
    """A file on disk, plain or gzip. `identity` is the SHA-256 of its bytes: the same for a renamed or moved copy.

    `partition` is what the names of folders say of all its rows (`year=2026/month=03`); it belongs to the identity.
    """

    def __init__(self, path: Path, partition: Partition | None = None) -> None:
        """Reads the file once, for its identity. Raises OSError."""
        self.path = path
        self.partition = {} if partition is None else partition.properties
        self.size = path.stat().st_size
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        if partition is not None and partition.properties:
            digest.update(os.fsencode(partition.text))
        self.identity = digest.hexdigest()
        self._keys = as_uuid(self.identity)[:LINE_AT]
        self._raw: IO[bytes] | None = None

    @property
    def position(self) -> int:
        """How many of the file's `size` bytes are read, while it is open."""
        return self._raw.tell() if self._raw and not self._raw.closed else 0

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The file's content, unzipped where it is gzip (by its first bytes, not by its name)."""
        with self.path.open("rb") as raw:
            self._raw = raw
            zipped = raw.read(2) == GZIP
            raw.seek(0)
            if zipped:
                with gzip.open(raw) as content:
                    yield content  # type: ignore[misc]  # GzipFile is a binary stream in all but its declared type
            else:
                yield raw

    def row_key(self, line: int) -> str:
        """What tells a row from those of every other file: a UUID of the file's identity and the line's number."""
        return f"{self._keys}{line:012x}"

    def row_keys(self, first: int, texts: Sequence[bytes]) -> list[bytes]:
        """`row_key` of each of these lines, of which the first has the number `first`."""
        key = self._keys.encode() + b"%012x"
        return [key % line for line in range(first, first + len(texts))]

    def format(self) -> Format:
        """Parquet by its first bytes; an array of objects, also as Keen answers; NDJSON where the first character is a brace; else CSV.

        Raises FormatError for an empty file and for what is none of these.
        """
        with self.open() as content:
            begin = content.read(BEGIN_BYTES)
        if begin.startswith(PARQUET):
            return "parquet"
        for strange, what in STRANGE.items():
            if re.match(strange, begin):
                raise FormatError(f"it is {what}")
        text = begin.removeprefix(BYTE_ORDER_MARK).lstrip()
        if not text:
            raise FormatError("it is empty")
        if is_array(text):
            return "array"
        if text.startswith(b"["):
            raise FormatError("it begins with a bracket, and not as an array of objects does")
        return "ndjson" if text.startswith(b"{") else "csv"


def begin_of_array(text: bytes) -> re.Match[bytes] | None:
    """Up to the bracket that opens it, where a text begins with an array of objects, or as Keen answers an extraction: `{"result": [`."""
    return re.match(rb'\s*+(?:\{\s*+"result"\s*+:\s*+)?\[(?=\s*+[{\]])', text)


def is_array(text: bytes) -> bool:
    """Whether a file that begins so is one array. It is not where its first line is an object of its own, and others follow."""
    if begin_of_array(text) is None:
        return False
    line, _, others = text.partition(b"\n")
    if text.startswith(b"[") or not others.strip():
        return True
    try:
        parse_json(line)
    except ValueError:
        return True
    return False


def as_uuid(digest: str) -> str:
    """The first 122 bits of a digest in hexadecimal as a UUID (version 8, RFC 9562): an id that the collector takes as it is."""
    variant = "89ab"[int(digest[15], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-8{digest[12:15]}-{variant}{digest[16:19]}-{digest[19:31]}"


def files_in(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files in a folder and its folders that look like events by their names, in the order of their paths; and the others. What
    begins with a dot, or is in a folder that does or, as where Spark works, begins with an underscore, is neither.

    Raises FormatError where there are none.
    """
    found: list[Path] = []
    others: list[Path] = []
    for path in sorted(folder.rglob("*")):
        *above, name = path.relative_to(folder).parts
        if path.is_file() and not (name.startswith(".") or any(part.startswith((".", "_")) for part in above)):
            (found if path.name.lower().removesuffix(".gz").endswith(SUFFIXES) else others).append(path)
    if not found:
        raise FormatError(f"it holds no file that ends in {', '.join(SUFFIXES)}, or in one of these and .gz")
    return found, others


def partitions(files: Sequence[Path], folder: Path) -> list[Partition]:
    """What the names of folders say of each of these files, as Hive, Spark and DuckDB write them: `name=value`. A property is a number
    where all its values are whole numbers without leading zeros. Raises FormatError for one that no property may be.
    """
    found: list[dict[str, str]] = []
    for path in files:
        pairs = [part.partition("=") for part in path.relative_to(folder).parts[:-1]]
        found.append(
            {unquote(name): unquote(value) for name, equals, value in pairs if name and equals and value != HIVE_NULL}
        )
    texts = {name for each in found for name, value in each.items() if not WHOLE(value)}
    for name in sorted({name for each in found for name in each}):
        try:
            check_property_name(name)
        except RuleError as error:
            raise FormatError(f"its folders name a property: {error.description}") from None
    return [
        Partition(
            {name: value if name in texts else int(value) for name, value in each.items()},
            "/".join(part for part in path.relative_to(folder).parts[:-1] if "=" in part),
        )
        for path, each in zip(files, found, strict=True)
    ]
