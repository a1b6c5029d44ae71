"""An object with large texts gives back what was written, or says what is wrong with it."""

import dataclasses
import hashlib
import threading

import pytest

from storage.compat import zstd
from storage.exceptions import DamagedArchive, StorageFull, StorageUnavailable
from storage.large import packing, texts
from storage.large.objects import LargeObjects
from storage.large.texts import TextObject

MESSAGE, RESPONSE = "Grüße, 世界 🎉 " * 10_000, "an answer " * 20_000
WHO = ("ada@example.com", "conversation 7")


@pytest.fixture
def kept(large):
    return large.write(*WHO, MESSAGE, RESPONSE)


def forge(files, kept, content):
    """Puts other content in the place of an object. Returns the reference that believes it."""
    files.write(kept.name, content)
    return dataclasses.replace(kept, sha256=hashlib.sha256(content).hexdigest())


def test_what_was_written_is_read(large, kept):
    assert large.read(*WHO, kept) == (MESSAGE, RESPONSE)
    assert large.read(*WHO, TextObject.loads(kept.dumps())) == (MESSAGE, RESPONSE)
    assert kept.bytes == len((MESSAGE + RESPONSE).encode())
    assert kept.characters == len(MESSAGE + RESPONSE)


@pytest.mark.parametrize(("message", "response"), [("", "only"), ("only", ""), ("", "")])
def test_one_of_both_may_be_empty(large, message, response):
    kept = large.write(*WHO, message, response)
    assert large.read(*WHO, kept) == (message, response)


def test_longest_ids_fit_the_head(large):
    who = ("\u2028" * 255, "\U0001f600" * 255)
    kept = large.write(*who, "m", "r")
    assert large.read(*who, kept) == ("m", "r")


def test_no_name_is_written_twice_or_tells_who_it_is(large, kept, files):
    again = large.write(*WHO, MESSAGE, RESPONSE)
    assert again.name != kept.name
    assert again.place == kept.place
    assert not any(part in kept.name for part in ("ada", "example", "conversation"))
    assert large.read(*WHO, kept) == (MESSAGE, RESPONSE)


def test_another_key_and_a_forgotten_one_lose_nothing(large, kept, settings):
    settings.SECRET_KEY = "another key, and the one before is forgotten"
    assert large.read(*WHO, kept) == (MESSAGE, RESPONSE)
    assert large.write(*WHO, "m", "r").place != kept.place


def test_many_are_read_in_their_order_and_those_gone_are_none(large, kept):
    others = [large.write(WHO[0], f"{number}", "m" * number, "r") for number in range(20)]
    wanted = [(WHO[0], f"{number}", other) for number, other in enumerate(others)]
    large.remove([wanted[3][-1]])
    found = large.read_many([(*WHO, kept), *wanted])
    assert found[0] == (MESSAGE, RESPONSE)
    assert found[4] is None
    assert [pair and len(pair[0]) for pair in found[1:]] == [
        None if number == 3 else number for number in range(20)
    ]
    assert large.read_many([]) == []
    assert large.read_many(wanted[3:4]) == [None]


def many(count):
    return [(WHO[0], f"{number}", "m" * number, "r") for number in range(count)]


def test_many_are_written_side_by_side_in_their_order(large, backend, monkeypatch):
    """Each waits for three others, and would wait for ever if there were none."""
    together, save = threading.Barrier(texts.SIDE_BY_SIDE), backend.save
    under_way, most = [], []

    def meet(*args):
        under_way.append(None)
        together.wait(60)
        most.append(len(under_way))
        save(*args)
        under_way.pop()

    monkeypatch.setattr(backend, "save", meet)
    written = large.write_many(many(8))
    assert max(most) == texts.SIDE_BY_SIDE
    found = [large.read(*wanted[:2], kept) for wanted, kept in zip(many(8), written, strict=True)]
    assert found == [wanted[2:] for wanted in many(8)]
    assert large.write_many([]) == []


def test_if_one_of_many_cannot_be_written_none_is_left(large, files, backend, monkeypatch):
    save, saved = backend.save, []

    def full(name, content):
        saved.append(name)
        if len(saved) == 3:
            raise OSError(28, "No space left on device")
        save(name, content)

    monkeypatch.setattr(backend, "save", full)
    with pytest.raises(StorageFull):
        large.write_many(many(20))
    assert len(saved) >= 3
    assert list(LargeObjects(files).listed()) == []


def test_what_is_removed_is_gone_and_removing_again_is_no_error(large, kept, files):
    large.remove([kept])
    assert large.read(*WHO, kept) is None
    assert files.read(kept.name) is None
    large.remove([kept])


def damaged(large, kept, who=WHO):
    with pytest.raises(DamagedArchive) as caught:
        large.read(*who, kept)
    with pytest.raises(DamagedArchive):
        large.read_many([(*who, kept)] * 2)
    assert caught.value.name == kept.name
    assert not any(part in str(caught.value) for part in (*WHO, "answer"))
    return str(caught.value)


@pytest.mark.parametrize("cut", [0, 10, -30, -1])
def test_a_truncated_object_is_damage(large, kept, files, cut):
    content = files.read(kept.name)[:cut]
    files.write(kept.name, content)
    assert "checksum" in damaged(large, kept)
    assert "damaged" in damaged(large, forge(files, kept, content))


def test_other_bytes_are_damage(large, kept, files):
    content = bytearray(files.read(kept.name))
    content[len(content) // 2] ^= 1
    files.write(kept.name, bytes(content))
    assert "checksum" in damaged(large, kept)


def test_another_length_is_damage(large, kept, files):
    assert "length" in damaged(large, dataclasses.replace(kept, bytes=kept.bytes - 1))
    files.write(kept.name, files.read(kept.name) + b"0" * packing.most_bytes(kept.bytes))
    assert "length" in damaged(large, kept)


def test_the_object_of_another_interaction_is_damage(large, kept):
    assert "another interaction" in damaged(large, kept, (WHO[0], "conversation 8"))
    assert "another interaction" in damaged(large, kept, ("bob", WHO[1]))


def test_a_bomb_is_not_unpacked(large, kept, files, monkeypatch):
    head = zstd.compress(b'["conversation 7","ada@example.com",%d,0]\n' % kept.bytes)
    bomb = head + zstd.compress(bytes(64 * 1024 * 1024))
    sizes = []
    frame = packing._frame

    def measured(content, at_most):
        text, after = frame(content, at_most)
        sizes.append(len(text))
        return text, after

    monkeypatch.setattr(packing, "_frame", measured)
    assert "longer than it should be" in damaged(large, forge(files, kept, bomb))
    huge_head = zstd.compress(bytes(64 * 1024 * 1024))
    assert "longer than it should be" in damaged(large, forge(files, kept, huge_head))
    assert max(sizes) <= kept.bytes + 1


def test_a_forged_head_is_damage(large, kept, files):
    for head in (
        b"[]",
        b"{}",
        b'["a","b","c","d"]',
        b'["a","b",1]',
        b"[1,2,3,4]",
        b'["a","b",-1,1]',
    ):
        content = zstd.compress(head) + zstd.compress(b"x" * kept.bytes)
        assert "damaged" in damaged(large, forge(files, kept, content))


@pytest.mark.parametrize(
    "value",
    [
        "",
        "nonsense",
        "../x/0 1 1 0",
        "00000000/" + "0" * 32 + "/" + "../" * 10 + "00 1 1 " + "0" * 64,
    ],
)
def test_what_is_no_reference_is_refused(value):
    with pytest.raises(ValueError, match="reference"):
        TextObject.loads(value)


def fail_with(monkeypatch, backend, name, error):
    def fail(*args):
        raise error

    monkeypatch.setattr(backend, name, fail)


def test_errors_of_the_backend(large, kept, backend, monkeypatch, caplog):
    fail_with(monkeypatch, backend, "save", OSError(28, "No space left on device"))
    with pytest.raises(StorageFull):
        large.write(*WHO, MESSAGE, RESPONSE)
    fail_with(monkeypatch, backend, "save", OSError(5, "Input/output error"))
    with pytest.raises(StorageUnavailable):
        large.write(*WHO, MESSAGE, RESPONSE)
    fail_with(monkeypatch, backend, "read_range", OSError(5, "Input/output error"))
    with pytest.raises(StorageUnavailable):
        large.read(*WHO, kept)
    with pytest.raises(StorageUnavailable):
        large.read_many([(*WHO, kept)] * 3)
    fail_with(monkeypatch, backend, "delete", OSError(5, "Input/output error"))
    large.remove([kept])
    assert "nightly" in caplog.text
    assert not any(part in caplog.text for part in (*WHO, kept.place, kept.version))


@pytest.mark.parametrize(("long_seconds", "tried"), [(-1, 1), (threading.TIMEOUT_MAX, 3)])
def test_of_many_that_go_none_is_tried_after_one_that_took_long(
    large, kept, backend, monkeypatch, caplog, long_seconds, tried
):
    monkeypatch.setattr(texts, "LONG_SECONDS", long_seconds)
    asked = []

    def refuse(name):
        asked.append(name)
        raise OSError(None, "S3 does not answer (ReadTimeoutError)")

    monkeypatch.setattr(backend, "delete", refuse)
    large.remove([kept] * 3)
    assert len(asked) == tried
    assert caplog.text.count("nightly") == tried


def test_a_store_that_hangs_holds_few_callers(large, kept, backend, monkeypatch):
    """A server's other threads go on: whoever finds no place is told so within a second."""
    monkeypatch.setattr(texts, "CALL_WAITS_SECONDS", 0.01)
    inside, ended = threading.Semaphore(0), threading.Event()
    read_range = backend.read_range

    def hang(*args):
        inside.release()
        ended.wait()
        return read_range(*args)

    monkeypatch.setattr(backend, "read_range", hang)
    found = []
    callers = [
        threading.Thread(target=lambda: found.append(large.read(*WHO, kept)))
        for _ in range(texts.CALLS_AT_ONCE)
    ]
    for caller in callers:
        caller.start()
    for _ in callers:
        inside.acquire()
    with pytest.raises(StorageUnavailable, match="Too many"):
        large.read(*WHO, kept)
    monkeypatch.setattr(texts, "CALL_WAITS_SECONDS", threading.TIMEOUT_MAX)
    with pytest.raises(StorageUnavailable, match="Too many"):
        large.write(*WHO, "m", "r")  # at once: whoever waits has a thread that others need
    ended.set()
    for caller in callers:
        caller.join()
    assert found == [(MESSAGE, RESPONSE)] * texts.CALLS_AT_ONCE
    assert not texts._process.is_stalled.is_set(), "and they wait again"
