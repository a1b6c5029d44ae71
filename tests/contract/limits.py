"""The limits of an interaction, at their edges: the same on every backend."""

import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from storage import limits
from storage.exceptions import InvalidInteraction
from storage.limits import IDENTIFIER_MAX_LENGTH, MODEL_MAX_LENGTH, TOKENS_MAX
from storage.records.pages import PageQuery
from storage.records.questions import Question
from storage.records.texts import INLINE_MAX_BYTES
from tests.contract.calls import at, fields, ids, short

CONTROL_CHARACTERS = [c for c in map(chr, range(0x300)) if unicodedata.category(c) == "Cc"]

ODD_BUT_SOUND_IDS = [
    "a:b",
    "a#b",
    "a/b",
    "/",
    "...",
    "a..b/.c/d.",
    "/a//b/",
    "50%",
    "%2e%2ea",
    "%00",
    " ",
    " a b ",
    "'; DROP TABLE storage_chatinteraction; --",
    'say "hi"',
    "back\\slash",
    "{json}",
    "None",
    "null",
    "0",
    "batch",
    "😀👩‍👩‍👧",
    "مرحبا بالعالم",
    "\u202eright to left override",
    "zero\u200bwidth",
    "line\u2028separator",
    "\ufeffbyte order mark",
    "\uffff",
    "\U0010ffff",
    "ß",
    "x" * IDENTIFIER_MAX_LENGTH,
    "é" * IDENTIFIER_MAX_LENGTH,
    "\U0010ffff" * IDENTIFIER_MAX_LENGTH,  # four bytes each
]

DOT_SEGMENTS = [
    ".",
    "..",
    "./a",
    "../a",
    "a/.",
    "a/..",
    "a/./b",
    "ada/../bobby",
    "/..",
    "../",
    # As a client or a proxy may understand them.
    "a\\..\\b",
    "%2e",
    "a/%2E%2e/b",
    "a/.%2e",
    "a%2f..%2Fb",
    "a%5C..%5cb",
    "\u00e9/../b",
]

NO_IDENTIFIERS = (
    "",
    "x" * (IDENTIFIER_MAX_LENGTH + 1),
    "😀" * (IDENTIFIER_MAX_LENGTH + 1),
    "\ud800",
    "a\udfffb",
    None,
    7,
    b"bytes",
)
NO_TEXTS = ("a\0b", "\udc00", None, 7)
NO_COUNTS = (-1, TOKENS_MAX + 1, True, False, 1.0, float("nan"), Decimal(1), "1", None)

INVALID = {
    "interaction_id": NO_IDENTIFIERS,
    "user_id": NO_IDENTIFIERS,
    "message": NO_TEXTS,
    "response": NO_TEXTS,
    "model_used": ("", "m" * (MODEL_MAX_LENGTH + 1), "m\0", "\ud83d", None, 7),
    "input_tokens": NO_COUNTS,
    "output_tokens": NO_COUNTS,
    "created_at": (datetime(2026, 1, 1), None, "2026-01-01T00:00:00Z", 0),
}


def refuse(storage, interaction):
    """Every way to write refuses the interaction; gives the violations that all of them name."""
    violations = []
    for write in (
        storage.save_interaction_sync,
        storage.create_interaction_sync,
        lambda i: storage.create_interactions_sync([i]),
    ):
        with pytest.raises(InvalidInteraction) as refusal:
            write(interaction)
        violations.append(refusal.value.violations)
    assert violations[0] == violations[1] == violations[2]
    return violations[0]


class LimitsContract:
    @pytest.mark.parametrize("name", INVALID)
    def test_what_is_outside_the_limits_is_refused_by_every_write(
        self, storage, make_interaction, name
    ):
        for value in INVALID[name]:
            violations = refuse(storage, make_interaction(**{name: value}))
            assert list(violations) == [name], short(value)
        assert storage.list_interactions_sync(PageQuery()).interactions == []

    @pytest.mark.parametrize("name", ["interaction_id", "user_id"])
    def test_an_identifier_has_no_control_character(self, storage, make_interaction, name):
        assert len(CONTROL_CHARACTERS) == 65  # C0, DEL and C1
        for character in CONTROL_CHARACTERS:
            violations = refuse(storage, make_interaction(**{name: f"a{character}b"}))
            assert list(violations) == [name]
        assert storage.list_interactions_sync(PageQuery()).interactions == []

    def test_text_may_hold_every_control_character_but_nul(self, storage, make_interaction):
        text = "".join(CONTROL_CHARACTERS[1:])
        interaction = make_interaction(message=text, response=text, model_used=text)
        storage.save_interaction_sync(interaction)
        # Twice: the second may come from the cache.
        for _ in range(2):
            found = storage.get_interaction_sync(interaction.interaction_id)
            assert (found.message, found.response, found.model_used) == (text, text, text)

    @pytest.mark.parametrize("name", ["interaction_id", "user_id"])
    def test_no_new_id_has_a_dot_segment(self, storage, make_interaction, name):
        for identifier in DOT_SEGMENTS:
            violations = refuse(storage, make_interaction(**{name: identifier}))
            assert list(violations) == [name], ascii(identifier)
            assert "dot segment" in violations[name]
        assert storage.list_interactions_sync(PageQuery()).interactions == []

    @pytest.mark.parametrize("identifier", ["..", "ada/../bobby"])
    def test_one_that_is_stored_can_be_used_and_copied(self, storage, make_interaction, identifier):
        """It is older than the rule, or comes from a store that is."""
        interaction = make_interaction(interaction_id=identifier, user_id=identifier)
        assert storage.copy_interactions([interaction]) == ["created"]
        assert storage.copy_interactions([interaction]) == ["unchanged"]
        assert fields(storage.get_interaction_sync(identifier)) == fields(interaction)
        assert ids(storage.get_user_interactions_sync(identifier, 10)) == [identifier]
        page = storage.list_user_interactions_sync(identifier, PageQuery())
        assert ids(page.interactions) == [identifier]
        assert storage.find_answer_sync(Question(identifier, interaction.message))
        changed = storage.update_interaction_sync(identifier, {"response": "r"})
        assert storage.get_interaction_sync(identifier).response == changed.response == "r"
        with pytest.raises(InvalidInteraction):
            storage.update_interaction_sync(identifier, {"input_tokens": -1})
        assert storage.erase_hot([changed], identifier) == 1
        assert storage.get_interaction_sync(identifier) is None
        storage.copy_interactions([interaction])
        assert storage.delete_interaction_sync(identifier) is True

    def test_what_is_copied_keeps_to_all_other_limits(self, storage, make_interaction):
        for broken in ({"interaction_id": "a\n"}, {"user_id": ""}, {"message": "\0"}):
            with pytest.raises(InvalidInteraction):
                storage.copy_interactions([make_interaction(**broken)])

    def test_an_odd_identifier_is_kept_exactly(self, storage, make_interaction):
        for identifier in ODD_BUT_SOUND_IDS:
            interaction = make_interaction(interaction_id=identifier, user_id=identifier)
            storage.save_interaction_sync(interaction)
            assert fields(storage.get_interaction_sync(identifier)) == fields(interaction)
        for identifier in ODD_BUT_SOUND_IDS:
            own = {"user_id": identifier}
            assert ids(storage.get_user_interactions_sync(identifier, 10)) == [identifier]
            assert storage.update_interaction_sync(identifier, {"response": "r"}, **own)
            assert storage.delete_interaction_sync(identifier, **own) is True
        assert storage.list_interactions_sync(PageQuery()).interactions == []

    def test_odd_users_are_paged_like_any_other(self, storage, make_interaction):
        for user_id in ODD_BUT_SOUND_IDS:
            storage.create_interactions_sync(
                [make_interaction(user_id=user_id, created_at=at(hours=n)) for n in range(2)]
            )
        for user_id in ODD_BUT_SOUND_IDS:
            first = storage.list_user_interactions_sync(user_id, PageQuery(limit=1))
            second = storage.list_user_interactions_sync(user_id, PageQuery(1, first.next_cursor))
            assert second.next_cursor is None
            times = [i.created_at for i in first.interactions + second.interactions]
            assert times == [at(hours=1), at()]

    @pytest.mark.parametrize("tokens", [0, 1, TOKENS_MAX])
    def test_token_counts_reach_from_0_to_the_largest_exact_integer(
        self, storage, make_interaction, tokens
    ):
        interaction = make_interaction(input_tokens=tokens, output_tokens=tokens)
        storage.save_interaction_sync(interaction)
        found = storage.get_interaction_sync(interaction.interaction_id)
        assert (found.input_tokens, found.output_tokens) == (tokens, tokens)

    @pytest.mark.parametrize("model_used", ["m", "m" * MODEL_MAX_LENGTH, "😀" * MODEL_MAX_LENGTH])
    def test_a_model_name_has_1_to_255_characters(self, storage, make_interaction, model_used):
        interaction = make_interaction(model_used=model_used)
        storage.save_interaction_sync(interaction)
        found = storage.get_interaction_sync(interaction.interaction_id)
        assert found.model_used == model_used

    def test_message_and_response_may_be_empty(self, storage, make_interaction):
        interaction = make_interaction(message="", response="")
        storage.save_interaction_sync(interaction)
        found = storage.get_interaction_sync(interaction.interaction_id)
        assert (found.message, found.response) == ("", "")

    @pytest.mark.parametrize("letter", ["a", "\U0001f99c"], ids=["one byte", "four bytes"])
    @pytest.mark.parametrize("in_message", [0, 0.5, 1])
    def test_text_may_have_so_many_bytes_but_not_one_more(
        self, storage, make_interaction, monkeypatch, letter, in_message
    ):
        # Those of the limit itself are in `LargeTextsContract`.
        monkeypatch.setattr(limits, "TEXT_MAX_BYTES", 40_000)
        count = 40_000 // len(letter.encode())
        cut = int(count * in_message)
        message, response = letter * cut, letter * (count - cut)
        interaction = make_interaction(interaction_id="i", message=message, response=response)
        storage.save_interaction_sync(interaction)
        assert fields(storage.get_interaction_sync("i")) == fields(interaction)
        for longer in ({"message": message + "a"}, {"response": response + "a"}):
            text = {"message": message, "response": response} | longer
            violations = refuse(storage, make_interaction(**text))
            # The response can be cut; the message is at fault only where it is too long alone.
            at_fault = "message" if len(text["message"].encode()) > 40_000 else "response"
            assert list(violations) == [at_fault]
            assert "40001" in violations[at_fault]

    def test_every_field_may_be_at_its_limit_at_once(self, storage, make_interaction):
        widest = "\U0010ffff" * IDENTIFIER_MAX_LENGTH
        interaction = make_interaction(
            interaction_id=widest,
            user_id=widest,
            message="m" * INLINE_MAX_BYTES,
            response="",
            model_used=widest,
            input_tokens=TOKENS_MAX,
            output_tokens=TOKENS_MAX,
        )
        storage.save_interaction_sync(interaction)
        assert fields(storage.get_interaction_sync(widest)) == fields(interaction)

    def test_all_violations_are_named_at_once(self, storage, make_interaction):
        violations = refuse(storage, make_interaction(user_id="", model_used="", input_tokens=-1))
        assert set(violations) == {"user_id", "model_used", "input_tokens"}
        assert all(text.endswith(".") for text in violations.values())

    def test_a_refusal_never_repeats_the_text(self, storage, make_interaction):
        # What is refused may be logged, and is personal all the same.
        interaction = make_interaction(
            user_id="secret\n", message="secret\0", response="secret\0", model_used="secret\0"
        )
        assert "secret" not in str(refuse(storage, interaction))

    @pytest.mark.parametrize(
        "created_at",
        [
            datetime(1, 1, 1, microsecond=1, tzinfo=UTC),
            datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        ],
        ids=["first", "last"],
    )
    def test_the_first_and_the_last_time_are_kept(self, storage, make_interaction, created_at):
        interaction = make_interaction(interaction_id="i", created_at=created_at)
        storage.save_interaction_sync(interaction)
        storage.save_interaction_sync(make_interaction(interaction_id="now", created_at=at()))
        assert storage.get_interaction_sync("i").created_at == created_at
        expected = ["i", "now"] if created_at > at() else ["now", "i"]
        assert ids(storage.get_user_interactions_sync("ada", 2)) == expected

    @pytest.mark.parametrize(
        "created_at",
        [
            datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
            datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-1))),
        ],
        ids=["before the first", "after the last"],
    )
    def test_a_time_that_utc_cannot_express_is_refused(self, storage, make_interaction, created_at):
        assert list(refuse(storage, make_interaction(created_at=created_at))) == ["created_at"]
