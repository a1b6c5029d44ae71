"""What a word is, in texts and in searches. Every backend finds by these words and no others.

A word is a run of letters and digits, without case and accents: NFKD, casefolded, without combining
marks. Chinese, Japanese, Thai, Lao, Khmer and Burmese put no space between words: there each
character is a word. A change of this module makes an index of words useless that was made before.
"""

import functools
import re
from collections.abc import Iterable
from unicodedata import category, combining, normalize

Phrase = tuple[str, ...]
"""Words that follow each other in a text. The last one may be the beginning of a word there."""

_ASCII_WORD = re.compile("[a-z0-9]+")

_SPACELESS = re.compile(
    "["
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Burmese
    "\u1780-\u17ff"  # Khmer
    "\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u30ff\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Han; kana and Bopomofo are in the line before
    "\U00016fe0-\U00018d8f\U0001aff0-\U0001b16f\U00020000-\U0003ffff"
    "]"
)

_NOT_ASCII = re.compile("[^\\x00-\\x7f]")

_BETWEEN = "\x1f"
"""Between words that nothing separates in the text. `str.split` takes it for white space."""


def words(text: str) -> list[str]:
    """Returns the words of a text in their order."""
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    return _separated(text).split()


def spaced(text: str) -> str:
    """The text with its `words` as they are, apart from the case of ASCII letters.

    What lies between them is ASCII, and is neither a letter nor a digit. An index whose tokenizer
    is quicker than Python takes the words from there.
    """
    if text.isascii():
        return text
    return _NOT_ASCII.sub(lambda found: _spaced_character(found[0]), text)


def phrases(text: str) -> list[Phrase]:
    """Returns what a search for `text` looks for: one phrase for each run without a separator.

    Most have one word. `東京タワー` has five, which must follow each other.
    """
    runs = (run.split(_BETWEEN) for run in _separated(text).split(" "))
    found = (tuple(word for word in run if word) for run in runs)
    return list(dict.fromkeys(phrase for phrase in found if phrase))


def have(texts: Iterable[str], wanted: Iterable[Phrase]) -> bool:
    """Whether each phrase is in one of the texts, which need not be the same one for all."""
    searched = [_Searched(text) for text in texts]
    return all(any(text.has(phrase) for text in searched) for phrase in wanted)


class _Searched:
    """A text in which phrases are looked for."""

    def __init__(self, text: str) -> None:
        self._ascii = text.lower() if text.isascii() else None
        self._words = "" if text.isascii() else _in_one_line(text)

    def has(self, phrase: Phrase) -> bool:
        if self._ascii is None:
            return f" {' '.join(phrase)}" in self._words
        # Most texts are ASCII, and most have not the word: to make a list of theirs would take
        # ten times as long. Words that follow each other without a separator are none of ASCII.
        word = phrase[0]
        if len(phrase) > 1 or word not in self._ascii:
            return False
        return re.search(f"(?<![a-z0-9]){word}", self._ascii) is not None


def _in_one_line(text: str) -> str:
    """The words of a text, each after a blank. A list of them would take five times the memory."""
    found = f" {_separated(text)}".replace(_BETWEEN, " ")
    while "  " in found:
        found = found.replace("  ", " ")
    return found


def _separated(text: str) -> str:
    """The text in its folded form, with a blank in the place of what belongs to no word."""
    return text.translate({ord(each): _spaced_character(each) for each in set(text)})


@functools.lru_cache(maxsize=8192)
def _spaced_character(character: str) -> str:
    """As it is in a folded text: what folding puts in its place does not depend on others.

    Marks may change their order there, but those are dropped. To fold a whole text can take
    quadratic time.
    """
    folded = normalize("NFKD", normalize("NFKD", character).casefold())
    return "".join(_replacement(each) for each in folded)


@functools.lru_cache(maxsize=8192)
def _replacement(character: str) -> str:
    if combining(character):
        return ""
    if _SPACELESS.match(character) and _in_words(character):
        return f"{_BETWEEN}{character}{_BETWEEN}"
    return character if _in_words(character) else " "


def _in_words(character: str) -> bool:
    # Marks without a combining class are vowels of Indian scripts: no accents, but letters.
    return character.isalnum() or category(character).startswith("M")
