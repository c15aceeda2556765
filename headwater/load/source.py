"""A file to load: what it is, whatever it is called, and its bytes, plain or unzipped."""

import gzip
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal
from urllib.parse import unquote

GZIP = b"\x1f\x8b"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
PARQUET = b"PAR1"
# How files begin that are neither text nor Parquet.
STRANGE = {
    b"PK\x03\x04": "a ZIP archive: unpack it first",
    b"BZh": "packed by bzip2: unpack it first",
    b"\xfd7zXZ": "packed by xz: unpack it first",
    b"\x28\xb5\x2f\xfd": "packed by zstd: unpack it first",
    b"Obj\x01": "an Avro container, which this cannot load",
    b"ORC": "an ORC file, which this cannot load",
}
Format = Literal["ndjson", "csv", "parquet"]
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
SUFFIXES = (".ndjson", ".jsonl", ".json", ".csv", ".parquet")


LINE_AT = 24  # in a UUID's text: its last 48 bits are the line


class FormatError(ValueError):
    """A file cannot be loaded as it is; the message says what to do."""


class Source:
    """A file on disk, plain or gzip. `identity` is the SHA-256 of its bytes: the same for a renamed or moved copy.

    `partition` is what the names of folders say of all its rows (`year=2026/month=03`); it belongs to the identity.
    """

    def __init__(self, path: Path, partition: Mapping[str, Any] | None = None) -> None:
        """Reads the file once, for its identity. Raises OSError."""
        self.path = path
        self.partition = partition or {}
        self.size = path.stat().st_size
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        if self.partition:
            digest.update(repr(sorted(self.partition.items())).encode())
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
        """Parquet by its first bytes, NDJSON where the first character is a brace, else CSV.

        Raises FormatError for an empty file and for a JSON array.
        """
        with self.open() as content:
            for line in content:
                if line.startswith(PARQUET):
                    return "parquet"
                for begins, what in STRANGE.items():
                    if line.startswith(begins):
                        raise FormatError(f"it is {what}")
                first = line.removeprefix(BYTE_ORDER_MARK).strip()[:1]
                if first == b"[":
                    raise FormatError("it is a JSON array: write one object per line (NDJSON), without the brackets")
                if first:
                    return "ndjson" if first == b"{" else "csv"
        raise FormatError("it is empty")


def as_uuid(digest: str) -> str:
    """The first 122 bits of a digest in hexadecimal as a UUID (version 8, RFC 9562): an id that the collector takes as it is."""
    variant = "89ab"[int(digest[15], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-8{digest[12:15]}-{variant}{digest[16:19]}-{digest[19:31]}"


def files_in(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files in a folder and its folders that look like events by their names, in the order of their paths; and the others. What
    begins with a dot or, as Spark's notes of its work, with an underscore, is neither.

    Raises FormatError where there are none.
    """
    found: list[Path] = []
    others: list[Path] = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts):
            (found if path.name.lower().removesuffix(".gz").endswith(SUFFIXES) else others).append(path)
    if not found:
        raise FormatError(f"it holds no file that ends in {', '.join(SUFFIXES)}, or in one of these and .gz")
    return found, others


def partition_of(path: Path, folder: Path) -> dict[str, Any]:
    """What the names of the folders between say of a file's rows, as Hive, Spark and DuckDB write them: `name=value`, a whole number
    without leading zeros as a number."""
    partition: dict[str, Any] = {}
    for part in path.relative_to(folder).parts[:-1]:
        name, equals, value = part.partition("=")
        if name and equals and value != HIVE_NULL:
            text = unquote(value)
            whole = text.isascii() and text.isdecimal() and (text == "0" or text[0] != "0") and len(text) < 18
            partition[unquote(name)] = int(text) if whole else text
    return partition
