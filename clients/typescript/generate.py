"""Writes `schema.d.ts` from the OpenAPI schema of the application. `make client` runs it."""

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TYPES = HERE / "schema.d.ts"
HEADER = """\
// Types of the API of the chat interaction store, written by `make client`. Do not edit.
// Of the schema with the SHA-256 {digest}.
"""


def digest(schema: dict[str, Any]) -> str:
    """The SHA-256 of what the types are made of. They must be made again if it changes."""
    parts = {name: schema[name] for name in ("paths", "components")}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def types(schema: dict[str, Any]) -> str:
    """The types. Needs what `npm ci` installs."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "schema.json").write_text(json.dumps(schema), encoding="utf-8")
        program = HERE / "node_modules" / ".bin" / "openapi-typescript"
        # A field with a default may be left out of a request.
        options = ["--default-non-nullable", "false", "--root-types"]
        options += ["--root-types-no-schema-prefix"]
        made = subprocess.run(
            [program, "schema.json", *options],
            cwd=folder,
            check=True,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
    return HEADER.format(digest=digest(schema)) + made.stdout


def main() -> None:
    """Write the types of the schema as it is now."""
    command = [sys.executable, "manage.py", "spectacular", "--format", "openapi-json"]
    made = subprocess.run(command, cwd=HERE.parents[1], check=True, stdout=subprocess.PIPE)
    TYPES.write_text(types(json.loads(made.stdout)), encoding="utf-8")


if __name__ == "__main__":
    main()
