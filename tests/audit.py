"""`make audit`: asks PyPI for known vulnerabilities of everything that is pinned.

Exit status 0: none is known. 1: there are some, each a line. 2: some of it could not be judged.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = [f"requirements/{name}.txt" for name in ("production", "tracing", "dev", "servers")]
PROGRAM = [str(Path(sys.executable).with_name("uv")), "tool", "run", "--quiet"]
PROGRAM += ["--from", "pip-audit==2.10.1", "pip-audit", "--strict", "--disable-pip"]
PROGRAM += ["--require-hashes", "--progress-spinner", "off", "--format", "json"]


class NotJudged(Exception):
    """There is no answer about the packages; the message says why."""


def findings(output: str, errors: str) -> list[str]:
    """What pip-audit has found, a line each. Raises NotJudged if it could not ask.

    It ends with status 1 either way.
    """
    try:
        packages = json.loads(output)["dependencies"]
    except ValueError:
        said = errors.strip().splitlines() or ["pip-audit said nothing"]
        raise NotJudged(said[-1].removeprefix("ERROR:pip_audit._cli:")) from None
    return [
        f"{package['name']} {package['version']}: {vulnerability['id']}, "
        f"mended in {', '.join(vulnerability['fix_versions']) or 'no release'}"
        for package in packages
        for vulnerability in package["vulns"]
    ]


def main() -> int:
    status = 0
    for file in FILES:
        done = subprocess.run(
            [*PROGRAM, "-r", file], cwd=ROOT, capture_output=True, text=True, check=False
        )
        try:
            found = findings(done.stdout, done.stderr)
        except NotJudged as error:
            print(f"{file}: NOT JUDGED, the package index could not be asked: {error}")
            status = status or 2
        else:
            for line in found or ["nothing known"]:
                print(f"{file}: {line}")
            status = 1 if found else status
    return status


if __name__ == "__main__":
    sys.exit(main())
