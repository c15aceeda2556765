"""Writes the reference pages of docs/ from the declarations in the code. `scripts/docs`, or with --check to compare only.

With --answers it first asks the examples of docs/queries.md and the questions of docs/data-models.md anew, of a stack that it starts
and ends, and records the answers.
"""

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

DOCS = Path(__file__).parent
NOTE = "<!-- Written by scripts/docs from the code. Change the declaration, not this page. -->\n"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; bars in cells are escaped."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def settings_page() -> str:
    """Every setting with its type, default and meaning."""
    from headwater.settings import PREFIX, Settings

    def default(value: Any) -> str:
        return "" if value is None or value is PydanticUndefined else f"`{value}`"

    def kind(annotation: Any) -> str:
        text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
        return "`" + text.replace("typing.", "").replace("pathlib.", "").replace("pydantic.types.", "") + "`"

    rows = [
        (f"`{PREFIX}{name.upper()}`", kind(field.annotation), default(field.default), field.description or "")
        for name, field in Settings.model_fields.items()
    ]
    return (
        "# Settings\n\nRead from the environment at start. An unknown or blank one stops the start with its name.\n\n"
        + table(("variable", "type", "default", "meaning"), rows)
    )


def project_settings_page() -> str:
    """Every setting of a project with its type, default and meaning."""
    from typing import get_args

    from pydantic import SecretStr

    from headwater.control.project_settings import ProjectSettings

    def kind(annotation: Any) -> str:
        if annotation is bool:
            return "`true`, `false`"
        options = get_args(annotation)
        if SecretStr in options:
            return "secret"
        if float in options:
            return "a number"
        return "text" if str in options else ", ".join(f"`{option}`" for option in options)

    def default(value: Any) -> str:
        return "" if value is None else f"`{json.dumps(value).strip(chr(34))}`"

    rows = [
        (f"`{field.alias}`", kind(field.annotation), default(field.default), field.description or "")
        for field in ProjectSettings.model_fields.values()
    ]
    return (
        "# Settings of a project\n\n`headwater project set NAME=VALUE...` changes them, `NAME=` puts one back to its default, "
        "`headwater project show` lists them. Every service follows them and needs no restart. Secrets are stored encrypted under the "
        "deployment's secret and shown masked.\n\n" + table(("setting", "values", "default", "meaning"), rows)
    )


def topics_page() -> str:
    """Every topic with its schema and meaning."""
    from headwater.topics import TOPICS

    rows = [
        (f"`<prefix>.{topic.suffix}`", f"`{topic.schema}`" if topic.schema else "JSON", topic.cleanup, topic.meaning)
        for topic in TOPICS
    ]
    return (
        "# Topics\n\n`<prefix>` is the setting `HEADWATER_TOPIC_PREFIX`, by default `headwater`. The schemas are described in "
        "[schemas.md](schemas.md).\n\n" + table(("topic", "schema", "clean-up", "meaning"), rows)
    )


def metrics_page() -> str:
    """Every metric with its kind, labels and meaning."""
    from headwater.metrics import METRICS

    def full_name(metric: Any) -> str:
        name: str = metric._name
        return name + ("_total" if metric._type == "counter" else "")

    rows = [
        (
            f"`{full_name(metric)}`",
            metric._type,
            ", ".join(f"`{label}`" for label in metric._labelnames),
            metric._documentation,
        )
        for metric in METRICS
    ]
    return (
        "# Metrics\n\nPrometheus text at `/metrics`: of the HTTP services on their port, of a worker on `HEADWATER_HEALTH_PORT`.\n\n"
        + table(("metric", "kind", "labels", "meaning"), rows)
    )


def schemas_page() -> str:
    """Every Avro schema with its fields, and the fingerprint that its records start with."""
    from headwater.codec import MARKER, schema_fingerprint, schemas_folder

    parts = [
        "# Schemas\n\nEvery record in Kafka is in Avro's single-object encoding: the bytes `C3 01`, the schema's CRC-64-AVRO "
        "fingerprint in little-endian order, and the datum. Old versions stay readable.\n"
    ]
    for path in sorted(schemas_folder().glob("*.avsc")):
        schema = json.loads(path.read_text())
        name, version, _ = path.name.split(".")
        rows = [(f"`{field['name']}`", f"`{json.dumps(field['type'])}`", field["doc"]) for field in schema["fields"]]
        header = (MARKER + schema_fingerprint(schema)).hex(" ")
        parts.append(
            f"## {name}, version {version}\n\n{schema['doc']} Its records start with `{header}`.\n\n"
            + table(("field", "type", "meaning"), rows)
        )
    return "\n".join(parts)


def addons_page() -> str:
    """Every add-on with its inputs and outputs."""
    from processors.addons import ADDONS

    parts = [
        "# Add-ons\n\nAn event asks for add-ons in `keen.addons`: a list of objects with `name`, `input` and `output`. They run in "
        "this order. Each input names a property by its dotted path, or one of the event's own: `keen.timestamp`, "
        "`keen.created_at`, `keen.id`. A value that is missing or not text gives no output. `output` is the dotted path of the "
        "object that takes the results: it is made where there is none, and merged into where there is one. What can never work "
        "(an unknown add-on, a missing input, an output under `keen` or at a property that is no object) sends the event to the "
        "dead letters.\n\nBefore that, `${keen.ip}` and `${keen.user_agent}` in string values are replaced by the sender's address "
        "and User-Agent header; where they are not known, a string that is nothing else becomes null.\n"
    ]
    for addon in ADDONS.values():
        options = [(f"`{addon.removal.name}`", addon.removal.meaning)] if addon.removal else []
        inputs = [*((f"`{field.name}`", field.meaning) for field in addon.inputs), *options]
        outputs = [(f"`{field.name}`", field.meaning) for field in addon.outputs]
        parts.append(
            f"## {addon.name}\n\n{addon.meaning}\n\n"
            + table(("input", "meaning"), inputs)
            + "\n"
            + table(("output", "meaning"), outputs)
        )
    return "\n".join(parts)


def cli_page() -> str:
    """Every command of the command line, as its own --help says it."""
    import typer
    from typer.testing import CliRunner

    from headwater.cli import app

    def commands(command: Any, path: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
        yield path
        for name in sorted(getattr(command, "commands", {})):
            yield from commands(command.commands[name], (*path, name))

    parts = ["# Command line\n"]
    for path in commands(typer.main.get_command(app), ()):
        shown = CliRunner().invoke(
            app, [*path, "--help"], prog_name="headwater", env={"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}
        )
        parts.append(
            f"## headwater {' '.join(path)}".rstrip()
            + "\n\n```\n"
            + "\n".join(line.rstrip() for line in shown.stdout.strip().splitlines())
            + "\n```\n"
        )
    return "\n".join(parts)


def queries_page() -> str:
    """The analyst's reference: the text of docs/queries/template.md with its examples and their recorded answers."""
    from docs.queries import page

    return page.queries_page(table)


def data_models_page() -> str:
    """What to collect: the models of docs/models with their questions and recorded answers."""
    from docs.models import page

    return page.data_models_page(table)


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "project-settings.md": project_settings_page,
    "topics.md": topics_page,
    "metrics.md": metrics_page,
    "schemas.md": schemas_page,
    "addons.md": addons_page,
    "cli.md": cli_page,
    "queries.md": queries_page,
    "data-models.md": data_models_page,
}


def page(name: str) -> str:
    """The text of one generated page."""
    return NOTE + "\n" + PAGES[name]().rstrip() + "\n"


def main(arguments: list[str]) -> int:
    """Write the pages, or with --check name those that are out of date and return 1."""
    if "--answers" in arguments:
        from docs.recording import record

        record()
    stale = [name for name in PAGES if not (DOCS / name).exists() or (DOCS / name).read_text() != page(name)]
    if "--check" in arguments:
        for name in stale:
            sys.stderr.write(f"docs/{name} is out of date: run scripts/docs\n")
        return 1 if stale else 0
    for name in stale:
        (DOCS / name).write_text(page(name))
        sys.stdout.write(f"wrote docs/{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
