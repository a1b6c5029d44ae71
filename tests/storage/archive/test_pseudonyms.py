"""Manifests find a user by a keyed hash, also by one of an earlier key, or say they cannot."""

import string

import pytest

from storage.archive import manifests, pseudonyms
from storage.archive.archive import Archive
from storage.archive.folder import ArchiveFolder
from storage.archive.pseudonyms import Sought
from tests.storage.archive.rows import DAY, row


@pytest.fixture
def archive(tmp_path, settings):
    settings.SECRET_KEY = "first"
    settings.SECRET_KEY_FALLBACKS = []
    return Archive(ArchiveFolder(tmp_path))


@pytest.fixture
def segment(archive):
    segment = archive.new_segment(DAY)
    archive.write(segment, [row(0, user_id="ada"), row(1, user_id="bob"), row(2, user_id="ada")])
    return segment


def may_hold(archive, segment, *users):
    manifest = archive.manifest(segment)
    return [manifest.may_hold(user) for user in users]


def test_a_pseudonym_is_hexadecimal_and_of_one_user_and_one_key(settings):
    made = set()
    for key in ("first", "second"):
        settings.SECRET_KEY = key
        for user in ("ada", "Ada", "ada ", "é", "e\u0301"):
            made.add(pseudonyms.pseudonym(user))
            assert pseudonyms.pseudonym(user) == pseudonyms.pseudonym(user)
        made.add(pseudonyms.key_id())
    assert sorted(map(len, made)) == [8] * 2 + [32] * 10
    assert set("".join(made)) <= set(string.hexdigits.lower())


def test_users_are_found(archive, segment):
    assert archive.manifest(segment).users == {
        pseudonyms.pseudonym("ada"): 2,
        pseudonyms.pseudonym("bob"): 1,
    }
    assert may_hold(archive, segment, "ada", "bob", "eve") == [True, True, False]


def test_users_are_found_by_an_earlier_key(archive, segment, settings):
    settings.SECRET_KEY = "second"
    settings.SECRET_KEY_FALLBACKS = ["other", "first"]
    assert may_hold(archive, segment, "ada", "eve") == [True, False]
    assert len(pseudonyms.all_pseudonyms("ada")) == 3
    assert archive.verify(segment)


def test_without_the_key_any_user_may_be_there(archive, segment, settings):
    settings.SECRET_KEY = "second"
    assert may_hold(archive, segment, "ada", "eve") == [True, True]
    assert archive.verify(segment)


def test_users_are_found_and_removed_whatever_the_key_was(archive, segment, settings):
    later = archive.new_segment(DAY)
    for key, fallbacks in (("second", ["first"]), ("third", ["second"])):
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = key, fallbacks
        archive.write(later, [row(3, user_id="ada"), row(4, user_id="eve")])
        found = dict(archive.segments_of(["ada", "bob"]))
        assert set(found[segment]) == {"ada", "bob"}  # the third does not know, so anyone may be
        assert found[later] == ["ada"]
        assert archive.ids_of(segment, ["ada", "eve"]) == {"ada": ["i000000", "i000002"]}
        assert "bob" in {each.user_id for each in archive.newest(segment, sought=Sought(["bob"]))}

    def others(rows):
        return [each for each in rows if each.user_id != "ada"]

    assert archive.rewrite(segment, others, ["ada"]) == (1, 2)
    settings.SECRET_KEY = "first"
    assert archive.verify(segment)
    assert may_hold(archive, segment, "ada", "bob") == [False, True]


def test_a_rewritten_segment_has_the_key_of_today(archive, segment, settings):
    settings.SECRET_KEY = "second"
    archive.write(segment, archive.rows(segment))
    assert may_hold(archive, segment, "ada", "eve") == [True, False]


def test_neither_manifest_nor_frame_says_what_it_holds(archive, segment):
    manifest = archive.manifest(segment)
    assert repr(manifest) == f"<Manifest of {segment}>"
    assert repr(manifest.frames[0]) == "<Frame at 0>"
    assert manifest.format == manifests.FORMAT
    assert manifest.segment.startswith(DAY.isoformat())
