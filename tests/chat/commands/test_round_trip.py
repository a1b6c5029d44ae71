"""Import and export: what goes in comes out, byte for byte."""

import functools
import json
import os
import random

import pytest

from chat.interchange import opened_for_reading
from tests.chat.calls import FIELDS
from tests.chat.lines import command, record, summary

pytestmark = pytest.mark.every_backend(exhaustive=True)

ALPHABETS = [
    "abc XYZ 019",
    "\t\n\r\\\"/'`<>&\u2028\u2029\ufeff",
    "".join(map(chr, [*range(1, 32), *range(127, 160)])),
    "éßıİſﬁΩЖאعकกあ漢字",
    "e\u0301\u0300\u20e3\u200d\u200b\u202e\u2066\ufe0f",
    "😀👩🏽‍🚀🏴󠁧󠁢󠁥󠁮󠁧󠁿\U0001f9ff",
    "\ud7ff\ue000\ufffd\ufffe\uffff\U0001fffe\U0010ffff",
]


def text(chance, length, *, controls=True):
    alphabets = ALPHABETS if controls else [ALPHABETS[0], *ALPHABETS[3:]]
    return "".join(chance.choice(chance.choice(alphabets)) for _ in range(length))


@functools.cache
def odd_records(count):
    """Records with whatever the limits allow; the same in every run."""
    chance = random.Random(1)
    return [
        {
            "interaction_id": f"{number}:{text(chance, number % 200, controls=False)}",
            "user_id": text(chance, 1 + number % 255, controls=False),
            "message": text(chance, chance.choice([0, 1, 50, 1000])),
            "response": text(chance, chance.choice([0, 1, 50, 1000])),
            "model_used": text(chance, 1 + number % 255),
            "input_tokens": chance.choice([0, 1, 2**31, 2**53 - 1]),
            "output_tokens": chance.choice([0, 1, 2**31, 2**53 - 1]),
            "created_at": chance.choice(
                [
                    f"2026-03-01T12:30:{number % 60:02}.{chance.randrange(10**6):06}Z",
                    "2026-03-01T00:00:00.000000Z",
                    "0001-01-01T00:00:00.000001Z",
                ]
            ),
            "updated_at": chance.choice(
                [
                    f"2026-03-01T12:30:59.{chance.randrange(10**6):06}Z",
                    "9999-12-31T23:59:59.999999Z",
                ]
            ),
        }
        for number in range(count)
    ]


def parsed(path):
    """The records of a file by id, each field as the text or number that stands there."""
    with opened_for_reading(str(path)) as (file, _):
        found = [json.loads(line) for line in file]
    return {each["interaction_id"]: each for each in found}


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
@pytest.mark.every_backend
def test_odd_records_come_out_as_they_went_in(storage, tmp_path, ending):
    given = odd_records(300)
    source, out = tmp_path / "in.jsonl", tmp_path / f"out.jsonl{ending}"
    with source.open("wb") as file:
        file.writelines(json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in given)
    assert command("import_interactions", source) == (0, summary(created=300), "")
    assert command("export_interactions", out)[0] == 0
    found = parsed(out)
    assert len(found) == len(given)
    for interaction in given:
        assert found[interaction["interaction_id"]] == interaction
    # What was exported is a file that can be imported.
    assert command("import_interactions", out) == (0, summary(unchanged=300), "")


def test_escapes_in_a_file_are_the_characters_that_they_mean(storage, tmp_path):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    odd = record(message="née \u2028 😀 \x01 \ud7ff\uffff", response='\\u0041 \\n "')
    source.write_text(json.dumps(odd, ensure_ascii=True))
    assert command("import_interactions", source)[0] == 0
    assert command("export_interactions", out)[0] == 0
    assert parsed(out) == {"i000000": odd}


def test_equal_stores_export_equal_files(storage, tmp_path):
    source, first, second = (tmp_path / name for name in ("in.jsonl", "1.jsonl", "2.jsonl"))
    source.write_text("".join(json.dumps(each) + "\n" for each in odd_records(300)))
    assert command("import_interactions", source)[0] == 0
    command("export_interactions", first)
    command("export_interactions", second)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.skipif(
    "INTERACTIONS_FILE" not in os.environ,
    reason="INTERACTIONS_FILE names no file of interactions to try this with",
)
def test_a_real_file_comes_out_as_it_went_in(storage, tmp_path):
    source, out = os.environ["INTERACTIONS_FILE"], tmp_path / "out.jsonl"
    status, said, errors = command("import_interactions", source)
    assert (status, errors) == (0, "")
    status, _, exported = command("export_interactions", out)
    assert status == 0
    given, found = parsed(source), parsed(out)
    print(f"{len(given)} records in; {said.strip()} {exported.strip()}")
    assert found.keys() == given.keys()
    for interaction_id, interaction in given.items():
        shown = {name: found[interaction_id][name] for name in FIELDS if name in interaction}
        assert shown == interaction
    assert command("import_interactions", source) == (0, summary(unchanged=len(given)), "")
