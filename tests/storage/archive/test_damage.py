"""Whatever is changed in a file of the archive is found out by all who read it, and named."""

from pathlib import Path

import msgspec
import pytest

from storage.archive import documents, names
from storage.archive.archive import Archive
from storage.archive.folder import ArchiveFolder
from storage.exceptions import DamagedArchive
from tests.storage.archive.format_1 import EarlierArchive
from tests.storage.archive.rows import DAY, fields, large_row, position, row

ROWS = [row(number, message="A marker in a message.") for number in range(3)]


@pytest.fixture
def location(tmp_path):
    return tmp_path / "archive"


@pytest.fixture
def archive(location):
    return Archive(ArchiveFolder(location))


@pytest.fixture
def segment(archive):
    name = archive.new_segment(DAY)
    archive.write(name, ROWS)
    return name


def every_flip(content):
    """The content with each of its bits turned."""
    for index in range(len(content)):
        for bit in range(8):
            yield flipped(content, index, bit)


def flips(content):
    """The content with one bit of each byte turned."""
    return (flipped(content, index, index % 8) for index in range(len(content)))


def flipped(content, index, bit):
    return content[:index] + bytes([content[index] ^ 1 << bit]) + content[index + 1 :]


def cuts(content):
    """The content cut at each place, and with something added."""
    yield from (content[:length] for length in range(len(content)))
    yield from (content + more for more in (b"\0", b"\n", b"{}", content))
    yield b" " + content


CHANGES = [flips, cuts, pytest.param(every_flip, marks=pytest.mark.exhaustive)]


def found_out(name, call):
    with pytest.raises(DamagedArchive) as caught:
        call()
    assert caught.value.name == name
    assert name in str(caught.value)
    assert "marker" not in str(caught.value)


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_the_rows_is_found_out(archive, segment, location, change):
    name = archive.manifest(segment).data
    path = Path(location, name)
    content = path.read_bytes()
    changes = list(change(content))
    assert len(changes) >= len(content) > 200
    readers = (
        lambda: list(archive.rows(segment)),
        lambda: archive.find(segment, [position(ROWS[1])]),
        lambda: next(archive.newest(segment)),
    )
    for number, changed in enumerate(changes):
        path.write_bytes(changed)
        found_out(name, lambda: archive.verify(segment))
        if len(changed) <= len(content):
            found_out(name, readers[number % 3])
        else:  # what follows its last frame
            found_out(name, readers[0])
    path.write_bytes(content)
    assert fields(archive.rows(segment)) == fields(ROWS)


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_the_manifest_is_found_out(archive, segment, location, change):
    name = f"{segment}.json"
    path = Path(location, name)
    content = path.read_bytes()
    for number, changed in enumerate(change(content)):
        path.write_bytes(changed)
        found_out(name, lambda: archive.manifest(segment))
        if not number % 97:
            for call in (
                lambda: archive.verify(segment),
                lambda: list(archive.rows(segment)),
                lambda: list(archive.newest(segment)),
                lambda: archive.find(segment, [position(ROWS[1])]),
                lambda: archive.orphans(segment),
                lambda: archive.remove_orphans(segment),
                lambda: archive.write(segment, ROWS),
            ):
                found_out(name, call)
    path.write_bytes(content)
    assert fields(archive.rows(segment)) == fields(ROWS)


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_a_document_is_found_out(archive, location, change):
    content = {"text": "\u2028 é", "number": 2**53, "list": [None, True, {"a": 1.5}]}
    archive.files.write_document("holds/x.json", content)
    path = location / "holds" / "x.json"
    document = path.read_bytes()
    for changed in change(document):
        path.write_bytes(changed)
        found_out("holds/x.json", lambda: archive.files.read_document("holds/x.json"))
    path.write_bytes(document)
    assert archive.files.read_document("holds/x.json") == content
    assert archive.files.read_document("holds/y.json") is None


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'"sha256"',
        b'{"sha256":"","content":{}}',
        b'{"content":[]}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_what_is_no_document_is_damage(document):
    with pytest.raises(DamagedArchive):
        documents.loads("x", document)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 1},
        {"format": 3},
        {"format": None},
        {"count": 4},
        {"count": "3"},
        {"bytes": 1},
        {"frames": []},
        {"frames": None},
        {"data": "2026-10-23/../secret"},
        {"data": "pending/x"},
        {"newest": "2020-01-01T00:00:00Z"},
        {"oldest": "2026-10-23T00:00:00"},
        {"oldest": "2026-10-22T00:00:00Z"},
        {"segment": "2026-10-23/01a207ac-ee83-70aa-af86-51ee41906f58"},
        {"users": {}},
        {"users": None},
        {"newest": "2026-10-23T23:00:00Z"},
        {"times": None},
        {"times": [0, 1_000_000]},
        {"times": [0, 1_000_000, 3_000_000]},
        {"key_id": "00000000"},
    ],
    ids=str,
)
def test_a_manifest_that_cannot_be_is_damage_although_its_checksum_is_right(
    archive, segment, changes
):
    name = f"{segment}.json"
    content = archive.files.read_document(name)
    archive.files.write_document(name, content | changes)
    found_out(name, lambda: archive.manifest(segment))


@pytest.mark.parametrize(
    "changes",
    [{"users": {}}, {"newest": "2026-10-23T23:00:00Z"}, {"sha256": "0" * 64}],
    ids=str,
)
def test_a_manifest_of_format_1_that_is_not_that_of_its_rows_is_damage(location, changes):
    archive = EarlierArchive(ArchiveFolder(location))
    segment = archive.new_segment(DAY)
    archive.write(segment, ROWS)
    is_found_in_the_rows(archive, segment, changes)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: {"sha256": "0" * 64},
        lambda content: {"times": content["times"][::-1]},
        lambda content: {"users": {digit * 32: 1 for digit in "abc"}},
    ],
    ids=["sha256", "times", "users"],
)
def test_a_manifest_that_is_not_that_of_its_rows_is_damage(archive, segment, change):
    changes = change(archive.files.read_document(f"{segment}.json"))
    if "users" in changes:  # as the name of the file says them, too
        changes = renamed(archive, segment, changes)
    is_found_in_the_rows(archive, segment, changes)


def renamed(archive, segment, changes):
    """The same changes, with a data file whose name agrees with them."""
    manifest = archive.manifest(segment)
    changed = msgspec.structs.replace(manifest, users=changes["users"])
    data = names.new_data(segment, changed.head())
    archive.files.write(data, archive.files.read(manifest.data))
    return changes | {"data": data}


def is_found_in_the_rows(archive, segment, changes):
    name = f"{segment}.json"
    archive.files.write_document(name, archive.files.read_document(name) | changes)
    found_out(archive.manifest(segment).data, lambda: archive.verify(segment))


def test_files_of_another_segment_are_damage(archive, segment, location):
    other = archive.new_segment(DAY)
    archive.write(other, ROWS[:2])
    mine, others = archive.manifest(segment).data, archive.manifest(other).data
    content = Path(location, mine).read_bytes()
    Path(location, mine).write_bytes(Path(location, others).read_bytes())
    found_out(mine, lambda: archive.verify(segment))
    Path(location, mine).write_bytes(content)
    Path(location, f"{segment}.json").write_bytes(Path(location, f"{other}.json").read_bytes())
    found_out(f"{segment}.json", lambda: archive.verify(segment))


def test_rows_that_are_gone_are_damage(archive, segment, location):
    name = archive.manifest(segment).data
    Path(location, name).unlink()
    found_out(name, lambda: archive.verify(segment))
    found_out(name, lambda: list(archive.rows(segment)))
    found_out(name, lambda: list(archive.newest(segment)))
    found_out(name, lambda: archive.find(segment, [position(ROWS[0])]))


@pytest.mark.parametrize("kind", [Archive, EarlierArchive])
def test_of_a_damaged_segment_only_whole_frames_are_given(location, kind):
    archive = kind(ArchiveFolder(location))
    rows = [large_row(number) for number in range(60)]
    segment = archive.new_segment(DAY)
    manifest = archive.write(segment, rows)
    path = Path(location, manifest.data)
    content = bytearray(path.read_bytes())
    damaged = manifest.frames[2]
    content[damaged.offset + damaged.length // 2] ^= 1
    path.write_bytes(content)
    given = []
    with pytest.raises(DamagedArchive):
        given.extend(archive.rows(segment))
    intact = sum(frame.count for frame in manifest.frames[:2])
    assert fields(given) in ([], fields(rows[:intact]))
    assert next(archive.newest(segment)) == rows[-1]
    unread = [each for each in rows if is_found(archive, segment, each)]
    assert len(unread) == len(rows) - damaged.count


def is_found(archive, segment, each):
    try:
        return fields(archive.find(segment, [position(each)]).values()) == fields([each])
    except DamagedArchive:
        return False
