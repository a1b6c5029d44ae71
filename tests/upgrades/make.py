"""A program: an earlier release fills a database, an archive and a table, with its own code.

It made what is in `kept/`. In a checkout of a release, with a virtual environment of its own:

    DATA_DIR=/tmp/kept SECRET_KEY=... RETENTION_TOTAL_DAYS=1000000 .venv/bin/python .../make.py

and for a table also `ENVIRONMENT=production HTTPS=false AWS_REGION=... DYNAMODB_ENDPOINT_URL=...`.
It uses only what all of them have. What a release does not have (archive, holds, backups) is left
out. `keep.py` then packs the folder.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SECRET_KEY = "the-key-of-what-earlier-releases-made-0123456789"
NOW = "2026-11-23T12:00:00Z"
"""When the archive run was: what is older than 30 days is cold."""

REQUEST = {
    "interaction_id": "kept-11",
    "user_id": "grace",
    "message": "Saved with a key.",
    "model_used": "model-2",
    "response": "And its repeat is known.",
}
IDEMPOTENCY_KEY = "kept-request"


def rows() -> Iterator[dict[str, Any]]:
    """Interactions of two users, three of them cold, and é, an emoji, a long text."""
    for number in range(11):
        cold = number % 4 == 0
        yield {
            "interaction_id": f"kept-{number:02}",
            "user_id": ("ada", "grace")[number % 2],
            "message": f"Question {number}: naïve café 🌳?",
            "response": "" if number == 5 else f"Answer {number}. " * (1 + 60 * (number == 6)),
            "model_used": f"model-{number % 3}",
            "input_tokens": number,
            "output_tokens": 2 * number,
            "created_at": f"2026-{'10' if cold else '11'}-{10 + number}T09:30:00.123456Z",
        }


def main() -> None:
    sys.path.insert(0, str(Path.cwd()))
    import config  # noqa: F401  (installs what every entry point needs)

    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    import django

    django.setup()
    from django.core.management import call_command, get_commands
    from django.test import Client

    from storage.models import ApiKey

    folder = Path(os.environ["DATA_DIR"])
    folder.mkdir(parents=True, exist_ok=True)
    cloud = os.environ.get("ENVIRONMENT") == "production"
    if cloud:
        call_command("dynamodb_table", "create")
    call_command("migrate", verbosity=0)
    source = folder / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
    call_command("import_interactions", str(source))
    source.unlink()
    _, key = ApiKey.objects.create_key(name="kept")
    client = Client(headers={"Authorization": f"Api-Key {key}", "Host": "localhost"})
    answer = client.post(
        "/api/v1/interactions/",
        json.dumps(REQUEST),
        content_type="application/json",
        headers={"Idempotency-Key": IDEMPOTENCY_KEY},
    )
    assert answer.status_code == 201, answer.content
    page = client.get("/api/v1/interactions/?limit=4").json()
    if "archive_interactions" in get_commands():
        call_command("legal_hold", "add", "--user", "grace", "--reason", "kept")
        call_command("archive_interactions", "--now", NOW)
        if not cloud:
            call_command("backup")
    known = {"key": key, "next": page["next"], "first_page": page["results"]}
    (folder / "known.json").write_text(json.dumps(known, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
