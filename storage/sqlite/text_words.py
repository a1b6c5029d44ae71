"""What the search index is given of an interaction, and asked for."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import zstandard

from storage.exceptions import DamagedArchive
from storage.large.rows import LargeRows, ReadAgain
from storage.models import ChatInteraction
from storage.records.pages import every
from storage.records.texts import characters_of
from storage.records.words import Phrase, spaced
from storage.sqlite.text_damage import damage

logger = logging.getLogger(__name__)

USER = "\u00a6"
"""Begins the token of a user. It is in no word, and FTS5's tokenizer `ascii` takes it for a letter.
"""

TERMS_AT_MOST = 32
"""Words of a search that FTS5 looks for."""


@dataclass(frozen=True)
class Text:
    """An interaction to be indexed. `created_at` as `queries.to_text` writes it."""

    interaction_id: str
    user_id: str = field(repr=False)
    created_at: str
    message: str = field(repr=False)
    response: str = field(repr=False)

    @property
    def characters(self) -> int:
        """The length of both texts."""
        return len(self.message) + len(self.response)

    @property
    def words(self) -> str | None:
        """What FTS5 is given: the words, and the token of the user. None if they are gone."""
        return f"{spaced(self.message)}\n{spaced(self.response)} {user_token(self.user_id)}"


@dataclass(frozen=True)
class LargeText(Text):
    """One whose texts lie in an object: fetched when its words are wanted, one after another."""

    row: ChatInteraction = field(repr=False, kw_only=True)
    large: LargeRows = field(repr=False, kw_only=True)
    read_again: ReadAgain = field(repr=False, kw_only=True)

    @property
    def characters(self) -> int:
        """The length of both texts."""
        return characters_of(self.row.__dict__)

    @property
    def words(self) -> str | None:
        """What FTS5 is given. None if it was archived or deleted since; then it comes again."""
        copy = ChatInteraction.from_stored({**self.row.__dict__})
        try:
            found = self.large.all_whole([copy], self.read_again, every)
        except DamagedArchive as error:  # or nothing else would be indexed either
            logger.warning("Not in the search index: %s", error)
            return self._with("", "").words
        return self._with(found[0].message, found[0].response).words if found else None

    def _with(self, message: str, response: str) -> Text:
        return Text(self.interaction_id, self.user_id, self.created_at, message, response)


def user_token(user_id: str) -> str:
    """The word that all interactions of a user have.

    Two users may have the same one, once in 2 ** 64: the row decides.
    """
    return USER + hashlib.sha256(user_id.encode()).hexdigest()[:16]


def expression(phrases: Sequence[Phrase], user_id: str | None) -> str:
    """What FTS5 is asked for."""
    terms = [quoted(word) for phrase in phrases for word in phrase[:-1]]
    terms += [f"{quoted(phrase[-1])} *" for phrase in phrases]
    if user_id is not None:
        terms.append(quoted(user_token(user_id)))
    # The longest are likely the rarest. What is left out here is for the row to decide.
    chosen = sorted(dict.fromkeys(terms), key=len, reverse=True)[:TERMS_AT_MOST]
    return " AND ".join(chosen)


def quoted(word: str) -> str:
    """A word in a question to FTS5."""
    return f'"{word}"'


def packer() -> Callable[[str], bytes]:
    """Returns what packs words as an entry keeps them: the same bytes for the same words.

    Not to be shared by threads. Packing takes half as long as with a new compressor each time.
    """
    compressor = zstandard.ZstdCompressor(level=1)
    return lambda words: compressor.compress(words.encode())


def unpacker() -> Callable[[bytes], str]:
    """Returns what gives back the words that were packed. It raises `damage`, which SQLite misses.

    Not to be shared by threads. It takes a third of what `compression.zstd` needs for each call.
    """
    decompressor = zstandard.ZstdDecompressor()

    def unpacked(words: bytes) -> str:
        try:
            return decompressor.decompress(words).decode()
        except (zstandard.ZstdError, UnicodeDecodeError):
            raise damage("an entry of the search index has no words") from None

    return unpacked
