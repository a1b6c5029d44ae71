"""Every flipped bit and every truncation is found, named, and never restored.

    BACKUP_EVERY_BIT=1 python -m pytest tests/storage/backups/test_damage.py

flips all eight bits of each byte of the database file and of the manifest, one after the other;
else one of each byte of a sample.
"""

import hashlib
import os
import random
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from storage.archive import durable
from storage.backups import folder as module
from storage.backups.manifests import BackupDamaged
from tests import switches
from tests.storage.backups.conftest import ids

EVERY_BIT = bool(switches.value("BACKUP_EVERY_BIT"))
SAMPLE = 400
"""Bytes of the database file."""


@pytest.fixture
def manifest(backup, folder):
    return folder / f"{backup.name}.json"


@pytest.fixture
def file(backup, backups):
    return backups.path(backup.name)


@pytest.fixture(autouse=True)
def _checksums_alone(backup, monkeypatch):
    """They must find it; SQLite's own checks would find only some of it, and late."""

    def examine(path):
        raise AssertionError(f"{path} has passed its checksums")

    monkeypatch.setattr(module, "examine", examine)


def flips(length, every_bit):
    """Positions, each with a mask of one bit."""
    if every_bit:
        return [(position, 1 << bit) for position in range(length) for bit in range(8)]
    choose = random.Random(length)
    positions = {0, 18, 19, length - 1, *choose.sample(range(length), min(SAMPLE, length))}
    return [(position, 1 << choose.randrange(8)) for position in sorted(positions)]


def refused(backups, backup, name):
    """Asserts that the backup is refused, and `name` named."""
    with pytest.raises(BackupDamaged) as error:
        backups.verify(backup.name)
    assert error.value.name == name
    assert name in str(error.value)


def test_every_flipped_bit_of_the_manifest_is_found(backups, backup, manifest):
    content = manifest.read_bytes()
    for position, mask in flips(len(content), EVERY_BIT):
        damaged = bytearray(content)
        damaged[position] ^= mask
        manifest.write_bytes(damaged)
        refused(backups, backup, manifest.name)


def test_every_truncation_of_the_manifest_is_found(backups, backup, manifest):
    content = manifest.read_bytes()
    for length in range(len(content)):
        manifest.write_bytes(content[:length])
        refused(backups, backup, manifest.name)
    manifest.write_bytes(content + b" ")
    refused(backups, backup, manifest.name)


def test_every_flipped_bit_of_the_database_is_found(backups, backup, file):
    with file.open("r+b") as damaged:
        length = file.stat().st_size
        for position, mask in flips(length, EVERY_BIT):
            damaged.seek(position)
            (byte,) = damaged.read(1)
            _put(damaged, position, byte ^ mask)
            refused(backups, backup, file.name)
            _put(damaged, position, byte)
    assert durable.digest(file) == backup.sha256


def _put(file, position, byte):
    file.seek(position)
    file.write(bytes([byte]))
    file.flush()


def test_every_truncation_of_the_database_is_found(backups, backup, file):
    length = file.stat().st_size
    for shorter in {length - 1, length - 4096, length // 2, 4096, 100, 1, 0}:
        os.truncate(file, shorter)
        refused(backups, backup, file.name)


def test_a_longer_file_is_found(backups, backup, file):
    with file.open("ab") as longer:
        longer.write(b"\0" * 4096)
    refused(backups, backup, file.name)


def test_a_missing_file_is_found(backups, backup, file):
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
def change(request, file, manifest):
    """Damages one of the two; gives it."""
    path = {"file": file, "manifest": manifest}[request.param]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("change", ["file", "manifest"], indirect=True)
def test_verify_backup_and_restore_refuse_with_status_1_and_the_name(backup, database, change):
    before = hashlib.sha256(database.read_bytes()).hexdigest()
    for command, *arguments in [
        ("verify_backup", "latest"),
        ("verify_backup", "--all"),
        ("verify_backup", backup.name),
        ("restore", "latest", "--yes"),
        ("restore", backup.name, "--yes"),
    ]:
        status, said = run(command, *arguments)
        assert status == 1, command
        assert change.name in said
    assert hashlib.sha256(database.read_bytes()).hexdigest() == before
    assert ids(database)
