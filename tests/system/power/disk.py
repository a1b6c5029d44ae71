"""A disk, as calls change it, and what of it a power loss may leave.

As POSIX promises, and not more: what is written to a file is safe once the file is synced, and
a name once its folder is. What is not safe may be there or not, in any order, and of a write each
sector for itself. Only a rename is done or not done, as every file system has it.
"""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.system.power.recording import Event

SECTOR = 512
"""Bytes that are written whole or not at all."""

IGNORED = ("-shm",)
"""Memory that processes share, by the end of its name. SQLite makes it anew."""

_Change = tuple[int, bytes | None]
"""Bytes at an offset; or None, for an end at that offset."""


@dataclass(eq=False)
class File:
    """A file: what is safe, and what was done since."""

    safe: bytearray = field(default_factory=bytearray)
    since: list[_Change] = field(default_factory=list)

    def sync(self) -> None:
        """All of it is safe."""
        for offset, content in self.since:
            _apply(self.safe, offset, content)
        self.since.clear()

    def left(self, choice: "Choice") -> bytes:
        """What a power loss may leave of it."""
        content = bytearray(self.safe)
        for offset, change in self.since:
            if change is None:
                if choice.keeps():
                    _apply(content, offset, None)
                continue
            for at, piece in _sectors(offset, change) if choice.tears else [(offset, change)]:
                if choice.keeps():
                    _apply(content, at, piece)
        return bytes(content)


@dataclass(eq=False)
class Naming:
    """A change of names, in one folder or two: names that go, names that come."""

    gone: list[tuple["Folder", str]] = field(default_factory=list)
    come: list[tuple["Folder", str, "File | Folder"]] = field(default_factory=list)

    @property
    def folders(self) -> set["Folder"]:
        """Whose names change."""
        return {place for place, _ in self.gone} | {place for place, _, _ in self.come}


@dataclass(eq=False)
class Folder:
    """A folder: the names that are safe, those that there are, and the changes between."""

    safe: dict[str, "File | Folder"] = field(default_factory=dict)
    names: dict[str, "File | Folder"] = field(default_factory=dict)
    since: list[Naming] = field(default_factory=list)

    def sync(self) -> None:
        """All of its names are safe, and the other half of a rename is, too."""
        for naming in list(self.since):
            for folder, name in naming.gone:
                folder.safe.pop(name, None)
            for folder, name, what in naming.come:
                folder.safe[name] = what
            for folder in naming.folders:
                folder.since.remove(naming)


class Choice:
    """What one power loss keeps of all that is not safe."""

    def __init__(self, seed: str, share: float | None = None, *, tears: bool = True) -> None:
        self._random = random.Random(seed)
        self._share = self._random.choice((0.1, 0.5, 0.9)) if share is None else share
        self.tears = tears
        self._namings: dict[int, bool] = {}

    def keeps(self) -> bool:
        """Whether the next sector is kept."""
        return self._random.random() < self._share

    def keeps_naming(self, naming: Naming) -> bool:
        """Whether a change of names is, in both folders that it may be in."""
        return self._namings.setdefault(id(naming), self.keeps())


def choices(seed: str, number: int) -> Iterator[Choice]:
    """Nothing is kept, all is, and then `number` others: sectors or whole writes."""
    yield Choice(seed, 0.0)
    yield Choice(seed, 1.0)
    for index in range(number):
        yield Choice(f"{seed}/{index}", tears=index % 2 == 0)


class Disk:
    """The folder `root` of a running program, and what of it is safe."""

    def __init__(self, root: Path, *, syncs: bool = True) -> None:
        """With what is there now, all safe. Without `syncs` nothing becomes safe any more."""
        self._root = str(root)
        self._syncs = syncs
        self._inodes: dict[int, File | Folder] = {}
        self.folder = self._read(root)

    def apply(self, event: Event) -> None:
        """What one call does."""
        match event.kind:
            case "w":
                self._file(event).since.append((event.offset, event.first))
            case "t":
                self._file(event).since.append((event.offset, None))
            case "s":
                if self._syncs:
                    self._inodes[event.inode].sync()
            case "c" | "m":
                made: File | Folder = File() if event.kind == "c" else Folder()
                self._inodes[event.inode] = made
                self._name(Naming(come=[(*self._place(event.path), made)]))
            case "u":
                self._name(Naming(gone=[self._place(event.path)]))
            case "r":
                old = self._place(event.path)
                what = old[0].names[old[1]]
                self._name(Naming(gone=[old], come=[(*self._place(event.new_path), what)]))
            case "l":
                folder, name = self._place(event.path)
                self._name(Naming(come=[(*self._place(event.new_path), folder.names[name])]))

    def leave(self, target: Path, choice: Choice) -> None:
        """Write what a power loss leaves into a folder that is not there yet."""
        _write(self.folder, target, choice)

    def is_as(self, root: Path) -> list[str]:
        """The files that differ from those of `root`: none, unless a call was missed."""
        return sorted(_differences(self.folder, root))

    def _read(self, path: Path) -> Folder:
        folder = Folder()
        self._inodes[path.stat().st_ino] = folder
        for entry in path.iterdir():
            if entry.is_dir():
                folder.safe[entry.name] = self._read(entry)
            else:
                file = File(bytearray(entry.read_bytes()))
                folder.safe[entry.name] = self._inodes.setdefault(entry.stat().st_ino, file)
        folder.names = dict(folder.safe)
        return folder

    def _file(self, event: Event) -> File:
        file = self._inodes[event.inode]
        assert isinstance(file, File)
        return file

    def _place(self, path: str) -> tuple[Folder, str]:
        *above, name = os.path.relpath(path, self._root).split("/")
        folder = self.folder
        for one in above:
            found = folder.names[one]
            assert isinstance(found, Folder)
            folder = found
        return folder, name

    def _name(self, naming: Naming) -> None:
        for folder, name in naming.gone:
            del folder.names[name]
        for folder, name, what in naming.come:
            folder.names[name] = what
        for folder in naming.folders:
            folder.since.append(naming)


def _names_left(folder: Folder, choice: Choice) -> dict[str, "File | Folder"]:
    names = dict(folder.safe)
    for naming in folder.since:
        if choice.keeps_naming(naming):
            for place, name in naming.gone:
                if place is folder:
                    names.pop(name, None)
            for place, name, what in naming.come:
                if place is folder:
                    names[name] = what
    return names


def _write(folder: Folder, target: Path, choice: Choice) -> None:
    target.mkdir(mode=0o700)
    written: dict[int, Path] = {}
    for name, what in _names_left(folder, choice).items():
        path = target / name
        if isinstance(what, Folder):
            _write(what, path, choice)
        elif id(what) in written:
            path.hardlink_to(written[id(what)])
        elif not name.endswith(IGNORED):
            path.write_bytes(what.left(choice))
            path.chmod(0o600)
            written[id(what)] = path


def _differences(folder: Folder, real: Path) -> Iterator[str]:
    everything = Choice("", 1.0, tears=False)
    there = {path.name for path in real.iterdir()} if real.is_dir() else set()
    for name in there ^ set(folder.names):
        yield str(real / name)
    for name in there & set(folder.names):
        what = folder.names[name]
        if isinstance(what, Folder):
            yield from _differences(what, real / name)
        elif not name.endswith(IGNORED) and what.left(everything) != (real / name).read_bytes():
            yield str(real / name)


def _sectors(offset: int, content: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(content):
        end = at + SECTOR - (offset + at) % SECTOR
        yield offset + at, content[at:end]
        at = end


def _apply(content: bytearray, offset: int, change: bytes | None) -> None:
    if change is None:
        del content[offset:]
        content.extend(bytes(offset - len(content)))
        return
    content.extend(bytes(max(offset - len(content), 0)))
    content[offset : offset + len(change)] = change
