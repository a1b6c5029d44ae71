"""Files whose pages were divided while they held what is deleted by now."""

import os
import random
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from django.db import connections

from storage.archive.archive import configured_archive
from storage.large.texts import LargeTexts
from storage.models import ChatInteraction, Lock
from storage.sqlite import (
    checkpoints,
    database_file,
    scrubbed_database,
    text_parts,
    text_scrubbing,
)
from storage.sqlite.database import SqliteDatabase
from storage.sqlite.file_format import Layout
from storage.sqlite.scrubbed_database import ScrubbedDatabase
from storage.sqlite.statements import Statements
from storage.sqlite.text_file import IndexFile
from storage.sqlite.text_scrubbing import ScrubbedIndex
from storage.sqlite.text_words import Text
from tests.sqlite import connect

MARKER = b"marker"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Divided:
    """What tests of scrubbing do with a file, whichever it is."""

    scrubbed_class: Any = None
    scrubbed: Any
    file: Any

    def plant(self) -> Self:
        """Put something into the unallocated part of every page, as if all had been divided."""
        self.empty_log()
        self._write_into_gaps(lambda size: MARKER.rjust(size // 2) if size > 20 else b"")
        return self

    def wipe(self) -> None:
        """Take it out again, behind everybody's back."""
        self._write_into_gaps(bytes)

    def _write_into_gaps(self, make: Any) -> None:
        descriptor = database_file.descriptor(str(self.file))
        content = self.file.read_bytes()
        layout = Layout.of(content[:100], len(content))
        for number in set(range(1, layout.pages + 1)) - layout.skipped():
            begin, end = layout.gap(content, (number - 1) * layout.page_size)
            os.pwrite(descriptor, make(end - begin), begin)
        with closing(connect(self.file)) as connection:  # all others forget what they have read
            connection.execute("PRAGMA user_version = 1")

    @property
    def log(self) -> Path:
        return Path(f"{self.file}-wal")

    def empty_log(self) -> None:
        checkpoints.empty_log(self.scrubbed.is_emptied, lambda: None)

    def found(self) -> int:
        """How much there is of what was deleted, in the file without its log."""
        self.empty_log()
        return self.in_file()

    def in_file(self) -> int:
        return self.file.read_bytes().count(MARKER)

    def next_page(self) -> int | None:
        progress = self.scrubbed.progress()
        return progress and progress.next_page


class DividedDatabase(Divided):
    """A database, and its rows."""

    query = "SELECT sum(length(message)) FROM storage_chatinteraction"
    scrubbed_class = ScrubbedDatabase

    def __init__(self, alias: str, make_interaction: Any, page_size: int = 4096) -> None:
        self._make = make_interaction
        self.statements = Statements(alias)
        self.file = Path(connections[alias].settings_dict["NAME"])
        self.scrubbed = ScrubbedDatabase(self.statements)
        self._prepare(alias, page_size)
        self.database = SqliteDatabase(alias, LargeTexts(configured_archive().files))
        self.kept: dict[str, Any] = {}

    def _prepare(self, alias: str, page_size: int) -> None:
        with closing(connect(self.file)) as connection:
            connection.execute(f"PRAGMA page_size = {page_size}")
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("VACUUM")
        with connections[alias].schema_editor() as editor:
            for model in (ChatInteraction, Lock):
                editor.create_model(model)

    def save(self) -> Self:
        """Save a few rows."""
        choose = random.Random(1)
        rows = [self._row(choose, "somebody") for _ in range(100)]
        self.database.create_many(rows)
        self.kept = {each.interaction_id: each for each in rows}
        return self

    def divide(self) -> Self:
        """Save and delete until the files have something of what was deleted."""
        choose = random.Random(0)
        for _ in range(30):
            rows = [self._row(choose, "marker") for _ in range(60)]
            rows += [self._row(choose, f"u{n}") for n in range(90)]
            choose.shuffle(rows)
            self.database.create_many(rows)
            mine = [each for each in rows if each.user_id.startswith("marker")]
            for each in choose.sample(mine, 30):
                self.database.update(
                    each.interaction_id, {"response": "marker" * 50}, None, lambda _: None
                )
            choose.shuffle(mine)
            self.database.remove_of_user(mine, mine[0].user_id)
            self.kept |= {
                each.interaction_id: each for each in rows if not each.user_id.startswith("marker")
            }
            if self.found():
                return self
        raise AssertionError("no copies were left, so this tests nothing")

    def _row(self, choose: Any, name: Any) -> Any:
        return self._make(
            interaction_id=f"{name}-{choose.getrandbits(128):032x}".ljust(150, "y"),
            user_id=name.ljust(150, "x"),
            message=f"{name} " * choose.randrange(40),
            response=f"{name} " * choose.randrange(60),
            input_tokens=1000,
            created_at=NOW + timedelta(microseconds=choose.randrange(10**10)),
        )

    def without_checkpoints(self) -> None:
        connections[self.statements.alias].connection.execute("PRAGMA wal_autocheckpoint = 0")

    def forget_progress(self) -> None:
        Lock.objects.using(self.statements.alias).all().delete()

    def began_at(self, moment: datetime) -> None:
        """As if the pass that is under way had begun then."""
        Lock.objects.using(self.statements.alias).update(until=moment)

    def touch(self, connection: Any = None) -> None:
        """Let a writer write every page of the table, and leave everything in its place."""
        sql = "UPDATE storage_chatinteraction SET input_tokens = input_tokens + 1"
        if connection is None:
            self.statements.write(sql, {})
        else:
            connection.execute(sql)

    def scrub(self, since: datetime = NOW, check_time: Any = lambda: None) -> Any:
        return scrubbed_database.scrub(self.statements, since, check_time)

    def is_sound(self) -> bool:
        """Nothing is lost, and SQLite finds no mistake."""
        rows = self.statements.rows("SELECT interaction_id FROM storage_chatinteraction", {})
        assert {each for (each,) in rows} == self.kept.keys()
        for interaction_id, expected in self.kept.items():
            found = self.database.read(interaction_id)
            expected.input_tokens = found.input_tokens  # `touch` has changed it
            assert found.same_content(expected)
        return self.statements.rows("PRAGMA integrity_check", {}) == [("ok",)]


class DividedIndex(Divided):
    """A search index. Its pages of words are small, so that there are many."""

    query = "SELECT sum(length(words)) FROM entry"
    scrubbed_class = ScrubbedIndex

    def __init__(self, database: Path) -> None:
        database.touch()
        self.index = IndexFile(str(database))
        self.file = self.index.path
        self.scrubbed = ScrubbedIndex(self.index)
        self.kept: dict[str, Any] = {}
        self._choose = random.Random(0)

    def save(self) -> Self:
        """Index a few texts."""
        self._put([self._text("somebody") for _ in range(300)])
        return self

    def divide(self) -> Self:
        """Index and remove until the file has something of what was removed."""
        for _ in range(30):
            texts = [self._text("marker") for _ in range(30)]
            texts += [self._text(f"u{number}") for number in range(40)]
            self._choose.shuffle(texts)
            self._put(texts)
            gone = [text.interaction_id for text in texts if text.user_id == "marker"]
            with self._writing() as contents:
                contents.parts.remove(gone)
            for interaction_id in gone:
                del self.kept[interaction_id]
            if self.found() > self.in_separators() > 0:
                return self
        raise AssertionError("no copies were left, so this tests nothing")

    def in_separators(self) -> int:
        with self.index.reading() as contents:
            (number,) = contents.parts.numbers()
            rows = contents.connection.execute(f"SELECT term FROM part_{number}_idx")
            return sum(MARKER in term for (term,) in rows)

    def _put(self, texts: Any) -> None:
        with self._writing() as contents:
            contents.parts.put(texts)
        self.kept |= {text.interaction_id: text for text in texts}

    def _writing(self) -> Any:
        return self.index.writing(20, anew=lambda _: False)

    def _text(self, name: str) -> Text:
        number = self._choose.getrandbits(60)
        words = [
            f"{name}x{self._choose.getrandbits(20)}" for _ in range(self._choose.randrange(60))
        ]
        moment = f"2026-11-22 12:00:{number % 60:02}.000000"
        return Text(f"{name}-{number:x}".ljust(100, "y"), name, moment, " ".join(words), "common")

    def without_checkpoints(self) -> None:
        self.index.value("wal_autocheckpoint = 0")  # its one idle connection

    def forget_progress(self) -> None:
        with self._writing() as contents:
            contents.connection.execute("DELETE FROM scrubbed")

    def began_at(self, moment: datetime) -> None:
        with self._writing() as contents:
            contents.connection.execute("UPDATE scrubbed SET began = ?", [moment.isoformat()])

    def touch(self, connection: Any = None) -> None:
        """Let a writer write every page of entries, and leave everything in its place."""
        year = "CASE WHEN created_at < '2027' THEN '2027' ELSE '2026' END"
        sql = f"UPDATE entry SET created_at = {year} || substr(created_at, 5)"
        if connection is not None:
            connection.execute(sql)
            return
        with self._writing() as contents:
            contents.connection.execute(sql)

    def scrub(self, since: datetime = NOW, check_time: Any = lambda: None) -> Any:
        return text_scrubbing.scrub(self.index, since, check_time)

    def is_sound(self) -> bool:
        """Nothing is lost, and neither SQLite nor FTS5 finds a mistake."""
        with self._writing() as contents:
            connection = contents.connection
            found = connection.execute("SELECT interaction_id FROM entry").fetchall()
            assert {each for (each,) in found} == self.kept.keys()
            table = f"part_{contents.parts.numbers()[0]}"
            connection.execute(f"INSERT INTO {table} ({table}) VALUES ('integrity-check')")
            for text in self.kept.values():
                for word in text.message.split()[:2]:
                    asked = [word, text.interaction_id]
                    sql = f"SELECT 1 FROM {table} p JOIN entry ON position = p.rowid"
                    sql += f" WHERE {table} MATCH ? AND interaction_id = ?"
                    assert connection.execute(sql, asked).fetchall()
            return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def with_small_pages(monkeypatch: Any) -> None:
    """Let FTS5 divide the words of an index into pages of some 100 bytes."""
    create = text_parts.Parts._create

    def created(parts: Any, table: Any) -> None:
        create(parts, table)
        parts.connection.execute(f"INSERT INTO {table} ({table}, rank) VALUES ('pgsz', 100)")

    monkeypatch.setattr(text_parts.Parts, "_create", created)
    monkeypatch.setattr(text_parts, "ONE_BY_ONE", 0)  # no part is written anew
