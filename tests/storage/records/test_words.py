"""What a word is: the same for an index of words and for a look at each text."""

import time
import tracemalloc
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.records import words as words_module
from storage.records.words import _replacement, have, phrases, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("Don't panic, b-tree_2!", "don t panic b tree 2"),
        ("Straße ﬁne ½ Ærø", "strasse fine 1 2 ærø"),
        ("na\u00efve nai\u0308ve İstanbul", "naive naive istanbul"),
        ("ΣΊΣΥΦΟΣ Ёлка שָׁלוֹם", "σισυφοσ елка שלום"),
        ("हिन्दी", "हिनदी"),
        ("한국어 ｶﾞ", "한국어 カ"),
        ("東京タワー iPhone用", "東 京 タ ワ ー iphone 用"),
        ("ภาษา", "ภ า ษ า"),
        ("🙂 — …\n\u202e\u0000", ""),
        ("\U0001d401\U0001d428\U0001d425\U0001d41d ①", "bold 1"),
    ],
)
def test_the_words_of_a_text(text, expected):
    found = [unicodedata.normalize("NFC", word) for word in words(text)]
    assert found == unicodedata.normalize("NFC", expected).split()


@pytest.mark.parametrize(
    ("text", "query", "finds"),
    [
        ("The Database", "data", True),
        ("The Database", "base", False),
        ("The Database", "DATA the", True),
        ("The Database", "data x", False),
        ("東京タワー", "京タ", True),
        ("東京タワー", "京東", False),
        ("東 京", "東京", True),
        ("my iPhone用 case", "iphone用", True),
        ("my iPhone and 用", "iphone用", False),
        ("Čajovna", "caj", True),
        ("cafe", "café", True),
        ("ab", "a", True),
        ("b a", "ab", False),
    ],
)
def test_what_a_query_finds(text, query, finds):
    assert have(["something", text], phrases(query)) is finds


def test_words_may_be_in_different_texts_but_a_run_is_in_one():
    assert have(["one", "two"], phrases("two one"))
    assert not have(["東", "京"], phrases("東京"))


ODD = st.text(
    st.sampled_from("aAß\u0345ée\u0301İ\u0131ﬁ Ⅳ東ｶﾞが한ᄒ\u093fिภ_-🙂\u1e9eǅ\u03d3½ \t\x1f")
)


@given(st.text() | ODD)
def test_words_stay_what_they_are(text):
    found = words(text)
    assert words(" ".join(found)) == found
    assert all(word and not word.isspace() and " " not in word for word in found)


@given(st.text() | ODD)
def test_each_word_finds_its_text_and_so_does_the_text_itself(text):
    assert have([text], phrases(text))
    assert all(have([text], phrases(word)) for word in words(text))
    assert [word for phrase in dict.fromkeys(phrases(text)) for word in phrase] or not words(text)


@given(st.text("ab1 -é", max_size=8), st.text("ab1 é", max_size=3))
def test_a_query_finds_what_its_definition_says(text, query):
    expected = all(any(word.startswith(start) for word in words(text)) for start in words(query))
    assert have([text], phrases(query)) is expected


LONG = 390_000
"""Bytes. The largest texts of all take twenty times as long."""


@pytest.mark.parametrize("text", ["x", "é", "東", "e\u0301", "x ", "🙂"])
def test_a_long_text_takes_no_longer_than_a_page(text):
    longest = (text * LONG).encode()[:LONG].decode(errors="ignore")
    started = time.process_time()
    words(longest)
    assert time.process_time() - started < 1


def test_a_text_is_folded_character_by_character(monkeypatch):
    """Of a whole text it can take quadratic time."""
    lengths = set()

    def watched(form, text):
        lengths.add(len(text))
        return unicodedata.normalize(form, text)

    monkeypatch.setattr(words_module, "normalize", watched)
    words_module._spaced_character.cache_clear()
    assert words("a\u0301\u0323 e\u0301 \u0323") == ["a", "e"]
    assert max(lengths) <= 2  # what one character is folded to


@given(st.text() | ODD)
def test_characters_are_folded_by_themselves_as_in_their_text(text):
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    assert words(text) == "".join(map(_replacement, folded)).split()


def test_no_list_of_the_words_of_a_text_is_made_to_look_for_one():
    """This character is four words of 18 letters, which as a list take 330 bytes."""
    text = "\ufdfa" * 50_000
    tracemalloc.start()
    assert have([text], phrases("صلى وسلم"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * len(text)
