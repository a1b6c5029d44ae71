"""Bodies are unpacked up to a limit, and what is wrong with one is said."""

import gzip
import io
import zlib

import pytest

from chat.api.problems import InvalidRequest, TooLarge, UnsupportedMediaType
from chat.ingest.bodies import UNPACKED_LIMIT, read_unpacked

TEXT = b"What is a heap? " * 100
GZIP = gzip.compress(TEXT, mtime=0)


def raw_deflate(content):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(content) + packer.flush()


def read(body, limit=UNPACKED_LIMIT, **environ):
    given = {"CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
    return read_unpacked(given | environ, limit)


def packed(body, encoding="gzip", **options):
    return read(body, HTTP_CONTENT_ENCODING=encoding, **options)


def test_every_encoding():
    assert read(TEXT) == packed(TEXT, "identity") == packed(TEXT, "") == TEXT
    assert packed(GZIP) == packed(GZIP, "X-GZip") == TEXT
    assert packed(zlib.compress(TEXT), "deflate") == packed(raw_deflate(TEXT), "deflate") == TEXT
    assert packed(gzip.compress(b"")) == read(b"") == b""


def test_chunks_have_no_declared_length():
    chunks = {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""}
    assert read(TEXT, **chunks) == TEXT
    assert packed(GZIP, **chunks) == TEXT
    with pytest.raises(TooLarge):
        read(TEXT, len(TEXT) - 1, **chunks)


@pytest.mark.parametrize(
    ("body", "encoding", "said"),
    [
        (GZIP[:-9], "gzip", "The body is cut off: its gzip data has no end."),
        (b"", "gzip", "The body is cut off: its gzip data has no end."),
        (GZIP + b"more", "gzip", "The body goes on after the end of its gzip data."),
        (GZIP * 2, "gzip", "The body goes on after the end of its gzip data."),
        (zlib.compress(TEXT), "gzip", "The body is not gzip, as Content-Encoding says."),
        (TEXT, "gzip", "The body is not gzip, as Content-Encoding says."),
        (b"\xff" * 99, "deflate", "The body is not deflate, as Content-Encoding says."),
        (zlib.compress(TEXT)[:-1], "deflate", "The body is cut off: its deflate data has no end."),
    ],
    ids=range(8),
)
def test_what_is_not_packed_as_it_should_be(body, encoding, said):
    with pytest.raises(InvalidRequest) as caught:
        packed(body, encoding)
    assert str(caught.value) == said


def test_unknown_encodings():
    for encoding in ("br", "zstd", "gzip, gzip"):
        with pytest.raises(UnsupportedMediaType, match="gzip or deflate"):
            packed(TEXT, encoding)


def test_too_large_is_refused_before_it_is_read_or_unpacked_in_full():
    with pytest.raises(TooLarge, match="at most 1599 bytes, unpacked"):
        read(TEXT, 1599, **{"wsgi.input": None})
    assert read(TEXT, 1600) == TEXT
    assert packed(GZIP, limit=1600) == TEXT
    with pytest.raises(TooLarge, match="at most 1599 bytes, unpacked"):
        packed(GZIP, limit=1599)


def test_a_client_that_leaves():
    with pytest.raises(InvalidRequest, match="ended too soon"):
        read(TEXT, CONTENT_LENGTH="1601")

    class Gone:
        def read(self, size):
            raise OSError

    with pytest.raises(InvalidRequest, match="ended too soon"):
        read(TEXT, **{"wsgi.input": Gone()})
