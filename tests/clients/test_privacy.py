"""Texts and keys are in no `repr`, log or error."""

import traceback

import httpx
import pytest
from chat_interaction_store import Interaction, NewInteraction, StoreError, calls
from chat_interaction_store.recording import Answer, Question

from tests.clients.conftest import Script
from tests.clients.test_retries import STORED, problem

TEXT = "Nobody may read this"
SECRET = {"user_id": TEXT, "message": TEXT, "response": TEXT}


@pytest.mark.parametrize(
    "holder",
    [
        Interaction.from_json(STORED | SECRET),
        NewInteraction(**SECRET, model_used="m"),
        Question(TEXT),
        Answer(TEXT),
        calls.save(SECRET, None),
        calls.Page([Interaction.from_json(STORED | SECRET)], None),
    ],
    ids=lambda holder: type(holder).__name__,
)
def test_no_repr_has_a_text(holder):
    assert TEXT not in repr(holder) + str(holder) + repr([holder])


@pytest.mark.parametrize(
    "answer",
    [problem(400), problem(503), httpx.ConnectError("refused"), lambda r: httpx.Response(200)],
)
def test_no_error_has_a_text_or_a_key(make_store, no_pauses, answer, caplog):
    store = make_store(key="secret.key", transport=Script(answer).transport)
    with pytest.raises(StoreError) as caught:
        store.save(**SECRET, model_used="m")
    told = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(store)
    assert TEXT not in told
    assert "secret.key" not in told


def test_a_newer_store_may_have_more_fields():
    assert Interaction.from_json(STORED | {"colour": "blue"}).interaction_id == "one"
