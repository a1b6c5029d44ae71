"""The texts of an item: compressed where that is smaller, and never unpacked without a bound."""

import base64
import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.compat import zstd
from storage.dynamodb import frames
from storage.dynamodb.texts import pack_texts, unpack_texts
from storage.exceptions import DamagedItem

LONG = "What is a B-tree? A balanced tree for disks. " * 20
KEY = {"interaction_id": {"S": "an-id"}}

quick = settings(max_examples=100, derandomize=True, database=None, deadline=None)
parts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)
any_text = st.builds(lambda part, times: part * times, parts, st.integers(0, 30))


def size(attributes):
    """By DynamoDB's rule."""
    return sum(
        len(name) + (len(value["S"].encode()) if "S" in value else len(value["B"]))
        for name, value in attributes.items()
    )


@given(any_text, any_text)
@quick
def test_what_is_packed_is_unpacked(message, response):
    packed = pack_texts(message, response)
    assert unpack_texts(KEY | packed) == (message, response)
    assert size(packed) <= len("messageresponse") + len((message + response).encode())
    assert set(packed) in ({"t"}, {"message", "response"})


@given(any_text, any_text)
@quick
def test_it_is_unpacked_as_dynamodb_sends_it(message, response):
    packed = pack_texts(message, response)
    if "t" in packed:
        packed = {"t": {"B": base64.b64encode(packed["t"]["B"]).decode()}}
    assert unpack_texts(KEY | packed) == (message, response)


def test_long_texts_become_one_binary_and_short_ones_stay_readable():
    assert list(pack_texts(LONG, LONG)) == ["t"]
    assert list(pack_texts(LONG, "")) == ["t"]
    assert pack_texts("Hi", "Hello") == {"message": {"S": "Hi"}, "response": {"S": "Hello"}}


def test_what_is_no_smaller_compressed_stays_plain():
    noise = "".join(map(chr, random.Random(1).sample(range(0x4E00, 0x9FFF), 45)))
    assert set(pack_texts(noise, "")) == {"message", "response"}


def test_the_largest_texts_go_through():
    message = "\U0001f600" * (frames.AT_MOST // 4)
    packed = pack_texts(message, "")
    assert size(packed) < 10_000
    assert unpack_texts(KEY | packed) == (message, "")


def test_threads_share_the_compressor():
    wrong = []

    def work(number):
        message = f"{number} {LONG}"
        for _ in range(200):
            if unpack_texts(KEY | pack_texts(message, LONG)) != (message, LONG):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def bomb():
    """A frame of some hundred bytes that unpacks to 20 MB."""
    return zstd.compress(b"a" * 20_000_000)


def unsized_bomb():
    """A frame that does not say how much it unpacks to."""
    compressor = zstd.ZstdCompressor()
    return compressor.compress(b"a" * 20_000_000) + compressor.flush()


def lying_bomb():
    """A frame that says that it is small, with the content of a large one."""
    small, large = zstd.compress(b"a" * 300), bytearray(bomb())
    assert small[4] >> 6 == 1, "a size of two bytes"
    assert large[4] >> 6 == 2, "a size of four bytes"
    return small[:7] + bytes(large[9:])


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\x01",
        b"\x01no frame",
        b"\x02" + zstd.compress(b"a\0b"),  # a form that is not known
        b"\x01" + zstd.compress(b"no separator"),
        b"\x01" + zstd.compress(b"a\0\xff"),  # no UTF-8
        b"\x01" + zstd.compress(b"a\0b") + b"more",
        b"\x01" + zstd.compress(b"a\0b") + zstd.compress(b"a\0b"),
        b"\x01" + bomb(),
        b"\x01" + unsized_bomb(),
        b"\x01" + lying_bomb(),
        "no base64!",
        "A",  # nor is this
    ],
)
def test_damage_is_an_error_that_names_the_interaction_and_no_text(packed):
    with pytest.raises(DamagedItem, match="an-id is damaged") as raised:
        unpack_texts(KEY | {"t": {"B": packed}})
    assert raised.value.__cause__ is None


def test_a_changed_byte_and_a_missing_one_are_noticed():
    packed = pack_texts(LONG, LONG)["t"]["B"]
    for place in range(len(packed)):
        changed = packed[:place] + bytes([packed[place] ^ 1]) + packed[place + 1 :]
        for damaged in (changed, packed[:place]):
            with pytest.raises(DamagedItem):
                unpack_texts(KEY | {"t": {"B": damaged}})


def test_a_whole_frame_is_unpacked_and_nothing_else():
    frame = frames.compress(LONG.encode())
    assert frames.decompress(frame) == LONG
    bombs = (bomb(), unsized_bomb(), lying_bomb())
    for damaged in (frame[:-1], frame[:-1] + b"x", frame + b"x", b"no frame", *bombs):
        with pytest.raises((ValueError, frames.ZstdError)):
            frames.decompress(damaged)
    assert frames.decompress(frame) == LONG, "an error leaves nothing behind"
    assert frames.decompress(frames.compress(b"")) == ""
    largest = "a" * frames.AT_MOST
    assert frames.decompress(frames.compress(largest.encode())) == largest
    with pytest.raises(ValueError, match="frame of texts"):
        frames.decompress(frames.compress(largest.encode() + b"a"))
