"""What the calls for interactions do: one function each, whichever way a request has come.

`config.entrance` calls them for most requests with an API key, and the views for all others.
Whoever calls one has authenticated the caller and counted the call.
"""

from chat.api import bodies, parameters
from chat.api.exchange import Answer, Call
from chat.api.idempotency import idempotency
from chat.api.problems import NotFound
from chat.maintenance.identity import require_archive
from storage import expiry, get_storage
from storage.interface import Storage
from storage.records.json import dumps, format_time, to_json
from storage.records.pages import JsonPage, PageQuery


def list_interactions(call: Call) -> Answer:
    """A page of the interactions of all users."""
    call.caller.require_every_user()
    query, given = parameters.page_query(call)
    page = _storage_for(query).list_interactions_json_sync(query)
    return _page(call, query, given, page)


def list_user_interactions(call: Call, user_id: str) -> Answer:
    """A page of one user's interactions."""
    call.caller.require(user_id)
    query, given = parameters.page_query(call)
    page = _storage_for(query).list_user_interactions_json_sync(user_id, query)
    return _page(call, query, given, page)


def get_interaction(call: Call, interaction_id: str) -> Answer:
    """One interaction by id."""
    parameters.refuse_parameters(call)
    found = get_storage().get_json_sync(interaction_id, user_id=call.caller.user_id)
    if found is None:
        raise _unknown_interaction()
    return Answer(found)


def create_interaction(call: Call) -> Answer:
    """Save an interaction; 201, or 200 if it existed already."""
    parameters.refuse_parameters(call)
    body = bodies.read_body(call.environ, bodies.BODY_LIMIT)
    interaction = bodies.new_interaction(body)
    call.caller.require(interaction.user_id)
    replay = idempotency(call.environ, call.caller, body)
    stored, created = get_storage().create_interaction_sync(interaction, replay)
    status = 201 if created or replay else 200
    replayed = (("Idempotent-Replayed", "true"),) if replay and not created else ()
    return Answer(to_json(stored), status, replayed)


def create_interactions(call: Call, interaction_id: str) -> Answer:
    """Save many interactions in one step. `interaction_id` is part of the address only."""
    parameters.refuse_parameters(call)
    interactions = bodies.new_interactions(bodies.read_body(call.environ, bodies.BATCH_BODY_LIMIT))
    for interaction in interactions:
        call.caller.require(interaction.user_id)
    outcomes = get_storage().create_interactions_sync(interactions)
    results = [
        {"interaction_id": interaction.interaction_id, "status": outcome}
        for interaction, outcome in zip(interactions, outcomes, strict=True)
    ]
    return Answer(dumps({"results": results}))


def look_up_answer(call: Call, interaction_id: str) -> Answer:
    """The newest answer to a message. `interaction_id` is part of the address only."""
    parameters.refuse_parameters(call)
    question = bodies.question(bodies.read_body(call.environ, bodies.BODY_LIMIT))
    call.caller.require(question.user_id)
    found = get_storage().find_answer_json_sync(question)
    if found is None:
        raise NotFound("This user got no such answer to this message.")
    return Answer(found)


def complete_interaction(call: Call, interaction_id: str) -> Answer:
    """Fill in what arrived after the interaction was saved."""
    parameters.refuse_parameters(call)
    changes = bodies.completion(bodies.read_body(call.environ, bodies.BODY_LIMIT))
    interaction = get_storage().update_interaction_sync(
        interaction_id, changes, user_id=call.caller.user_id
    )
    if interaction is None:
        raise _unknown_interaction()
    return Answer(to_json(interaction))


def delete_interaction(call: Call, interaction_id: str) -> Answer:
    """Delete an interaction."""
    parameters.refuse_parameters(call)
    if not get_storage().delete_interaction_sync(interaction_id, user_id=call.caller.user_id):
        raise _unknown_interaction()
    return Answer(b"", 204)


def _unknown_interaction() -> NotFound:
    """The error for an interaction that does not exist, or that belongs to another user."""
    return NotFound("There is no such interaction.")


def _storage_for(query: PageQuery) -> Storage:
    """The storage. Raises ArchiveMismatch if the list is one of an archive that is not there."""
    storage = get_storage()
    if query.tier == "archive":
        require_archive(storage)
    return storage


def _page(call: Call, query: PageQuery, given: parameters.Given, page: JsonPage) -> Answer:
    """A page, the URL of the next, and in hot lists where the archive begins."""
    rest = {"next": parameters.next_url(call, given, page.next_cursor)}
    if query.tier == "hot":
        rest["archived_until"] = format_time(expiry.hot_since())
    parts = [*page.items] or [b""]
    parts[0] = b'{"results":[' + parts[0]
    parts[-1] += b"]," + dumps(rest)[1:]
    # In one step, because a page of long texts is not to be copied twice.
    return Answer(b",".join(parts))
