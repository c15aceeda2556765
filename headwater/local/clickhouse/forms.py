"""Requests sent as multipart/form-data: long parameters as fields, and data for temporary tables ("external data") as files."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from headwater.local.clickhouse import errors
from headwater.local.clickhouse.body import Body
from headwater.local.clickhouse.request import Request

FORM_LIMIT = 64 << 20
"""Bytes of a form; a form is held in memory."""

_BOUNDARY = re.compile(r'boundary=(?:"([^"]+)"|([^;\s]+))', re.IGNORECASE)
_NAME = re.compile(rb'[;\s]name="([^"]*)"', re.IGNORECASE)
_FILE = re.compile(rb"[;\s]filename\*?=", re.IGNORECASE)


@dataclass(frozen=True)
class ExternalTable:
    """A temporary table that comes with a query: its columns (as in CREATE TABLE), and its rows in a format."""

    name: str
    structure: str
    format: str
    data: bytes


def is_form(content_type: str) -> bool:
    """Whether a body of this Content-Type is a form."""
    return content_type.lower().startswith("multipart/form-data")


def read_form(request: Request, body: Body, content_type: str) -> tuple[Request, list[ExternalTable]]:
    """The request with the form's fields taken in, and the tables that come with it.

    Raises EngineError for a form that is too large or malformed, or a table without a structure.
    """
    fields, files = _parts(body, content_type)
    settings = dict(request.settings)
    tables = []
    for name, data in files.items():
        fmt = settings.pop(f"{name}_format", "TabSeparated")
        types = settings.pop(f"{name}_types", "")
        structure = settings.pop(f"{name}_structure", "")
        if types and not structure:
            structure = ", ".join(f"_{index} {column}" for index, column in enumerate(_split(types), 1))
        if not structure:
            raise errors.refused(
                errors.Code.BAD_ARGUMENTS, f"External table {name!r} needs {name}_structure or {name}_types"
            )
        tables.append(ExternalTable(name, structure, fmt, data))
    texts = {name: value.decode("utf-8", "replace") for name, value in fields.items()}
    params = {name[len("param_") :]: value for name, value in texts.items() if name.startswith("param_")}
    return (
        replace(
            request,
            query="\n".join(part for part in (request.query, texts.get("query", "")) if part),
            settings=settings,
            params={**request.params, **params},
        ),
        tables,
    )


def _parts(body: Body, content_type: str) -> tuple[Mapping[str, bytes], Mapping[str, bytes]]:
    """A form's fields and files by name."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise errors.refused(errors.Code.BAD_ARGUMENTS, "The form's Content-Type has no boundary")
    data = bytearray(b"\r\n")
    while piece := body.read():
        data += piece
        if len(data) > FORM_LIMIT:
            raise errors.refused(errors.Code.QUERY_IS_TOO_LARGE, f"The form is longer than {FORM_LIMIT} bytes")
    fields: dict[str, bytes] = {}
    files: dict[str, bytes] = {}
    for part in bytes(data).split(b"\r\n--" + (found.group(1) or found.group(2)).encode())[1:]:
        if part.startswith(b"--"):
            break
        head, _, content = part.partition(b"\r\n\r\n")
        name = _NAME.search(head)
        if name is None:
            raise errors.refused(errors.Code.BAD_ARGUMENTS, "A part of the form has no name")
        (files if _FILE.search(head) else fields)[name.group(1).decode("utf-8", "replace")] = content
    return fields, files


def _split(types: str) -> list[str]:
    """`UInt8,Tuple(String, Int8)` as its types: split at the commas outside of brackets."""
    out, depth = [""], 0
    for character in types:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            out.append("")
        else:
            out[-1] += character
    return [column.strip() for column in out]
