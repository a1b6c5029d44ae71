"""No cache: the database answers every read. CloudStorage has it when REDIS_URL is not set."""

from collections.abc import Callable

from storage.cache.base import Cache, Find, Read, ReadStored, Writing
from storage.exceptions import NoSharedCache
from storage.models import ChatInteraction
from storage.records.audit import Audit
from storage.records.json import Stored
from storage.records.questions import Question


class NoCache(Cache):
    """Keeps nothing, so there is nothing to keep in step with writes."""

    def get_stored(self, interaction_id: str, read: ReadStored) -> Stored | None:
        return read(interaction_id)

    def answer(self, question: Question, find: Find, read: Read) -> Stored | None:
        found = find(question, read)
        return None if found is None else Stored.of(found)

    def writing(self, interaction_id: str, interaction: ChatInteraction | None = None) -> Writing:
        return Writing()

    def erase_user(self, user_id: str, check_time: Callable[[], None] = lambda: None) -> int:
        return 0

    def get_string(self, key: str) -> str | None:
        return None

    def set_string(self, key: str, value: str, ttl: int) -> None:
        pass

    def audit(self, read: Read, find: Find, sample: int | None) -> Audit:
        raise NoSharedCache("There is no cache: REDIS_URL is not set.")
