"""Passes, which bring the search index up to date with the database.

# Note [In step]

Triggers of the database append the id of each interaction whose text is new, changed or gone to an
outbox, in the transaction of the change. A pass takes ids from there, reads what is stored under
them now, and writes that to the index in one transaction, which needs the write lock of the index;
then it deletes the ids from the outbox in another. Both give their file the same new token
(`storage.sqlite.text_outbox`). Of a pass that is killed between both, the next one does the second.

Until then a search finds the changed ones in the outbox itself. What is archived stays indexed: an
interaction whose row has given way to a stub has the same words.

# Note [Phases]

An index that is made anew first goes through all rows (`rows`), in the order of their ids. What
changes meanwhile is in the outbox. Then it compares itself with the stubs (`stubs`): is one not
indexed, only the archive has its text (`archive`), and `manage.py rebuild_search` reads that. Only
when nothing is missing (`complete`) does a search use it.
"""

import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from storage.compat import batched
from storage.sqlite.statements import Statements
from storage.sqlite.text_file import IndexFile
from storage.sqlite.text_outbox import Outbox, Overtaken
from storage.sqlite.text_state import Contents, State
from storage.sqlite.text_words import Text

CHANGES_AT_ONCE = 100
ROWS_AT_ONCE = 100
PASS_CHANGES = 2_000
PASS_CHARACTERS = 1_000_000
"""What a pass takes: some 100 ms of work, after which others may write to the index."""

PASS_REMOVALS = 20_000
"""Changes of a pass, if most are of what is gone. Few large passes write a part anew less often."""


@dataclass(frozen=True)
class Passes:
    """The passes of one database. Threads and processes may make them at the same time."""

    statements: Statements
    outbox: Outbox
    file: IndexFile

    def take(self, wait: float) -> bool:
        """Take from the outbox, or go on with an index that is incomplete.

        Returns whether there may be more to do. Raises sqlite3.OperationalError if another process
        makes passes for longer than `wait` seconds.
        """
        with self.file.writing(wait, anew=lambda state: not self.fits(state)) as contents:
            token, state = self.outbox.token(), contents.state
            if state.token is not None and token != state.token:  # the last one was killed
                new, last = state.token, state.last
            else:
                last = self._index(contents, self.outbox.oldest(PASS_REMOVALS))
                if not last and state.phase in ("complete", "archive"):
                    return False
                if not last:
                    self._go_on(contents)
                new = secrets.token_hex(16) if last or state.token is None else state.token
                if new != state.token:
                    contents.note(token=new, previous=token, last=last)
        if new != token:
            with suppress(Overtaken):  # another process has done it, or the database has changed
                self.outbox.done(token, new, last)
        return True

    def fits(self, state: State) -> bool:
        """Whether the index has missed nothing of the database."""
        with self.statements.snapshot():
            token = self.outbox.token()
            if token is None or state.token is None:
                return False
            return token == state.token or (token == state.previous and self.outbox.has(state.last))

    def _index(self, contents: Contents, changes: Sequence[tuple[int, str]]) -> int:
        """Index what has changed. Returns the last change that was taken, or 0."""
        found: dict[str, Text | None] = {}
        cold: set[str] = set()
        last = size = count = 0
        for some in batched(changes, CHANGES_AT_ONCE):
            if size >= PASS_CHARACTERS or count >= PASS_CHANGES:
                break
            looked, archived = self.look([each for _, each in some])
            found |= looked
            cold |= archived
            texts = [text for text in looked.values() if text is not None]
            size += sum(text.characters for text in texts)
            count += len(texts) + len(archived)
            last = some[-1][0]
        self.put(contents, found, cold)
        return last

    def put(
        self, contents: Contents, found: Mapping[str, Text | None], cold: Collection[str]
    ) -> None:
        """Index the texts, and remove those that are None. What is archived is indexed already."""
        contents.parts.remove([each for each, text in found.items() if text is None])
        for portion in _portions([text for text in found.values() if text is not None]):
            contents.parts.put(portion)
        if contents.state.phase in ("stubs", "complete") and contents.parts.without(list(cold)):
            contents.note(phase="archive")

    def look(self, interaction_ids: Sequence[str]) -> tuple[dict[str, Text | None], set[str]]:
        """The texts of these interactions, None of those that are gone; and those archived."""
        ids = list(dict.fromkeys(interaction_ids))
        with self.statements.snapshot():
            hot = self.outbox.texts(ids)
            cold = self.outbox.archived(ids)
        return {each: hot.get(each) for each in ids if each not in cold}, cold

    def _go_on(self, contents: Contents) -> None:
        """Take a step in making an index that is not complete: see Note [Phases]."""
        state = contents.state
        if state.phase == "rows":
            self._index_rows(contents, state.done_until)
            return
        ids = self.outbox.archived_after(state.done_until, PASS_CHANGES)
        if contents.parts.without(ids):
            contents.note(phase="archive")
        elif ids:
            contents.note(done_until=ids[-1])
        else:
            contents.note(phase="complete")

    def _index_rows(self, contents: Contents, done_until: str) -> None:
        size = 0
        for _ in range(PASS_CHANGES // ROWS_AT_ONCE):
            texts = self.outbox.texts_after(done_until, ROWS_AT_ONCE)
            if not texts:
                contents.note(phase="stubs", done_until="")
                return
            for portion in _portions(texts):
                contents.parts.put(portion)
            done_until = texts[-1].interaction_id
            size += sum(text.characters for text in texts)
            if size >= PASS_CHARACTERS:
                break
        contents.note(done_until=done_until)


def _portions(texts: Sequence[Text]) -> Iterator[list[Text]]:
    """The texts in portions that are in memory together."""
    portion: list[Text] = []
    characters = 0
    for text in texts:
        if portion and characters + text.characters > PASS_CHARACTERS:
            yield portion
            portion, characters = [], 0
        portion.append(text)
        characters += text.characters
    if portion:
        yield portion
