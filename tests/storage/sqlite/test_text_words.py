"""FTS5 finds exactly the words that the other backend compares."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import expiry
from storage.records import words
from storage.sqlite.text_parts import SCHEMA, Parts
from storage.sqlite.text_words import USER, Text

ANY = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
ODD = st.text(
    st.sampled_from("aZ9é_ẞ\u017fİ\u0131\u212a=¦東ไทยก็ကा́ﬁ①Ⅷ'\"*-\x1f\u00a0\u200d😀"), max_size=25
)


@pytest.fixture(scope="module")
def connection():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(SCHEMA)
    yield connection
    connection.close()


@given(message=ANY | ODD, response=ANY | ODD)
def test_the_words_of_a_text_are_those_of_the_index(connection, message, response):
    parts = Parts(connection, 86_400)
    parts.remove(["i"])
    parts.put([Text("i", "ada", "2026-11-30 12:00:00", message, response)])
    ((table,),) = connection.execute("SELECT 'part_' || number FROM part").fetchall()
    connection.execute(f"CREATE VIRTUAL TABLE terms USING fts5vocab({table}, row)")
    found = {term for (term,) in connection.execute("SELECT term FROM terms")}
    connection.execute("DROP TABLE terms")
    expected = {*words.words(message), *words.words(response)}
    assert {term for term in found if term[0] != USER} == {word.lower() for word in expected}
    for query in (message, response):
        phrases = words.phrases(query)
        assert words.have([message, response], phrases)
        if phrases:
            assert parts.matching(phrases, "ada", expiry.BEGINNING, None, 9)
