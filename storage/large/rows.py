"""Rows whose texts lie in objects: how a database writes, fetches and removes these.

What its rows have in place of the texts: Note [Stand-ins] in `storage.large.stand_ins`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from storage.exceptions import DamagedArchive, StorageError, StorageUnavailable
from storage.large.stand_ins import (
    WHOLE_MESSAGE,
    Kept,
    in_object,
    interaction_of,
    reference_of,
    same_text,
    standing_in,
)
from storage.large.texts import LargeTexts
from storage.models import ChatInteraction
from storage.records.json import Record, to_record
from storage.records.pages import TextsOf
from storage.records.stubs import Stub, TakenByStub
from storage.records.texts import OBJECT, TextObject, characters_of

ATTEMPTS = 5
"""How often a row is read again because its object is gone."""

FETCHED_CHARACTERS = 4_000_000
"""Texts that are fetched side by side: what a page has (`pages.PAGE_TEXT`)."""

ReadAgain = Callable[[str], ChatInteraction | None]
"""Returns what a database has now under an id, with stand-ins."""


class LargeRows:
    """Writes, fetches and removes the large texts of one database's rows."""

    def __init__(self, objects: LargeTexts) -> None:
        self.objects = objects

    def packed(
        self, interaction: ChatInteraction, replaced: ChatInteraction | None = None
    ) -> ChatInteraction:
        """The interaction as a row has it: as it is, or with stand-ins for texts in a new object.

        The object of the row that it replaces serves again if that has the same texts.
        """
        large = in_object(interaction.message, interaction.response)
        if large is None:
            return interaction
        message, response = large
        reference = _serves_again(replaced, message, response)
        if reference is None:
            ids = interaction.user_id, interaction.interaction_id
            reference = self.objects.write(*ids, message, response).dumps()
        return standing_in(
            interaction, message=bool(message), response=bool(response), reference=reference
        )

    def packed_all(self, interactions: Sequence[ChatInteraction]) -> list[ChatInteraction]:
        """As `packed`, for many: side by side. If one cannot be written, the others are removed."""
        large = {
            number: texts
            for number, row in enumerate(interactions)
            if (texts := in_object(row.message, row.response)) is not None
        }
        rows = [interactions[number] for number in large]
        kept = self.objects.write_many(
            [
                (row.user_id, row.interaction_id, *texts)
                for row, texts in zip(rows, large.values(), strict=True)
            ]
        )
        done = list(interactions)
        for (number, (message, response)), reference in zip(large.items(), kept, strict=True):
            done[number] = standing_in(
                done[number],
                message=bool(message),
                response=bool(response),
                reference=reference.dumps(),
            )
        return done

    @contextmanager
    def committing(self, *packed: ChatInteraction) -> Iterator[None]:
        """Around the commit of packed rows: if the storage refuses it, their objects are removed.

        But not if its outcome is unknown, as after any error of a driver, since then a row may name
        them: they are left to the nightly run.
        """
        try:
            yield
        except StorageUnavailable:
            raise
        except (StorageError, TakenByStub):
            self.discard(packed)
            raise

    def discard(self, packed: Iterable[ChatInteraction]) -> None:
        """Remove the objects of rows that were not committed, or are gone."""
        self.remove(
            (row.user_id, row.interaction_id, reference)
            for row in packed
            if (reference := reference_of(row)) is not None
        )

    def remove(self, replaced: Iterable[Kept]) -> None:
        """Remove objects that no row names any more."""
        self.objects.remove(TextObject.loads(reference) for _, _, reference in replaced)

    def whole(self, found: ChatInteraction | None, read_again: ReadAgain) -> ChatInteraction | None:
        """The interaction with its texts. None if it is deleted meanwhile.

        If its object is gone, its row was replaced or deleted, and is read again. Raises
        DamagedArchive if the row names an object that is not there.
        """
        for _ in range(ATTEMPTS):
            if found is None or not self.fill([found.__dict__]):
                return found
            seen = reference_of(found)
            found = read_again(found.interaction_id)
            if found is not None and reference_of(found) == seen:
                raise DamagedArchive(TextObject.loads(str(seen)).name, "it is not there")
        raise StorageUnavailable("The interaction is being changed by others; try again.")

    def all_whole(
        self,
        found: Sequence[ChatInteraction],
        read_again: ReadAgain,
        texts_of: TextsOf,
    ) -> list[ChatInteraction]:
        """The same for many, without those that are deleted, or no longer at their position.

        Those for which `texts_of` is false keep their stand-ins.
        """
        large = [row.__dict__ for row in found if reference_of(row) and texts_of(row.__dict__)]
        gone = {row["interaction_id"] for row in self.fill(large)}
        return [
            whole
            for row in found
            if (whole := self._still_there(row, read_again) if row.interaction_id in gone else row)
        ]

    def first_whole(
        self,
        found: Sequence[ChatInteraction],
        read_again: ReadAgain,
        texts_of: TextsOf,
    ) -> list[ChatInteraction]:
        """As `all_whole`, for the first that are in memory together."""
        characters = 0
        for number, row in enumerate(found):
            if reference_of(row) and texts_of(row.__dict__):
                characters += characters_of(row.__dict__)
                if number and characters > FETCHED_CHARACTERS:
                    found = found[:number]
                    break
        return self.all_whole(found, read_again, texts_of)

    def look_again(
        self,
        found: dict[str, ChatInteraction | Stub],
        look: Callable[[str], ChatInteraction | Stub | None],
        texts_of: TextsOf,
    ) -> dict[str, ChatInteraction | Stub]:
        """What was found under some ids, with texts; `look` tells it of one id."""
        large = [
            seen.__dict__
            for seen in found.values()
            if isinstance(seen, ChatInteraction) and reference_of(seen) and texts_of(seen.__dict__)
        ]
        for row in self.fill(large):
            now = look(row["interaction_id"])
            if now is None:
                del found[row["interaction_id"]]
            else:
                found[row["interaction_id"]] = now
        return found

    def whole_records(
        self, records: list[Record], read_again: ReadAgain, texts_of: TextsOf
    ) -> list[Record]:
        """As `all_whole`, for records."""
        gone = self.fill([record for record in records if OBJECT in record and texts_of(record)])
        if not gone:
            return records
        lost = {record["interaction_id"] for record in gone}
        current: list[Record] = []
        for record in records:
            if record["interaction_id"] not in lost:
                current.append(record)
            elif now := self._still_there(interaction_of(record), read_again):
                current.append(to_record(now))
        return current

    def fill(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Put the texts into rows in place of stand-ins. Returns rows whose object is gone."""
        large = [row for row in rows if row.get(OBJECT)]
        gone: list[dict[str, Any]] = []
        for part in _parts(large):
            kept = [(row["user_id"], row["interaction_id"], kept) for row, kept in part]
            for (row, _), found in zip(part, self.objects.read_many(kept), strict=True):
                if found is None:
                    gone.append(row)
                    continue
                message, response = found
                row.pop(OBJECT)
                row.pop(WHOLE_MESSAGE, None)
                row["message"] = message or row["message"]
                row["response"] = response or row["response"]
        return gone

    def _still_there(self, row: ChatInteraction, read_again: ReadAgain) -> ChatInteraction | None:
        now = self.whole(row, read_again)
        is_it = now is not None and (now.user_id, now.position) == (row.user_id, row.position)
        return now if is_it else None


def _serves_again(replaced: ChatInteraction | None, message: str, response: str) -> str | None:
    """The reference of the replaced row, if its object has exactly these texts."""
    if replaced is None or (reference := reference_of(replaced)) is None:
        return None
    for text, stored in ((message, replaced.message), (response, replaced.response)):
        if not (same_text(stored, text) if text else isinstance(stored, str)):
            return None
    return reference.rpartition(" ")[0]


def _parts(rows: Sequence[dict[str, Any]]) -> Iterator[list[tuple[dict[str, Any], TextObject]]]:
    """The rows in parts that are fetched side by side, each with its reference."""
    part: list[tuple[dict[str, Any], TextObject]] = []
    characters = 0
    for row in rows:
        kept = TextObject.loads(row[OBJECT])
        if part and characters + kept.characters > FETCHED_CHARACTERS:
            yield part
            part, characters = [], 0
        part.append((row, kept))
        characters += kept.characters
    if part:
        yield part
