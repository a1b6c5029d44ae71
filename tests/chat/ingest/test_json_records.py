"""JSON as tools write it."""

import subprocess
import sys

import msgspec
import pytest

from chat.ingest.json_records import mended


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (
            rb'{"a":NaN,"b":-Infinity,"c":-1,"NaN":"-NaN"}',
            rb'{"a":null,"b":null,"c":-1,"NaN":"-NaN"}',
        ),
        (
            rb'["\ud83d","\ud83d\ude00","\\ud83d","\u00e9\"\n"]',
            rb'["\ufffd","\ud83d\ude00","\\ud83d","\u00e9\"\n"]',
        ),
        (rb'["\ude00\ud83d\ud83d\ude00\ud83dx"]', rb'["\ufffd\ufffd\ud83d\ude00\ufffdx"]'),
        (rb'"\u00', rb'"\u00'),
        (b'["a', b'["a'),
        (b'"\\', b'"\\'),
        (b"", b""),
    ],
)
def test_mended(written, read):
    assert mended(written) == read


def test_sound_json_stays_as_it_is():
    sound = msgspec.json.encode({"a": [1, -2.5e-3, None, 'I\'m "N" \u2028 \\ \n'], "N": {"I": "-"}})
    assert mended(sound) == sound
    assert mended(sound * 3) == sound * 3


ENDLESS = """
from chat.ingest.json_records import mended
body = b'["' + rb'\\"' * 500_000
assert mended(body) == body
"""


def test_a_text_without_an_end_takes_no_square_of_its_length():
    """In a process that can be ended: this one would be stuck for hours."""
    subprocess.run([sys.executable, "-c", ENDLESS], check=True, timeout=300)
