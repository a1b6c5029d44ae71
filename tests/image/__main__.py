"""`make image-test`: builds the image and runs the tests of this folder in it.

It needs Docker or Podman, and the package index. All that differs between machines is in the
environment:

    DOCKER         the program with its global options; docker if its daemon answers, else podman
    BASE           another base image than the Dockerfile's, such as one that is here already
    BUILD_OPTIONS  further options of `build`, such as --build-arg; behind a proxy with a
                   certificate of its own, Podman takes
                   "--volume=/ca.pem:/ca.pem:ro --env=PIP_CERT=/ca.pem"
    RUN_OPTIONS    further options of `run`, such as --ulimit

Where no registry can be reached, mmdebstrap makes a base of Debian's own Python.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "localhost/chat-interaction-store:image-test"
DEBIAN = "localhost/chat-interaction-store-base:bookworm"


def docker() -> list[str]:
    """The program that runs containers."""
    if given := os.environ.get("DOCKER"):
        return shlex.split(given)
    for name in ("docker", "podman"):
        if shutil.which(name) and _succeeds([name, "info"]):
            return [name]
    sys.exit(
        "Neither Docker nor Podman answers. Install one, or name it: make image-test DOCKER=..."
    )


def base(program: list[str]) -> str:
    """The base to build on; "" for the Dockerfile's own."""
    if given := os.environ.get("BASE"):
        return given
    (default,) = [
        line.removeprefix("ARG BASE=")
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("ARG BASE=")
    ]
    if _succeeds([*program, "pull", "--quiet", f"docker.io/library/{default}"]):
        return ""
    print("The registry cannot be reached, so the base is made of Debian's packages.", flush=True)
    if not _succeeds([*program, "image", "inspect", DEBIAN]):
        _make_debian(program)
    return DEBIAN


def _make_debian(program: list[str]) -> None:
    if not shutil.which("mmdebstrap"):
        sys.exit("Install mmdebstrap, or name a base that is here: make image-test BASE=...")
    with tempfile.TemporaryDirectory() as folder:
        packages = "--include=ca-certificates,python3,python3-venv"
        archive = f"{folder}/base.tar"
        _run(["mmdebstrap", "--variant=minbase", packages, "bookworm", archive])
        _run([*program, "import", archive, DEBIAN])


def _run(words: list[str]) -> None:
    if subprocess.run(words, check=False).returncode:
        sys.exit(f"This has failed, see above: {shlex.join(words)}")


def _succeeds(words: list[str]) -> bool:
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def main(arguments: list[str]) -> int:
    """Build, then test. Returns the exit status."""
    program = docker()
    options = shlex.split(os.environ.get("BUILD_OPTIONS", ""))
    if chosen := base(program):
        options += ["--build-arg", f"BASE={chosen}"]
    if program[0].endswith("podman"):
        options += ["--format", "docker"]  # OCI's own has no health check
    _run([*program, "build", "--network", "host", *options, "--tag", IMAGE, str(ROOT)])
    pytest = [sys.executable, "-m", "pytest", "-p", "no:xdist", "tests/image", *arguments]
    environment = os.environ | {"IMAGE": IMAGE, "DOCKER": shlex.join(program)}
    return subprocess.run(pytest, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
