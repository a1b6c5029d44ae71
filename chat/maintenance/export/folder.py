"""The export of a user as a folder: interactions as lines of JSON, and a manifest.

    interactions.jsonl.zst   newest first; what changed tiers during the export may come last;
                             frames of zstd, each with its checksum
    unfinished.json          how far the export is; deleted when it is complete
    manifest.json            what the export has; written when it is complete

Where a frame ends depends on the rows alone. So an export that was stopped and resumed is byte for
byte what it would have been without the stop, if no row has changed. Only the owner may read the
files.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import IO, Any

from backports import zstd

from chat.maintenance.export.exporting import kept_besides, pages_of
from chat.maintenance.runs import Run
from storage.archive import documents
from storage.exceptions import DamagedArchive, StorageError
from storage.interface import Storage
from storage.models import ChatInteraction
from storage.records.cursors import Position
from storage.records.json import format_time, to_json

DATA = "interactions.jsonl.zst"
STATE = "unfinished.json"
MANIFEST = "manifest.json"
PARTIAL = ".partial"

FORMAT = 1

FRAME_BYTES = 256 * 1024
"""JSON in a frame, before it is compressed. A larger row has a frame of its own."""

FRAMES_AT_ONCE = 16
"""Frames between two points from which an export that was stopped can be resumed."""

READ_BYTES = 1024 * 1024

_OPTIONS: dict[int, int] = {zstd.CompressionParameter.checksum_flag: 1}


class ExportRefused(StorageError):
    """The export may not be written to the folder. The message says why."""


class DamagedExport(StorageError):
    """A file of an export is not as it was written. Make the export again, with `--force`."""

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        super().__init__(f"{name} is damaged: {problem}. Make the export again, with --force.")


@dataclass
class Exported:
    """What a run of export_user has done."""

    exported: int = 0
    """Interactions in the export so far, including those of earlier runs."""
    bytes: int = 0
    remaining: int | None = None
    """Unknown until the export is complete."""


def export(
    storage: Storage, user_id: str, folder: Path, run: Run, report: Exported, *, force: bool
) -> None:
    """Write the export of a user, or resume one that was stopped. Counts in `report` as it goes.

    If the run ends at its time limit, the next one resumes it. With `force`, an export that the
    folder has is deleted first. Raises ExportRefused, DamagedExport and OSError.
    """
    if run.dry_run:
        for page in pages_of(storage, user_id, run.batch_size):
            report.exported += len(page)
            run.step(report.exported)
        return
    with _owned(folder):
        if force:
            _clear(folder)
        state = _begun(folder, user_id, run.now)
        with _opened(folder, state) as (file, whole):
            exported: Iterable[str] = _ids(file) if state["bytes"] else ()
            writer = _FrameWriter(folder, file, whole, state)
            pages = pages_of(
                storage, user_id, run.batch_size, before=writer.last, exported=exported
            )
            for row in chain.from_iterable(pages):
                if writer.add(row):
                    report.exported, report.bytes = state["count"], state["bytes"]
                    writer.step(run)
            writer.finish()
        report.exported, report.bytes, report.remaining = state["count"], state["bytes"], 0
        _complete(storage, folder, state, run.now)


def verify(folder: Path, report: Exported) -> None:
    """Compare an export with its manifest. Raises DamagedExport if they differ, and OSError."""
    manifest = _document(folder, MANIFEST)
    if manifest is None:
        is_unfinished = (folder / STATE).exists()
        why = "it is not there" + (", because the export is not complete" if is_unfinished else "")
        raise DamagedExport(MANIFEST, why)
    said = manifest["interactions"]
    try:
        with (folder / DATA).open("rb") as file:
            found = _digest(file, said["bytes"])
            is_longer = bool(file.read(1))
    except FileNotFoundError:
        raise DamagedExport(DATA, "it is not there") from None
    if is_longer or found.hexdigest() != said["sha256"]:
        raise DamagedExport(DATA, "its checksum is not that of the manifest")
    report.exported, report.bytes, report.remaining = said["count"], said["bytes"], 0


class _FrameWriter:
    """Appends frames to the data file, and records in `state` what the file has."""

    def __init__(self, folder: Path, file: IO[bytes], whole: Any, state: documents.Content) -> None:
        self._folder = folder
        self._file = file
        self._whole = whole
        self._state = state
        self._lines: list[bytes] = []
        self._size = 0
        self._frames = 0
        last = state["last"]
        self.last: Position | None = last and (datetime.fromisoformat(last[0]), last[1])

    def add(self, row: ChatInteraction) -> bool:
        """Add the next row. Returns whether the frame before it is now complete and written."""
        line = to_json(row) + b"\n"
        is_full = bool(self._lines) and self._size + len(line) > FRAME_BYTES
        if is_full:
            self._end_frame()
        self._lines.append(line)
        self._size += len(line)
        # What comes out of order, because it changed tiers, may be newer than what came before.
        self.last = min(self.last or row.position, row.position)
        self._state["newest"] = max(self._state["newest"] or "", format_time(row.created_at))
        return is_full

    def step(self, run: Run) -> None:
        """Take a step of the run. If the run ends there, the state is saved for the next one."""
        try:
            run.step(self._state["count"])
        except BaseException:
            self._save()
            raise
        if self._frames % FRAMES_AT_ONCE == 0:
            self._save()

    def finish(self) -> None:
        """Write the last frame. A file without rows has one empty frame."""
        if self._lines or not self._state["bytes"]:
            self._end_frame()
        _sync(self._file)

    def _end_frame(self) -> None:
        frame = zstd.compress(b"".join(self._lines), options=_OPTIONS)
        self._file.write(frame)
        self._whole.update(frame)
        self._state["bytes"] += len(frame)
        self._state["count"] += len(self._lines)
        self._state["sha256"] = self._whole.hexdigest()
        if self.last is not None:
            self._state["last"] = [format_time(self.last[0]), self.last[1]]
        self._lines, self._size = [], 0
        self._frames += 1

    def _save(self) -> None:
        _sync(self._file)
        _write(self._folder, STATE, self._state)


@contextmanager
def _owned(folder: Path) -> Iterator[None]:
    """Make the folder private, create it if needed, and lock it against other exports."""
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        ours = {name + end for name in (DATA, STATE, MANIFEST) for end in ("", PARTIAL)}
        others = sorted(file.name for file in folder.iterdir() if file.name not in ours)
        if others:
            raise ExportRefused(f"{folder} has other files, as {others[0]}; take a new folder.")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ExportRefused(f"Another export is being written to {folder}.") from None
        os.fchmod(descriptor, 0o700)
        yield
    finally:
        os.close(descriptor)


def _clear(folder: Path) -> None:
    # The manifest goes first: without it, the other files are not taken for an export.
    for name in (MANIFEST, STATE, DATA):
        _remove(folder, name)


def _begun(folder: Path, user_id: str, now: datetime) -> documents.Content:
    """The state of the unfinished export in a folder, or that of a new one."""
    if (folder / MANIFEST).exists():
        raise ExportRefused(f"{folder} has a complete export; take another folder, or --force.")
    state = _document(folder, STATE)
    if state is None:
        state = {
            "format": FORMAT,
            "user_id": user_id,
            "started_at": format_time(now),
            "count": 0,
            "bytes": 0,
            "sha256": hashlib.sha256().hexdigest(),
            "newest": None,
            "last": None,
        }
        _write(folder, STATE, state)
    elif state["user_id"] != user_id:
        raise ExportRefused(f"{folder} has an unfinished export of another user.")
    return state


@contextmanager
def _opened(folder: Path, state: documents.Content) -> Iterator[tuple[IO[bytes], Any]]:
    """The data file, truncated to what the state says, and the checksum of what it has."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    with os.fdopen(os.open(folder / DATA, flags, 0o600), "r+b") as file:
        os.fchmod(file.fileno(), 0o600)
        whole = _digest(file, state["bytes"])
        if whole.hexdigest() != state["sha256"]:
            raise DamagedExport(DATA, f"its first {state['bytes']} bytes are not what was written")
        file.truncate(state["bytes"])
        yield file, whole


def _ids(file: IO[bytes]) -> set[str]:
    """The ids of the interactions in a data file, which is read to its end."""
    file.seek(0)
    return {json.loads(line)["interaction_id"] for line in zstd.open(file)}


def _complete(storage: Storage, folder: Path, state: documents.Content, now: datetime) -> None:
    manifest = {
        "format": FORMAT,
        "user_id": state["user_id"],
        "started_at": state["started_at"],
        "exported_at": format_time(now),
        "interactions": {
            "file": DATA,
            "count": state["count"],
            "bytes": state["bytes"],
            "sha256": state["sha256"],
            "newest": state["newest"],
            "oldest": state["last"] and state["last"][0],
        },
        **kept_besides(storage, state["user_id"]),
    }
    _write(folder, MANIFEST, manifest)
    _remove(folder, STATE)


def _document(folder: Path, name: str) -> documents.Content | None:
    try:
        content = documents.loads(name, (folder / name).read_bytes())
    except FileNotFoundError:
        return None
    except DamagedArchive:
        raise DamagedExport(name, "its checksum is not that of its content") from None
    if content.get("format") != FORMAT:
        raise DamagedExport(name, "it is of a format that this version does not know")
    return content


def _write(folder: Path, name: str, content: documents.Content) -> None:
    """Write or replace a document in one step."""
    partial = folder / f"{name}{PARTIAL}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with os.fdopen(os.open(partial, flags, 0o600), "wb") as file:
        file.write(documents.dumps(content))
        _sync(file)
    partial.replace(folder / name)
    _sync_folder(folder)


def _remove(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    (folder / f"{name}{PARTIAL}").unlink(missing_ok=True)
    _sync_folder(folder)


def _digest(file: IO[bytes], length: int) -> Any:
    """The checksum of the next `length` bytes of a file, or of fewer if it ends before."""
    digest = hashlib.sha256()
    while length and (content := file.read(min(length, READ_BYTES))):
        digest.update(content)
        length -= len(content)
    return digest


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
