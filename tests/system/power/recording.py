"""What a program does to the files of a folder, call by call, by a small library before libc."""

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("recorder.c")
ROOT = Path(__file__).resolve().parents[3]

_HEADER = struct.Struct("=c7xQQQQ")
PROGRAM_SECONDS = 600


@dataclass(frozen=True)
class Event:
    """One call. `kind` is the letter by which `recorder.c` notes it."""

    kind: str
    inode: int
    offset: int
    first: bytes
    second: bytes

    @property
    def path(self) -> str:
        """Its only path, or the one before."""
        return self.first.decode()

    @property
    def new_path(self) -> str:
        """What was renamed or linked has this path now."""
        return self.second.decode()


def compiler() -> str | None:
    """The C compiler of this machine, if it has one and loads libraries before others."""
    return shutil.which("cc") if sys.platform == "linux" else None


def compiled(folder: Path) -> Path:
    """The recording library, compiled into a folder."""
    library = folder / "recorder.so"
    flags = ["-O1", "-Wall", "-Werror", "-shared", "-fPIC"]
    words = ["cc", *flags, "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(words, check=True)
    return library


def record(library: Path, root: Path, program: Sequence[str], **values: str) -> list[Event]:
    """Run a program of Python, and return what it has done below `root`."""
    log = root.with_name(f"{root.name}.events")
    result = subprocess.run(
        [sys.executable, *program],
        env=os.environ
        | values
        | {"LD_PRELOAD": str(library), "RECORD_ROOT": str(root), "RECORD_LOG": str(log)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return list(_events(log.read_bytes()))


def _events(content: bytes) -> Iterator[Event]:
    at = 0
    while at < len(content):
        kind, inode, offset, first, second = _HEADER.unpack_from(content, at)
        at += _HEADER.size
        middle, end = at + first, at + first + second
        yield Event(kind.decode(), inode, offset, content[at:middle], content[middle:end])
        at = end
