"""Writes the pages of this folder from the code. `make reference` runs it, and a test compares."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NOTE = "<!-- Written by `make reference` from the code. Do not edit. -->\n\n"
OF_DJANGO = {
    "help", "version", "verbosity", "settings", "pythonpath", "traceback", "no_color",
    "force_color", "skip_checks",
}  # fmt: skip
"""Options that every command has."""


def cell(text: object) -> str:
    """Text that does not end a cell of a table."""
    return " ".join(str(text or "").split()).replace("|", "\\|")


def settings() -> str:
    """Every environment variable."""
    from config.environment import VARIABLES

    rows = [
        f"| `{one.name}` | {one.type} | {f'`{one.default}`' if one.default else ''} | "
        f"{cell(one.meaning)} |"
        for one in VARIABLES
    ]
    head = (
        "# Settings\n\nEnvironment variables, or lines of `.env` in the project's folder. A value "
        "that cannot be right stops the start, and the message says what would be right.\n\n"
        "| variable | type | default | meaning |\n|---|---|---|---|\n"
    )
    return NOTE + head + "\n".join(rows) + "\n"


def metrics() -> str:
    """Every metric, with its labels."""
    from prometheus_client import REGISTRY

    from chat.api import metrics as of_keys  # noqa: F401  (registers its metrics, as the next ones)
    from chat.ingest import counts as of_intake  # noqa: F401
    from chat.management.commands import cache_audit
    from chat.metrics import maintenance, resources  # noqa: F401
    from chat.metrics.cache_servers import CacheServers
    from chat.metrics.histograms import Histograms
    from chat.metrics.store import Store
    from config import requests  # noqa: F401
    from storage.cache import metrics as of_cache  # noqa: F401
    from storage.dynamodb import metrics as of_dynamodb  # noqa: F401
    from storage.rate_limits import metrics as of_limits  # noqa: F401
    from storage.records.audit import Audit

    # Of what is counted or asked at a scrape; of what commands leave behind.
    counts = {"remaining": 0}
    left = cache_audit.measured(Audit()), maintenance.measured("any", "done", 1.0, counts, 0.0)
    sources = [*REGISTRY._collector_to_names, Histograms(), CacheServers(), Store()]
    sources += [collector for registry in left for collector in registry._collector_to_names]
    rows = {
        name: f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | "
        f"{cell(meaning)} |"
        for source in sources
        for name, kind, labels, meaning in families(source)
        if name.startswith("chat_")
    }
    head = (
        "# Metrics\n\nWhat `/metrics` tells Prometheus. A histogram has series that end in "
        "`_bucket`, `_sum` and `_count`. How to scrape, what to alert on and what the labels "
        "mean: [metrics and alerts](../how-to/metrics.md).\n\n"
        "| name | type | labels | meaning |\n|---|---|---|---|\n"
    )
    return NOTE + head + "\n".join(rows[name] for name in sorted(rows)) + "\n"


def families(source: Any) -> Iterator[tuple[str, str, list[str], str]]:
    """Name, type, labels and meaning of what a collector has."""
    described = source.describe() if hasattr(source, "describe") else source.collect()
    for family in described:
        labels = getattr(source, "_labelnames", None) or getattr(family, "_labelnames", ())
        total = "_total" if family.type == "counter" else ""
        yield family.name + total, family.type, list(labels), family.documentation


def commands() -> str:
    """Every command of this project, with its options."""
    from django.core.management import get_commands, load_command_class

    parts = [
        NOTE + "# Commands\n\nAll are run as `.venv/bin/python manage.py COMMAND`; `--help` shows "
        "the same. Exit status 0 is done, 1 failed, 2 wrong use, 3 stopped with work left, 130 "
        "Ctrl-C. What each of them means: [retention](../how-to/retention.md), [backups]"
        "(../how-to/backup-and-restore.md), [production](../how-to/production.md).\n"
    ]
    for name, app in sorted(get_commands().items()):
        if app in ("chat", "storage"):
            parser = load_command_class(app, name).create_parser("manage.py", name)
            parts.append(f"## `{name}`\n\n{cell(parser.description)}\n\n{options(parser)}")
    return "\n".join(parts)


def options(parser: argparse.ArgumentParser) -> str:
    """The table of a parser's options, and those of its subcommands."""
    rows, below = [], ""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help for choice in action._choices_actions}
            for name, sub in action.choices.items():
                below += f"### `{parser.prog.split()[-1]} {name}`\n\n{cell(helps.get(name))}\n\n"
                below += options(sub)
        elif action.dest not in OF_DJANGO:
            rows.append(f"| `{written(action)}` | {cell(action.help and expanded(action))} |")
    table = "| option | meaning |\n|---|---|\n" + "\n".join(rows) + "\n" if rows else ""
    return table + below


def written(action: argparse.Action) -> str:
    """How an option is written: its names, and what stands for its value."""
    choices = "|".join(map(str, action.choices)) if action.choices else ""
    value = action.metavar or choices or action.dest
    value = " ".join(value) if isinstance(value, tuple) else value
    if action.nargs == 0:
        value = ""
    elif action.nargs in ("?", "*"):
        value = f"[{value}]"
    return " ".join(part for part in (", ".join(action.option_strings), value) if part).replace(
        "|", "\\|"
    )


def expanded(action: argparse.Action) -> str:
    """The help of an option, with its default in the place of `%(default)s`."""
    return str(action.help) % (vars(action) | {"prog": ""})


def api() -> str:
    """Every call of the API."""
    from drf_spectacular.generators import SchemaGenerator
    from drf_spectacular.renderers import OpenApiJsonRenderer

    made = SchemaGenerator().get_schema(request=None, public=True)
    schema = json.loads(OpenApiJsonRenderer().render(made, renderer_context={}))
    parts = [
        NOTE + "# API\n\nThe running service shows the same at `/api/docs/`, where each call can "
        "be tried, and as OpenAPI at `/api/schema/`. Errors are problem details (RFC 9457).\n"
    ]
    for path, methods in schema["paths"].items():
        for method, call in methods.items():
            parts.append(operation(f"{method.upper()} {path}", call))
    parts += ["## Objects\n"]
    parts += [objects(name, one) for name, one in schema["components"]["schemas"].items()]
    return "\n".join(parts)


def operation(title: str, call: dict[str, Any]) -> str:
    """One call: what it is for, its parameters, body and responses."""
    text = f"## `{title}`\n\n{call.get('summary', '')}\n\n"
    if call.get("description"):
        text += f"{cell(call['description'])}\n\n"
    if rows := [
        f"| `{one['name']}` | {one['in']} | {cell(kind(one['schema']))} | "
        f"{cell(one.get('description'))} |"
        for one in call.get("parameters", ())
    ]:
        text += (
            "| parameter | in | type | meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n\n"
        )
    for media, body in call.get("requestBody", {}).get("content", {}).items():
        text += f"Body: {cell(kind(body.get('schema', {})))} as `{media}`.\n\n"
    rows = [
        f"| {status} | {', '.join(sorted({kind(body.get('schema', {})) for body in one.get('content', {}).values()}))} | {cell(one.get('description'))} |"  # noqa: E501
        for status, one in call["responses"].items()
    ]
    return text + "| status | body | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def objects(name: str, schema: dict[str, Any]) -> str:
    """An object and its members."""
    text = f"### {name}\n\n"
    if schema.get("description"):
        text += f"{cell(schema['description'])}\n\n"
    if "properties" not in schema:
        return text + f"{cell(kind(schema))}\n"
    required = schema.get("required", ())
    rows = [
        f"| `{member}` | {cell(kind(one))} | {'yes' if member in required else ''} | "
        f"{cell(one.get('description'))} |"
        for member, one in schema["properties"].items()
    ]
    return (
        text
        + "| member | type | required | meaning |\n|---|---|---|---|\n"
        + "\n".join([*rows, ""])
    )


def kind(schema: dict[str, Any]) -> str:
    """A type in words: its name, or what it is made of, with its bounds."""
    if "$ref" in schema:
        return f"[{(name := schema['$ref'].rpartition('/')[2])}](#{name.lower()})"
    for joint in ("oneOf", "anyOf", "allOf"):
        if joint in schema:
            return " or ".join(kind(one) for one in schema[joint])
    if schema.get("type") == "array":
        return f"array of {kind(schema.get('items', {}))}"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    found = schema.get("type", "any")
    text = " or ".join(found) if isinstance(found, list) else str(found)
    shown = {
        "format": "{}", "minimum": "from {}", "maximum": "to {}", "minLength": "at least {} long",
        "maxLength": "at most {} long", "default": "default {}",
    }  # fmt: skip
    bounds = [words.format(json.dumps(schema[name]).strip('"')) for name, words in shown.items()
              if name in schema]  # fmt: skip
    return f"{text} ({', '.join(bounds)})" if bounds else text


PAGES = {"api.md": api, "commands.md": commands, "metrics.md": metrics, "settings.md": settings}


def main() -> None:
    """Write the pages as the code is now."""
    sys.path.insert(0, str(ROOT))
    import config  # noqa: F401  (every entry point imports it first)

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
