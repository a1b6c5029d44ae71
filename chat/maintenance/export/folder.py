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
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import msgspec

from chat.maintenance.damage import Damage
from chat.maintenance.export.exporting import Progress, kept_besides, pages_of
from chat.maintenance.runs import Run
from storage.archive import documents, durable
from storage.archive.frames import FrameWriter, WrittenFrame
from storage.compat import zstd
from storage.exceptions import DamagedArchive, StorageError
from storage.interface import Storage
from storage.models import ChatInteraction
from storage.records.cursors import Position
from storage.records.json import format_time, from_json, to_json

DATA = "interactions.jsonl.zst"
STATE = "unfinished.json"
MANIFEST = "manifest.json"

FORMAT = 1

FRAMES_AT_ONCE = 16
"""Frames between two points from which an export that was stopped can be resumed."""


class _Key(msgspec.Struct):
    """The fields of a line that are decoded to know what an export has."""

    interaction_id: str
    created_at: datetime


_KEYS = msgspec.json.Decoder(_Key)


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
    storage: Storage, user_id: str, folder: Path | None, run: Run, report: Exported, *, force: bool
) -> None:
    """Write the export of a user, or resume one that was stopped. Counts in `report` as it goes.

    If the run ends at its time limit, the next one resumes it. With `force`, an export that the
    folder has is deleted first. Hot interactions whose
    large texts are damaged are left out; the manifest names the objects, and DamagedArchive is
    raised at the end. Raises ExportRefused, DamagedExport and OSError.
    """
    with Damage() as damage:
        _export(storage, user_id, folder, run, report, damage, force=force)


def _export(
    storage: Storage,
    user_id: str,
    folder: Path | None,
    run: Run,
    report: Exported,
    damage: Damage,
    *,
    force: bool,
) -> None:
    progress = Progress(run.is_over)
    if run.dry_run:
        if folder is not None and folder.is_dir():
            _refuse_others(folder)
            if not force:
                _unfinished(folder, user_id)
        pages = pages_of(storage, user_id, run.batch_size, progress=progress, damage=damage)
        for page in pages:
            report.exported += len(page)
            run.step(report.exported)
        return
    assert folder is not None  # only a dry run needs none
    with _owned(folder):
        if force:
            # The manifest goes first: without it, the other files are not taken for an export.
            durable.remove(*_paths(folder, MANIFEST, STATE, DATA))
        state = _begun(folder, user_id, run.now)
        with _opened(folder, state) as (file, whole):
            writer = _Writer(folder, file, whole, state)
            exported = [*_written(file, state), *map(_position_in, state["begun"])]
            pages = pages_of(
                storage,
                user_id,
                run.batch_size,
                before=writer.reached,
                exported=exported,
                progress=progress,
                damage=damage,
            )
            for page in pages:
                for row in page:
                    if writer.add(row):
                        report.exported, report.bytes = state["count"], state["bytes"]
                        if not progress.is_closing:
                            writer.step(run)
                writer.reach(progress.reached)
                if not progress.is_closing:
                    writer.step(run)
            writer.finish()
        report.exported, report.bytes, report.remaining = state["count"], state["bytes"], 0
        _complete(storage, folder, state, run.now, damage)


def verify(folder: Path, report: Exported) -> None:
    """Compare an export with its manifest. Raises DamagedExport if they differ, and OSError."""
    manifest = _document(folder, MANIFEST)
    if manifest is None:
        is_unfinished = (folder / STATE).exists()
        why = "it is not there" + (", because the export is not complete" if is_unfinished else "")
        raise DamagedExport(MANIFEST, why)
    said = manifest["interactions"]
    try:
        sha256 = durable.digest(folder / DATA)
    except FileNotFoundError:
        raise DamagedExport(DATA, "it is not there") from None
    if sha256 != said["sha256"]:
        raise DamagedExport(DATA, "its checksum is not that of the manifest")
    report.exported, report.bytes, report.remaining = said["count"], said["bytes"], 0


class _Writer:
    """Appends rows to the data file, and records in `state` what the file has."""

    def __init__(self, folder: Path, file: IO[bytes], whole: Any, state: documents.Content) -> None:
        self._folder = folder
        self._file = file
        self._state = state
        self._writer = FrameWriter(file, offset=state["bytes"], whole=whole)
        self._frames = self._saved_frames = 0
        self._last = _position(state["last"])
        self.reached = _position(state["reached"]) or self._last
        """The export has what is above it."""
        for line in state["begun"]:
            self._writer.add(line.encode() + b"\n")
            self._note(from_json(line.encode()))

    def add(self, row: ChatInteraction) -> bool:
        """Add the next row. Returns whether the frame before it is now complete and written."""
        line = to_json(row)
        frame = self._writer.add(line + b"\n")
        if frame is not None:
            self._record(frame)
        self._state["begun"].append(line.decode())
        self._note(row)
        return frame is not None

    def reach(self, position: Position | None) -> None:
        """Note that all rows above a position were added."""
        if position is not None:
            self.reached = min(self.reached or position, position)

    def _note(self, row: ChatInteraction) -> None:
        # What comes out of order, because it changed tiers, may be newer than what came before.
        self._last = min(self._last or row.position, row.position)
        self.reach(row.position)
        self._state["newest"] = max(self._state["newest"] or "", format_time(row.created_at))

    def step(self, run: Run) -> None:
        """Take a step of the run. If the run ends there, the state is saved for the next one."""
        try:
            run.step(self._state["count"])
        except BaseException:
            self._save()
            raise
        if self._frames >= self._saved_frames + FRAMES_AT_ONCE:
            self._save()
            self._saved_frames = self._frames

    def finish(self) -> None:
        """Write the last frame. A file without rows has one empty frame."""
        if self._writer.has_lines or not self._state["bytes"]:
            self._record(self._writer.end_frame())
        self._sync()

    def _record(self, frame: WrittenFrame) -> None:
        self._state["bytes"] = self._writer.offset
        self._state["count"] += frame.count
        self._state["sha256"] = self._writer.whole.hexdigest()
        self._state["begun"] = []
        self._state["last"] = _as_list(self._last)
        self._frames += 1

    def _save(self) -> None:
        self._sync()
        self._state["reached"] = _as_list(self.reached)
        _write(self._folder / STATE, self._state)

    def _sync(self) -> None:
        self._file.flush()
        durable.sync(self._folder / DATA)


@contextmanager
def _owned(folder: Path) -> Iterator[None]:
    """Make the folder private, create it if needed, and lock it against other exports."""
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _refuse_others(folder)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ExportRefused(f"Another export is being written to {folder}.") from None
        os.fchmod(descriptor, 0o700)
        yield
    finally:
        os.close(descriptor)


def _refuse_others(folder: Path) -> None:
    others = sorted(set(folder.iterdir()).difference(_paths(folder, DATA, STATE, MANIFEST)))
    if others:
        raise ExportRefused(f"{folder} has other files, as {others[0].name}; take a new folder.")


def _paths(folder: Path, *names: str) -> Iterator[Path]:
    """The files of these names; after each one the file that it is written to at first."""
    for name in names:
        yield folder / name
        yield durable.partial_of(folder / name)


def _begun(folder: Path, user_id: str, now: datetime) -> documents.Content:
    """The state of the unfinished export in a folder, or that of a new one."""
    empty = {
        "format": FORMAT,
        "user_id": user_id,
        "started_at": format_time(now),
        "count": 0,
        "bytes": 0,
        "sha256": hashlib.sha256().hexdigest(),
        "newest": None,
        "last": None,  # the position of the last row in the data file
        "begun": [],  # lines of the next frame
        "reached": None,  # the position above which nothing is missing
    }
    unfinished = _unfinished(folder, user_id)
    if unfinished is None:
        _write(folder / STATE, empty)
    return empty | (unfinished or {})


def _unfinished(folder: Path, user_id: str) -> documents.Content | None:
    """The state of the unfinished export in a folder, or None. Raises ExportRefused."""
    if (folder / MANIFEST).exists():
        raise ExportRefused(f"{folder} has a complete export; take another folder, or --force.")
    state = _document(folder, STATE)
    if state is not None and state["user_id"] != user_id:
        raise ExportRefused(f"{folder} has an unfinished export of another user.")
    return state


@contextmanager
def _opened(folder: Path, state: documents.Content) -> Iterator[tuple[IO[bytes], Any]]:
    """The data file, truncated to what the state says, and the checksum of what it has."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    with os.fdopen(os.open(folder / DATA, flags, 0o600), "r+b") as file:
        os.fchmod(file.fileno(), 0o600)
        is_whole = os.fstat(file.fileno()).st_size >= state["bytes"]
        if is_whole:  # truncate would fill what is missing with zeros
            file.truncate(state["bytes"])
        whole = hashlib.file_digest(file, "sha256")
        if not is_whole or whole.hexdigest() != state["sha256"]:
            raise DamagedExport(DATA, f"its first {state['bytes']} bytes are not what was written")
        yield file, whole


def _written(file: IO[bytes], state: documents.Content) -> Iterator[Position]:
    """The positions of the interactions in a data file, which is read to its end."""
    if state["bytes"]:
        file.seek(0)
        yield from map(_position_in, zstd.open(file))


def _position_in(line: str | bytes) -> Position:
    key = _KEYS.decode(line)
    return key.created_at, key.interaction_id


def _position(known: Any) -> Position | None:
    return known and (datetime.fromisoformat(known[0]), known[1])


def _as_list(position: Position | None) -> list[str] | None:
    return position and [format_time(position[0]), position[1]]


def _complete(
    storage: Storage, folder: Path, state: documents.Content, now: datetime, damage: Damage
) -> None:
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
    if damage.found:
        manifest["damaged"] = sorted({each.name for each in damage.found})
    _write(folder / MANIFEST, manifest)
    durable.remove(*_paths(folder, STATE))


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


def _write(path: Path, content: documents.Content) -> None:
    durable.write(path, documents.dumps(content))
