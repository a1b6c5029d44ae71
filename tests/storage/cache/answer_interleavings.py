"""Readers who ask for the newest answer to a message, while writers change what answers it.

The database is a dictionary. It keeps all that was ever under an id, with the step of its commit
and that of its acknowledgement, so that a lookup can be judged:

- what it gives was under its id at some moment of the lookup, and is an answer;
- either it was written during the lookup, or nothing newer was an answer all the while;
- if it gives none, nothing was an answer all the while.

So whatever contradicts it came, or went, during the lookup. What was never acknowledged may be
seen or not. It need not be what one look at all ids at one moment would give: the cached pointer
and what it points to are read one after the other. That is why the second point excepts an id
that was deleted, and is used again during the lookup for something older.
"""

from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from math import inf
from typing import Any

from storage.cache.keys import answer_key, interaction_key
from storage.models import ChatInteraction
from storage.models.interaction import FIELDS
from storage.records.questions import Question
from tests.storage.cache.interleavings import CREATED, Interleaving, step

IDS = ("a", "b", "c")
QUESTIONS = (Question("ada", "q"), Question("ada", "q", "m"))
LAGS = (3, 10, 40)
"""Steps that an index may be behind; one of these in a run."""


class Commit:
    """What was put under an id; None if it was deleted."""

    def __init__(self, moment: Any, content: ChatInteraction | None, version: Any) -> None:
        self.moment, self.content, self.version = moment, content, version
        self.acknowledged = inf


class Database:
    """Interactions by id, with their past."""

    def __init__(self, turns: Any) -> None:
        self._turns = turns
        self._versions = count(1)
        self.past = {each: [Commit(-inf, None, 0)] for each in IDS}
        for each in self.past.values():
            each[0].acknowledged = -inf

    def latest(self, interaction_id: str) -> Any:
        return self.past[interaction_id][-1]

    def put(self, interaction_id: str, content: ChatInteraction | None) -> Any:
        done = Commit(self._turns.now, content, next(self._versions))
        if content is not None:
            content.input_tokens = done.version  # tells contents apart
        self.past[interaction_id].append(done)
        return done

    def answers(self, question: Any, moment: Any = inf) -> list[Any]:
        """What an index of that moment has, newest first."""
        found = (
            next(each for each in reversed(past) if each.moment <= moment).content
            for past in self.past.values()
        )
        return sorted((each for each in found if _answers(each, question)), key=_age)

    def possible(self, interaction_id: str, start: float, end: float) -> Iterator[Any]:
        """What a reader from `start` to `end` may take for the content."""
        past = self.past[interaction_id]
        for each in reversed(past):
            if each.moment <= end:
                yield each
            if each.acknowledged < start:
                return


class Unmarked:
    """The cells of one process without marks on answers `before` a commit or `after` it."""

    def __init__(self, cells: Any, when: Any) -> None:
        self._cells, self._when = cells, when

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cells, name)

    def begin(self, key: str, token: bytes, marked: Any) -> Any:
        return self._cells.begin(key, token, () if self._when == "before" else marked)

    def end(self, key: str, token: bytes, value: Any, seconds: float, marked: Any) -> None:
        marked = () if self._when == "after" else marked
        self._cells.end(key, token, value, seconds, marked)

    def mark(self, keys: Any) -> None:
        if self._when != "before":
            self._cells.mark(keys)

    def mark_again(self, keys: Any) -> None:
        if self._when != "after":
            self._cells.mark_again(keys)


class OfAnswers(Interleaving):
    """Writers of some interactions, and readers of the newest answer.

    With an index it may be behind by some steps. Marks then are never evicted, but end when the
    index has caught up. `unmarked`: marks are not set before commits, or after them.
    """

    keys = (*map(answer_key, QUESTIONS), *map(interaction_key, IDS))
    losses = 0.2

    def __init__(
        self, *arguments: Any, has_index: bool = False, unmarked: Any = None, **options: Any
    ) -> None:
        self._has_index, self._unmarked = has_index, unmarked
        super().__init__(*arguments, **options)

    def set_up(self) -> None:
        self.database = Database(self.turns)
        self._lag = self.chance.choice(LAGS) if self._has_index else 0
        self._by_id = self._has_index or self.chance.random() < 0.5
        self._quiet_since = 0
        self._ranks = self.chance.sample(range(100), 20)
        self.evicts = self.evicts and not self._has_index

    def of_process(self, cells: Any) -> Any:
        return Unmarked(cells, self._unmarked) if self._unmarked else cells

    def has_news(self, key: str) -> bool:
        return self.turns.now <= self._quiet_since + 2 * self._lag

    def tasks(self) -> Iterator[Any]:
        for interaction_id in IDS[:2]:
            self._put(interaction_id, self._new(interaction_id)).acknowledged = 0
        yield from ((f"writer {number}", self.write) for number in range(2))
        yield from ((f"reader {number}", self.read) for number in range(3))

    # Writers, as CloudStorage goes about it.

    def write(self) -> None:
        cache = self.a_cache()
        do = [self._save, self._create, self._update, self._update, self._delete, self._create_many]
        for _ in range(self.chance.choice((1, 2))):
            with self.busy():
                done = self.chance.choice(do)(cache, self.chance.choice(IDS))
            for each in done:
                each.acknowledged = self.turns.now
                self.note("acknowledged", each.version)
            self._quiet_since = self.turns.now

    def _save(self, cache: Any, interaction_id: str) -> list[Any]:
        interaction = self._new(interaction_id)
        with cache.writing(interaction_id, interaction) as writing:
            done = self.commit(lambda: self._upsert(interaction))
            writing.committed = _copy(interaction)
        return [done]

    def _upsert(self, interaction: ChatInteraction) -> Any:
        replaced = self.database.latest(interaction.interaction_id).content
        if replaced is not None:
            interaction.created_at = replaced.created_at
        return self._put(interaction.interaction_id, interaction)

    def _create(self, cache: Any, interaction_id: str) -> Any:
        interaction = self._new(interaction_id)
        with cache.writing(interaction_id, interaction) as writing:
            done = self.commit(lambda: self._insert(interaction))
            if done:
                writing.committed = _copy(interaction)
        return done

    def _create_many(self, cache: Any, interaction_id: str) -> list[Any]:
        new = [self._new(each) for each in {interaction_id, self.chance.choice(IDS)}]
        new.sort(key=_age)
        with cache.creating(new):
            return [
                done for each in new for done in self.commit(lambda each=each: self._insert(each))
            ]

    def _insert(self, interaction: ChatInteraction) -> list[Any]:
        if self.database.latest(interaction.interaction_id).content is not None:
            return []
        return [self._put(interaction.interaction_id, interaction)]

    def _update(self, cache: Any, interaction_id: str) -> Any:
        with cache.writing(interaction_id) as writing:
            while True:
                step()
                before = self.database.latest(interaction_id)
                if before.content is None:
                    return []
                changed = _copy(before.content)
                changed.response = self.chance.choice(("", "r", "r"))
                changed.model_used = self.chance.choice(("m", "n"))
                writing.will_commit(changed)
                done = self.commit(lambda c=changed, b=before: self._replace(interaction_id, b, c))
                if done:
                    writing.committed = _copy(changed)
                    return done

    def _delete(self, cache: Any, interaction_id: str) -> Any:
        with cache.writing(interaction_id):
            while True:
                step()
                before = self.database.latest(interaction_id)
                if before.content is None:
                    return []
                done = self.commit(lambda b=before: self._replace(interaction_id, b, None))
                if done:
                    return done

    def _replace(
        self, interaction_id: str, before: Any, content: ChatInteraction | None
    ) -> list[Any]:
        if self.database.latest(interaction_id) is not before:
            return []
        return [self._put(interaction_id, content)]

    def _put(self, interaction_id: str, content: ChatInteraction | None) -> Any:
        self._quiet_since = self.turns.now
        done = self.database.put(interaction_id, content)
        self.note("commits", interaction_id, content)
        return done

    def _new(self, interaction_id: str) -> Any:
        """An interaction that is an answer, most of the time; newer than others, or not."""
        return _interaction(
            interaction_id,
            message=self.chance.choice(("q", "q", "q", "other")),
            response=self.chance.choice(("r", "r", "r", "")),
            model_used=self.chance.choice(("m", "n")),
            created_at=CREATED + timedelta(seconds=self._ranks.pop()),
        )

    # Readers.

    def read(self) -> None:
        cache = self.a_cache()
        question = self.chance.choice(QUESTIONS)
        for _ in range(8):
            start, misses = self.turns.now, []
            self.note("asks", question.model_used)
            found = cache.answer(
                question,
                lambda question, read, misses=misses: self._find(question, read, misses),
                self._read,
            )
            self.reads += 1
            self.hits += not misses
            # What is cached is never behind, even if the index is.
            self.judge(question, found, start, self._lag if misses else 0)

    def _find(self, question: Any, read: Any, misses: Any) -> Any:
        misses.append(question)
        step()
        if not self._by_id:  # one statement, as in SQLite
            found = self.database.answers(question)
            self.note("database:", *found)
            return found[0] if found else None
        behind = self.chance.randrange(self._lag + 1)
        entries = self.database.answers(question, self.turns.now - behind)
        self.note(f"index, {behind} behind:", *entries)
        for entry in entries:
            found = read(entry.interaction_id)
            if found is not None and question.is_answered_by(found):
                return found
        return None

    def _read(self, interaction_id: str) -> Any:
        step()
        content = self.database.latest(interaction_id).content
        self.note("database:", interaction_id, content)
        return content

    def judge(self, question: Any, stored: Any, start: float, lag: Any) -> None:
        found = None if stored is None else stored.interaction
        stale = not self._is_possible(question, found, start, lag)
        self.note("STALE" if stale else "found", found, f"since {start}")
        self.stale += stale

    def _is_possible(self, question: Any, found: Any, start: float, lag: Any) -> bool:
        end = self.turns.now
        age = inf
        if found is not None:
            seen = self.database.possible(found.interaction_id, start, end)
            commit = next((each for each in seen if _same(each.content, found)), None)
            if commit is None or not question.is_answered_by(found):
                return False
            if commit.moment >= start:
                return True
            # It may have been found by the age of an earlier one under its id.
            before = self.database.possible(found.interaction_id, start - lag, end)
            age = min(_age(each.content) for each in before if _answers(each.content, question))
        return all(
            any(
                not _answers(each.content, question) or _age(each.content) >= age
                for each in self.database.possible(interaction_id, start - lag, end)
            )
            for interaction_id in IDS
        )


def _interaction(interaction_id: str, **values: Any) -> Any:
    fixed = {"user_id": "ada", "input_tokens": 0, "output_tokens": 0, "updated_at": CREATED}
    return ChatInteraction.from_values({"interaction_id": interaction_id, **fixed, **values})


def _copy(interaction: ChatInteraction) -> Any:
    return ChatInteraction.from_values({name: getattr(interaction, name) for name in FIELDS})


def _age(interaction: ChatInteraction) -> Any:
    """Smaller for what is newer."""
    return (CREATED - interaction.created_at).total_seconds()


def _answers(content: ChatInteraction | None, question: Any) -> Any:
    return content is not None and question.is_answered_by(content)


def _same(content: ChatInteraction | None, found: Any) -> Any:
    return content is not None and content.input_tokens == found.input_tokens
