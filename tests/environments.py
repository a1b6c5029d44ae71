"""Virtual environments of programs whose requirements do not fit beside the project's.

    python -m tests.environments [NAME...]    makes those that are not there yet

Each is made when it is first needed, from `requirements/NAME.txt`, which takes the package index.
"""

import fcntl
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements"
USUAL = ["servers"]
"""What every run of the tests needs."""


def python(name: str) -> Path:
    """The interpreter of an environment. CalledProcessError if it could not be made."""
    requirements = REQUIREMENTS / f"{name}.txt"
    digest = sha256(requirements.read_bytes()).hexdigest()[:8]
    folder = Path(sys.prefix, "environments", f"{name}-{digest}")
    complete = folder / "complete"
    if not complete.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # test processes start at the same moment
            if not complete.exists():
                _make(folder, requirements)
                complete.touch()
    return folder / "bin" / "python"


def _make(folder: Path, requirements: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    options = ["--disable-pip-version-check", "--only-binary", ":all:", "--require-hashes"]
    subprocess.run([*pip, *options, "-r", str(requirements)], check=True)


if __name__ == "__main__":
    for name in sys.argv[1:] or USUAL:
        python(name)
