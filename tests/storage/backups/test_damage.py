"""Every flipped bit and every truncation is found, named, and never restored.

    BACKUP_EVERY_BIT=1 python -m pytest tests/storage/backups/test_damage.py

flips all eight bits of each byte of a chunk, of the list and of the manifest, one after the other,
and cuts the documents at each byte; else one bit of each byte of a sample, and the same cuts.
"""

import hashlib
import os
import random
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from storage.backups import folder as module
from storage.backups.chunks import Chunks
from storage.backups.manifests import BackupDamaged
from storage.compat import zstd
from tests import switches
from tests.storage.backups.conftest import ids, whole_file

EVERY_BIT = bool(switches.value("BACKUP_EVERY_BIT"))
SAMPLE = 64
"""Bytes of a file."""


@pytest.fixture
def manifest(backup, folder):
    return folder / f"{backup.name}.json"


@pytest.fixture
def parts(backup, folder):
    return folder / f"{backup.name}.parts"


@pytest.fixture
def chunk(backups, backup, folder):
    return folder / "chunks" / f"{backups.parts(backup).chunks[0]}.zst"


@pytest.fixture(autouse=True)
def _checksums_alone(backup, monkeypatch):
    """They must find it; SQLite's own checks would find only some of it, and late."""

    def examine(path, check_time):
        raise AssertionError(f"{path} has passed its checksums")

    monkeypatch.setattr(module, "examine", examine)


def flips(length, every_bit):
    """Positions, each with a mask of one bit."""
    if every_bit:
        return [(position, 1 << bit) for position in range(length) for bit in range(8)]
    choose = random.Random(length)
    return [(position, 1 << choose.randrange(8)) for position in sampled(length)]


def sampled(length):
    """Positions: the ends, those of SQLite's version of the file, and some between."""
    some = random.Random(length).sample(range(length), min(SAMPLE, length))
    return sorted({0, 18, 19, length - 1, *some})


def refused(backups, backup, name):
    """Asserts that the backup is refused, and `name` named."""
    with pytest.raises(BackupDamaged) as error:
        backups.verify(backup.name)
    assert error.value.name == name
    assert name in str(error.value)


@pytest.mark.parametrize("suffix", [".json", ".parts"])
def test_every_flipped_bit_of_a_document_is_found(backups, backup, folder, suffix):
    path = folder / f"{backup.name}{suffix}"
    content = path.read_bytes()
    for position, mask in flips(len(content), EVERY_BIT):
        damaged = bytearray(content)
        damaged[position] ^= mask
        path.write_bytes(damaged)
        refused(backups, backup, path.name)


@pytest.mark.parametrize("suffix", [".json", ".parts"])
def test_every_truncation_of_a_document_is_found(backups, backup, folder, suffix):
    path = folder / f"{backup.name}{suffix}"
    content = path.read_bytes()
    for length in range(len(content)) if EVERY_BIT else sampled(len(content)):
        path.write_bytes(content[:length])
        refused(backups, backup, path.name)
    path.write_bytes(content + b" ")
    refused(backups, backup, path.name)


def test_every_flipped_bit_of_a_chunk_is_found_or_changes_nothing(chunk):
    """zstd ignores a few bits of its own header."""
    chunks = Chunks(chunk.parent)
    content, ignored, named = chunks.read(chunk.stem), 0, set()
    stored = chunk.read_bytes()
    for position, mask in flips(len(stored), EVERY_BIT):
        damaged = bytearray(stored)
        damaged[position] ^= mask
        chunk.write_bytes(damaged)
        try:
            assert chunks.read(chunk.stem) == content
            ignored += 1
        except BackupDamaged as error:
            named.add(error.name)
    assert named == {f"chunks/{chunk.name}"}
    assert ignored <= 8


def test_every_truncation_of_a_chunk_is_found(backups, backup, chunk):
    stored = chunk.read_bytes()
    length = len(stored)
    for shorter in {length - 1, length - 2, length // 2, 100, 12, 1, 0}:
        chunk.write_bytes(stored[:shorter])
        refused(backups, backup, f"chunks/{chunk.name}")


def test_a_chunk_with_another_content_is_found(backups, backup, chunk):
    for other in (b"other", b"\0" * 100_000_000):
        chunk.write_bytes(zstd.compress(other))
        refused(backups, backup, f"chunks/{chunk.name}")


@pytest.mark.parametrize("missing", ["chunk", "parts"])
def test_a_missing_file_is_found(backups, backup, missing, request):
    path = request.getfixturevalue(missing)
    path.unlink()
    refused(backups, backup, f"chunks/{path.name}" if missing == "chunk" else path.name)


# Backups of earlier versions


def test_every_flipped_bit_of_a_whole_file_is_found(backups, backup, database):
    file = whole_file(backups, backup, database)
    with file.open("r+b") as damaged:
        for position, mask in flips(file.stat().st_size, every_bit=False):
            damaged.seek(position)
            (byte,) = damaged.read(1)
            _put(damaged, position, byte ^ mask)
            refused(backups, backup, file.name)
            _put(damaged, position, byte)


def _put(file, position, byte):
    file.seek(position)
    file.write(bytes([byte]))
    file.flush()


def test_a_whole_file_that_is_shorter_longer_or_missing_is_found(backups, backup, database):
    file = whole_file(backups, backup, database)
    for length in (4096, 0):
        os.truncate(file, length)
        refused(backups, backup, file.name)
    file.write_bytes(database.read_bytes() + b"\0" * 4096)
    refused(backups, backup, file.name)
    file.unlink()
    refused(backups, backup, file.name)


# The commands


def run(command, *arguments):
    """Exit status, and all that is said."""
    said = StringIO()
    try:
        call_command(command, *arguments, stdout=said, stderr=said)
    except CommandError as error:
        return error.returncode, said.getvalue() + str(error)
    except SystemExit as exit_:
        return exit_.code or 0, said.getvalue()
    return 0, said.getvalue()


@pytest.fixture
def change(request):
    """Damages one of the files; gives it."""
    path = request.getfixturevalue(request.param)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("change", ["chunk", "parts", "manifest"], indirect=True)
def test_verify_backup_and_restore_refuse_with_status_1_and_the_name(backup, database, change):
    before = hashlib.sha256(database.read_bytes()).hexdigest()
    for command, *arguments in [
        ("verify_backup", "latest"),
        ("verify_backup", "--all"),
        ("verify_backup", backup.name),
        ("restore", "latest", "--yes", "--expired"),  # as it is, by the clock of this machine
        ("restore", backup.name, "--yes", "--expired"),
    ]:
        status, said = run(command, *arguments)
        assert status == 1, command
        assert change.name in said
    assert hashlib.sha256(database.read_bytes()).hexdigest() == before
    assert ids(database)
