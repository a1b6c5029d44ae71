"""What the SQL database keeps of a user besides interactions.

That is API keys that are bound to the user, names of other keys in which the user's id is a word of
its own ("Ada's phone"), the admin's log entries about such keys, and the roll-ups of usage.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.admin.models import LogEntry
from django.db import transaction
from django.db.models import F, QuerySet

from storage.accounts import api_keys, roll_ups
from storage.archive.pseudonyms import pseudonym
from storage.models import ApiKey, ApiKeyUse, ForgottenUser
from storage.models.usage import ROLL_UPS_OF_USERS
from storage.sql.errors import translated
from storage.sql.vendors import is_postgresql, lock_until_commit
from storage.sqlite import scrubbed_database
from storage.sqlite.statements import Statements

REMEMBERED_FOR = timedelta(days=2)
"""DynamoDB's streams know what was before for half of that."""

LATEST = datetime.max.replace(tzinfo=UTC)


def names(text: str, user_id: str) -> bool:
    """Whether a user's id is a word of its own in a text, in capitals or not."""
    return bool(re.search(rf"(?<!\w){re.escape(user_id)}(?!\w)", text, re.IGNORECASE))


def possible_users(alias: str = "default") -> set[str]:
    """Ids that may be those of users: what keys are bound to, and words of what names keys.

    `alias` is Django's name for the database.
    """
    with translated:
        keys = ApiKey.objects.using(alias)
        texts = [*keys.values_list("name", flat=True)]
        texts += _log(alias).values_list("object_repr", flat=True)
        found = set(keys.exclude(user_id="").values_list("user_id", flat=True))
        found |= roll_ups.users(alias)
    words = {word for text in texts for word in _words(text)}
    return found | words | {word.lower() for word in words}


def count_user(user_id: str) -> dict[str, int]:
    """What `forget_user` would find, by kind."""
    with translated:
        return {kind: len(found) for kind, found in _found(user_id, "default", LATEST).items()}


def forget_user(user_id: str, alias: str = "default", until: datetime = LATEST) -> dict[str, int]:
    """Delete what was made `until` a time. Returns counts by kind, without those of roll-ups.

    A key that is bound to the user is deleted. One that is not goes on, with its prefix as its
    name: it is not the user's. Roll-ups go with the whole last day, of which what came later has
    to be counted again.
    """
    with translated, transaction.atomic(alias):
        lock_until_commit(ROLL_UPS_OF_USERS, alias)
        found = _found(user_id, alias, until)
        _log(alias).filter(pk__in=found["log_entries"]).delete()
        bound = ApiKey.objects.using(alias).filter(pk__in=found["api_keys"])
        uses = ApiKeyUse.objects.using(alias)
        uses.filter(prefix__in=list(bound.values_list("prefix", flat=True))).delete()
        bound.delete()
        ApiKey.objects.using(alias).filter(pk__in=found["key_names"]).update(name=F("prefix"))
        roll_ups.rows_of_user(user_id, alias, last=until.date()).delete()
        _remember(user_id, alias, min(until, datetime.now(UTC)))
    if found["api_keys"]:
        api_keys.forget()
    return {kind: len(keys) for kind, keys in found.items()}


def _remember(user_id: str, alias: str, at: datetime) -> None:
    """Keep what a table's stream tells later of the time before from bringing roll-ups back."""
    forgotten = ForgottenUser.objects.using(alias)
    forgotten.filter(at__lt=at - REMEMBERED_FOR).delete()
    forgotten.update_or_create(pseudonym=pseudonym(user_id), defaults={"at": at})


def _found(user_id: str, alias: str, until: datetime) -> dict[str, list[Any]]:
    """The primary keys of what there is of a user, by kind."""
    keys = ApiKey.objects.using(alias).filter(created__lte=until)
    bound = list(keys.filter(user_id=user_id).values_list("pk", flat=True))
    others = keys.exclude(user_id=user_id)
    entries = _log(alias).filter(action_time__lte=until)
    return {
        "log_entries": [
            entry.pk
            for entry in entries.only("object_id", "object_repr").iterator()
            if entry.object_id in bound or names(entry.object_repr, user_id)
        ],
        "api_keys": bound,
        "key_names": [
            key.pk for key in others if key.name != key.prefix and names(key.name, user_id)
        ],
    }


def _log(alias: str) -> "QuerySet[LogEntry]":
    """The admin's log about API keys."""
    return LogEntry.objects.using(alias).filter(
        content_type__app_label=ApiKey._meta.app_label,
        content_type__model=ApiKey._meta.model_name,
    )


def _words(text: str) -> Iterator[str]:
    """The words of a name, as a user's id may be written there."""
    yield text
    yield from re.findall(r"\w+", text)
    for word in text.split():
        bare = word.strip("'\"`.,:;()[]<>\N{RIGHT SINGLE QUOTATION MARK}")
        yield re.sub("['\N{RIGHT SINGLE QUOTATION MARK}]s$", "", bare)


def scrub(alias: str = "default", check_time: Callable[[], None] = lambda: None) -> None:
    """Leave no bytes in the database's files of rows that were deleted before this call.

    Not needed if this is also the database with the interactions (`Database.holds_accounts`): then
    its own `scrub` does it. Raises as that does. PostgreSQL has VACUUM, and receipts say so.
    """
    if is_postgresql(alias):
        return
    with translated:
        scrubbed_database.scrub(Statements(alias), datetime.now(UTC), check_time)
