"""The Content-Type that ClickHouse answers with for each output format."""

_TYPES = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8",
    "JSON": "application/json; charset=UTF-8",
    "XML": "application/xml; charset=UTF-8",
    "Markdown": "text/markdown; charset=UTF-8",
    "Pretty": "text/plain; charset=UTF-8",
    "Vertical": "text/plain; charset=UTF-8",
    "Values": "text/plain; charset=UTF-8",
}
_NDJSON = (
    "JSONEachRow",
    "JSONLines",
    "NDJSON",
    "JSONCompactEachRow",
    "JSONStringsEachRow",
    "JSONCompactStringsEachRow",
)


def content_type(fmt: str) -> str:
    """The MIME type of a format; application/octet-stream for the binary ones."""
    if any(fmt.startswith(name) for name in _NDJSON):
        return "application/x-ndjson; charset=UTF-8"
    found = next((kind for name, kind in _TYPES.items() if fmt.lower().startswith(name.lower())), None)
    return found or "application/octet-stream"
