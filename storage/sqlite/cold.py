"""Hot and cold in SQLite: an interaction's row, or its stub in a table of its own.

Each changes over in one transaction. A transaction has few rows, so that other writers wait for it
no longer than for some saves.
"""

from collections.abc import Callable, Sequence, Set
from datetime import datetime
from typing import Any, TypeVar

from django.db import connections, transaction

from storage import expiry
from storage.archive.archive import Archive
from storage.batched import batched
from storage.interface import Storage
from storage.models import ArchivedInteraction, ChatInteraction
from storage.records import cursors
from storage.records.stubs import Stub
from storage.sql_errors import translated
from storage.sqlite import locks, queries, space
from storage.sqlite.statements import Statements

ROWS_AT_ONCE = 500
"""Rows of one transaction, which takes some 20 ms."""

T = TypeVar("T")


class LocalTiers(Storage):
    """The cold side of LocalStorage."""

    holds_accounts = True

    def __init__(self, alias: str, threads: int, archive: Archive) -> None:
        super().__init__(threads, archive)
        self._alias = alias
        self._statements = Statements(alias)
        self._rows = self._statements.rows

    def _read(self, interaction_id: str) -> ChatInteraction | None:
        rows = self._rows(queries.select_by_id(self._alias), {"interaction_id": interaction_id})
        interaction = queries.to_interaction(rows[0]) if rows else None
        if interaction is None or expiry.has_expired(interaction.created_at):
            return None
        return interaction

    def _stub(self, interaction_id: str) -> Stub | None:
        rows = self._rows(queries.select_stub(self._alias), {"interaction_id": interaction_id})
        return queries.to_stub(rows[0]) if rows else None

    def _look(self, interaction_id: str) -> ChatInteraction | Stub | None:
        with translated, self._statements.snapshot():
            return self._read(interaction_id) or self._stub(interaction_id)

    def _stubs(self, interaction_ids: Sequence[str]) -> dict[str, Stub]:
        found: dict[str, Stub] = {}
        with translated:
            for some in batched(interaction_ids, ROWS_AT_ONCE):
                for row in self._stub_rows.filter(pk__in=some):
                    stub = Stub(row.interaction_id, row.created_at, row.segment)
                    found[stub.interaction_id] = stub
        return found

    def _oldest(
        self, until: datetime, limit: int, after: cursors.Position | None
    ) -> list[ChatInteraction]:
        after_time, after_id = after or (None, None)
        parameters = {
            "until": queries.to_text(until),
            "limit": limit,
            "after_time": after_time and queries.to_text(after_time),
            "after_id": after_id,
        }
        sql = queries.select_oldest(self._alias, after=after is not None)
        with translated:
            return [queries.to_interaction(row) for row in self._rows(sql, parameters)]

    def _count_oldest(self, until: datetime, at_most: int) -> int:
        due = self._hot_rows.filter(created_at__lte=until)
        with translated:
            return due.order_by("created_at")[:at_most].count()

    def _move_to_cold(self, interactions: Sequence[ChatInteraction], segment: str) -> int:
        def move(some: Sequence[ChatInteraction]) -> int:
            unchanged = [each for each in some if self._delete_unchanged(each)]
            self._stub_rows.bulk_create(
                ArchivedInteraction(
                    interaction_id=each.interaction_id, created_at=each.created_at, segment=segment
                )
                for each in unchanged
            )
            return len(unchanged)

        return self._in_transactions(move, interactions)

    def _delete_unchanged(self, interaction: ChatInteraction) -> bool:
        sql = queries.delete_unchanged(self._alias)
        return bool(self._statements.changed(sql, queries.to_parameters(interaction)))

    def _return_from_cold(self, interactions: Sequence[ChatInteraction], segment: str) -> int:
        def bring_back(some: Sequence[ChatInteraction]) -> int:
            cold = [each for each in some if self._delete_stubs([each.interaction_id], segment)]
            for each in cold:
                self._rows(queries.insert(self._alias), queries.to_parameters(each))
            return len(cold)

        return self._in_transactions(bring_back, interactions)

    def _adopt(self, interaction: ChatInteraction, segment: str, instead_of: str | None) -> bool:
        with translated, transaction.atomic(self._alias):
            if self._hot_rows.filter(pk=interaction.interaction_id).exists():
                return False
            stubs = self._stub_rows.filter(pk=interaction.interaction_id)
            if instead_of is not None:
                return bool(stubs.filter(segment=instead_of).update(segment=segment))
            self._stub_rows.create(
                interaction_id=interaction.interaction_id,
                created_at=interaction.created_at,
                segment=segment,
            )
            return True

    def _drop_other_stubs(self, segments: Set[str]) -> int:
        named = self._stub_rows.values_list("segment", flat=True).distinct()
        with translated:
            others = set(named) - segments
        return self._in_transactions(
            lambda some: self._stub_rows.filter(segment__in=some).delete()[0], sorted(others)
        )

    def _drop_stubs(self, interaction_ids: Sequence[str], segment: str) -> int:
        return self._in_transactions(
            lambda some: self._delete_stubs(some, segment), interaction_ids
        )

    def _delete_stubs(self, interaction_ids: Sequence[str], segment: str) -> int:
        return int(self._stub_rows.filter(pk__in=interaction_ids, segment=segment).delete()[0])

    def _remove_expired_stubs(self, until: datetime, limit: int) -> int:
        expired = self._stub_rows.filter(created_at__lte=until)
        with translated:
            ids = list(expired.order_by("created_at").values_list("pk", flat=True)[:limit])
        return self._in_transactions(lambda some: expired.filter(pk__in=some).delete()[0], ids)

    def _remove_expired(self, interactions: Sequence[ChatInteraction], until: datetime) -> int:
        return self._remove_from(self._hot_rows.filter(created_at__lte=until), interactions)

    def _remove_of_user(self, interactions: Sequence[ChatInteraction], user_id: str) -> int:
        return self._remove_from(self._hot_rows.filter(user_id=user_id), interactions)

    def _remove_from(self, rows: Any, interactions: Sequence[ChatInteraction]) -> int:
        ids = [each.interaction_id for each in interactions]
        return self._in_transactions(lambda some: rows.filter(pk__in=some).delete()[0], ids)

    def _scrub(self) -> None:
        with translated:
            space.scrub(self._statements)

    def _scrub_seconds(self) -> float:
        with translated:
            return space.scrub_seconds(self._statements)

    def _describe(self) -> dict[str, str | int]:
        return space.describe(connections[self._alias].settings_dict["NAME"])

    def _reclaim(self) -> int:
        with translated:
            return space.reclaim(self._statements)

    def _take_lock(self, name: str, owner: str, seconds: float) -> bool:
        with translated:
            return locks.take(self._alias, name, owner, seconds)

    def _release_lock(self, name: str, owner: str) -> None:
        with translated:
            locks.release(self._alias, name, owner)

    @property
    def _hot_rows(self) -> Any:
        return ChatInteraction.objects.using(self._alias)

    @property
    def _stub_rows(self) -> Any:
        return ArchivedInteraction.objects.using(self._alias)

    def _in_transactions(self, do: Callable[[Sequence[T]], int], things: Sequence[T]) -> int:
        """Some at a time, each part in one transaction; the sum of what `do` gives."""
        total = 0
        for some in batched(things, ROWS_AT_ONCE):
            with translated, transaction.atomic(self._alias):
                total += do(some)
        return total
