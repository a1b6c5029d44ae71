"""What the search index is given of an interaction, and asked for."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from storage.compat import zstd
from storage.records.words import Phrase, spaced

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
    def words(self) -> str:
        """What FTS5 is given: the words, and the token of the user."""
        return f"{spaced(self.message)}\n{spaced(self.response)} {user_token(self.user_id)}"


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
    compressor = zstd.ZstdCompressor(level=1)
    return lambda words: compressor.compress(words.encode(), mode=compressor.FLUSH_FRAME)


def unpacked(words: bytes) -> str:
    """The words that were packed."""
    return zstd.decompress(words).decode()
