"""Reads records that LiteLLM has logged to files, such as by its S3 logger."""

from collections.abc import Iterator
from dataclasses import replace
from typing import IO

from chat.ingest.calls import LeftOut, Translated
from chat.ingest.files.entries import entries
from chat.ingest.litellm import translate


def read(file: IO[bytes], user_id: str | None) -> Iterator[Translated]:
    """The calls in a file, with `user_id` where a record names no user. Raises BrokenFile."""
    for found in entries(file):
        call = found if isinstance(found, LeftOut) else translate(found[1], found[0])
        if not isinstance(call, LeftOut) and call.user_id is None:
            call = replace(call, user_id=user_id)
        yield call
