"""`make platforms`: asks the package index whether every pin has a wheel on each platform.

It needs the network, so it is no part of the tests. It builds and installs nothing.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PYTHONS = ("3.11", "3.12", "3.13", "3.14")

PLATFORMS = {
    "Linux x86_64, glibc": "x86_64-manylinux_2_28",
    "Linux x86_64, musl": "x86_64-unknown-linux-musl",
    "Linux aarch64, glibc": "aarch64-manylinux_2_28",
    "Linux aarch64, musl": "aarch64-unknown-linux-musl",
    "macOS arm64": "aarch64-apple-darwin",
}
"""What they are called in the README, and by uv."""


IN_THE_IMAGE = ("base", "production", "tracing")
"""The requirements that the Dockerfile installs, on Linux with glibc."""


def missing(python: str, platform: str, names: Sequence[str]) -> str:
    """What uv says of the pins that have no wheel there; "" if all have one."""
    files = [f"--requirements={ROOT / 'requirements' / name}.txt" for name in names]
    with tempfile.TemporaryDirectory() as folder:
        result = subprocess.run(
            [
                *(str(Path(sys.executable).parent / "uv"), "pip", "install", "--dry-run"),
                *("--quiet", "--target", folder, "--only-binary", ":all:", "--require-hashes"),
                *("--python-version", python, "--python-platform", platform),
                *files,
            ],
            capture_output=True,
            text=True,
        )
    return "" if result.returncode == 0 else " ".join(result.stderr.split())


def main() -> int:
    """Print a line for each combination. Returns the exit status."""
    status = 0
    for name, platform in PLATFORMS.items():
        for python in PYTHONS:
            names = IN_THE_IMAGE if name.endswith(", glibc") else IN_THE_IMAGE[:1]
            problem = missing(python, platform, names)
            print(f"Python {python}, {name}: {problem or 'every pin has a wheel'}", flush=True)
            status |= bool(problem)
    return status


if __name__ == "__main__":
    sys.exit(main())
