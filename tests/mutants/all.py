"""All mutants. Those that begin with M were tried by hand first; N are later ones."""

from tests.mutants.mutant import Mutant

POWER_LOSS = "tests/system/power/test_power_loss.py::test_nothing_of_it_is_lost_on_more_disks"
A_CHANGE = "tests/storage/sqlite/test_groups.py::test_nobody_else_writes_within_a_change"
MANY = {"POWER_LOSS_POINTS": "60", "POWER_LOSS_DISKS": "1"}

MUTANTS = [
    Mutant(
        "M1",
        "the log is synced with each commit",
        "config/databases.py",
        "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;",
        "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;",
        [f"{POWER_LOSS}[writes]"],
        MANY,
        exhaustive=True,
    ),
    Mutant(
        "M2",
        "a transaction that writes begins with the write lock",
        "storage/sqlite/writer.py",
        '            connection.execute("BEGIN IMMEDIATE")\n        finally:',
        '            connection.execute("BEGIN")\n        finally:',
        [f"{A_CHANGE}[nothing-1]"],
    ),
    Mutant(
        "M3",
        "a verified key is remembered for 2 seconds only",
        "storage/accounts/api_keys.py",
        "MEMORY_SECONDS = 2.0",
        "MEMORY_SECONDS = 3600.0",
        ["tests/storage/test_api_keys.py::test_revoked_means_within_seconds"],
    ),
    Mutant(
        "M4",
        "a cursor belongs to its query",
        "storage/records/cursors.py",
        "content + repr(scope).encode()",
        "content",
        ["tests/storage/records/test_cursors.py::test_a_cursor_is_good_for_one_scope_only"],
    ),
    Mutant(
        "M5",
        "a completion compares the user (SQLite)",
        "storage/sqlite/database.py",
        "if interaction is None or user_id not in (None, interaction.user_id):",
        "if interaction is None:",
        [
            "tests/contract/test_local.py::TestLocalStorage::test_a_change_by_another_user_finds_nothing"
        ],
    ),
    Mutant(
        "M6",
        "staff need the permission to view",
        "chat/api/authentication.py",
        'if not user.has_perm("storage.view_chatinteraction"):',
        "if False:",
        [
            "tests/chat/api/test_permissions.py::test_routes_to_interactions_answer_every_caller_as_the_table_says"
        ],
    ),
    Mutant(
        "M7",
        "callers have idempotency keys of their own",
        "chat/api/idempotency.py",
        'known_as = f"{caller.identity}:{key}".encode()',
        'known_as = f":{key}".encode()',
        ["tests/chat/api/test_idempotency.py::test_two_callers_may_use_the_same_key"],
    ),
    Mutant(
        "M8",
        "a key is recorded in the transaction of its row (SQLite)",
        "storage/sqlite/database.py",
        "            idempotency_keys.remember(self._statements, idempotency, stored)\n"
        "            return stored, created\n",
        '            self._statements.write("COMMIT", {})\n'
        '            self._statements.write("BEGIN IMMEDIATE", {})\n'
        "            idempotency_keys.remember(self._statements, idempotency, stored)\n"
        "            return stored, created\n",
        [f"{POWER_LOSS}[writes]"],
        MANY,
        exhaustive=True,
    ),
    Mutant(
        "M9",
        "deleted rows are overwritten",
        "config/databases.py",
        "PRAGMA secure_delete=ON;",
        "PRAGMA secure_delete=OFF;",
        ["tests/chat/maintenance/test_erasing_traces.py"],
    ),
    Mutant(
        "M10",
        "logs have the route, not the path",
        "config/logs.py",
        'route = getattr(request.resolver_match, "route", None) or "(no route)"',
        "route = request.path",
        ["tests/chat/api/test_privacy.py::test_a_user_id_in_an_address_is_not_logged"],
    ),
    Mutant(
        "M11",
        "an erasure looks again",
        "chat/maintenance/erasure/attempt.py",
        "if sweeps > 1 and self.found[user_id]",
        "if self.found[user_id]",
        [
            "tests/chat/maintenance/test_erasing.py::test_what_comes_in_between_two_looks_is_found",
            "tests/chat/maintenance/test_erasing.py::test_a_lagging_index_does_not_hide_what_was_just_saved",
        ],
    ),
    Mutant(
        "M12",
        "a restore erases again who was erased",
        "chat/maintenance/erasure/after_restore.py",
        "        if erasures.any:\n            erased += _erase_interactions",
        "        if False:\n            erased += _erase_interactions",
        ["tests/storage/backups/test_after_restore.py::test_who_was_erased_since_is_erased_again"],
    ),
    Mutant(
        "M13",
        "a move looks whether its segment was rewritten",
        "chat/maintenance/archiving.py",
        "    lost = [each for each in written if archive.manifest(each.name) != each.written]\n",
        "    lost: list[_Segment] = []\n",
        [
            "tests/chat/maintenance/test_crossing.py::test_rows_whose_segment_another_run_has_rewritten_are_hot_again"
        ],
    ),
    Mutant(
        "M14",
        "the checksum of a backup's parts",
        "storage/backups/manifests.py",
        "if hashlib.sha256(document).hexdigest() != backup.sha256:",
        "if False:",
        ["tests/storage/backups/test_damage.py::test_every_flipped_bit_of_a_document_is_found"],
    ),
    Mutant(
        "M15",
        "the limit of a body",
        "chat/api/bodies.py",
        "    if length > limit:\n",
        "    if False:\n",
        ["tests/chat/api/test_batch.py", "tests/chat/api/test_interactions.py"],
    ),
    Mutant(
        "M16",
        "files are synced: backups",
        "storage/archive/durable.py",
        "        os.fsync(descriptor)\n",
        "        pass\n",
        [f"{POWER_LOSS}[backups]"],
        MANY,
        exhaustive=True,
    ),
    Mutant(
        "M17",
        "an expired key is refused",
        "storage/accounts/api_keys.py",
        "found.revoked or found.has_expired or",
        "found.revoked or",
        ["tests/storage/test_api_keys.py::test_an_expired_key_is_not_found"],
    ),
    Mutant(
        "M18",
        "files are synced: the archive",
        "storage/archive/folder.py",
        "            durable.rename(temporary, path)\n",
        "            temporary.replace(path)\n",
        [f"{POWER_LOSS}[archive]"],
        MANY,
        exhaustive=True,
    ),
    Mutant(
        "M19",
        "a row expires at its last moment, not after",
        "storage/expiry.py",
        "return created_at <= cutoff()",
        "return created_at < cutoff()",
        ["tests/contract/test_local.py"],
    ),
    Mutant(
        "M20",
        "the session's cookie goes over HTTPS only",
        "config/settings.py",
        "SESSION_COOKIE_SECURE = True",
        "SESSION_COOKIE_SECURE = False",
        ["tests/config/test_https.py::test_production_keeps_to_https"],
    ),
    Mutant(
        "M21",
        "an erasure refuses a user under a legal hold",
        "chat/maintenance/erasure/attempt.py",
        "                    self._refuse_held(user_id, compaction.holds)\n",
        "                    pass\n",
        ["tests/chat/maintenance/test_holds.py"],
    ),
    Mutant(
        "N1",
        "a completion compares the user (DynamoDB)",
        "storage/dynamodb/database.py",
        "if interaction is None or user_id not in (None, interaction.user_id):",
        "if interaction is None:",
        [
            "tests/contract/test_cloud.py::TestOnMotoAndFakeredis::test_a_change_by_another_user_finds_nothing"
        ],
    ),
    Mutant(
        "N2",
        "a deletion compares the user (DynamoDB)",
        "storage/dynamodb/database.py",
        'if user_id not in (None, item["user_id"]["S"]):',
        "if False:",
        [
            "tests/contract/test_cloud.py::TestOnMotoAndFakeredis::test_a_deletion_by_another_user_finds_nothing"
        ],
    ),
    Mutant(
        "N3",
        "a deletion compares the user (SQLite)",
        "storage/sqlite/database.py",
        "queries.delete(self._alias, of_user=user_id is not None)",
        "queries.delete(self._alias, of_user=False)",
        [
            "tests/contract/test_local.py::TestLocalStorage::test_a_deletion_by_another_user_finds_nothing"
        ],
    ),
    Mutant(
        "N4",
        "a revoked key is refused",
        "storage/accounts/api_keys.py",
        "found.revoked or found.has_expired or",
        "found.has_expired or",
        ["tests/storage/test_api_keys.py::test_a_revoked_key_stops_working_when_its_memory_ends"],
    ),
    Mutant(
        "N5",
        "a reader fills the cache with its lease only",
        "storage/cache/leases.py",
        '    if cell != b"T" + token:\n        return cell\n',
        "",
        ["tests/storage/cache/test_model.py", "tests/storage/cache/test_cells.py"],
    ),
    Mutant(
        "N6",
        "two writers at once leave no value in the cache",
        "storage/cache/leases.py",
        '    if cell is not None and cell[:1] in (b"B", BUSY):\n        return BUSY\n',
        "",
        ["tests/storage/cache/test_model.py", "tests/storage/cache/test_cells.py"],
    ),
    Mutant(
        "N7",
        "the chunks of a backup are synced",
        "storage/backups/chunks.py",
        "            os.fsync(file.fileno())\n",
        "            pass\n",
        [f"{POWER_LOSS}[backups]"],
        MANY,
        exhaustive=True,
    ),
    Mutant(
        "N8",
        "a chunk of a backup has the content of its name",
        "storage/backups/chunks.py",
        "if content is None or hashlib.sha256(content).hexdigest() != name:",
        "if content is None:",
        ["tests/storage/backups/test_damage.py::test_a_chunk_with_another_content_is_found"],
    ),
    Mutant(
        "N9",
        "sessions of staff may only read",
        "chat/api/authentication.py",
        "(caller.may_write or request.method in SAFE_METHODS)",
        "True",
        [
            "tests/chat/api/test_permissions.py::test_routes_to_interactions_answer_every_caller_as_the_table_says"
        ],
    ),
    Mutant(
        "N10",
        "a row that was changed while it was moved is not left in its segment",
        "chat/maintenance/archiving.py",
        "is_whole = changed.isdisjoint(row.interaction_id for row in segment.rows)",
        "is_whole = True",
        [
            "tests/chat/maintenance/test_archiving.py::test_what_is_changed_or_deleted_meanwhile_waits_for_the_next_run"
        ],
    ),
    Mutant(
        "N11",
        "connections are closed before a fork",
        "storage/sqlite/base.py",
        "os.register_at_fork(before=close_idle_connections, after_in_child=_forget_parent)",
        "os.register_at_fork(after_in_child=_forget_parent)",
        ["tests/storage/sqlite/test_forks.py"],
    ),
    Mutant(
        "N12",
        "so does the one after a write of a group has failed",
        "storage/sqlite/writer.py",
        '            connection.execute("BEGIN IMMEDIATE")\n            outcomes =',
        '            connection.execute("BEGIN")\n            outcomes =',
        [f"{A_CHANGE}[one that fails-2]"],
    ),
    Mutant(
        "N13",
        "and the one of each write by itself",
        "storage/sqlite/writer.py",
        '                connection.execute("BEGIN IMMEDIATE")\n            except',
        '                connection.execute("BEGIN")\n            except',
        [f"{A_CHANGE}[one too large for the disk-3]"],
    ),
    Mutant(
        "N14",
        "a copy of a table leaves the archive alone",
        "chat/maintenance/identity.py",
        "if not adopt and owner and name and owner != name:",
        "if False:",
        [
            "tests/chat/maintenance/test_identity.py::test_a_copy_of_a_table_leaves_the_archive_alone_until_it_takes_over"
        ],
    ),
    Mutant(
        "N15",
        "no server starts on a table whose restore has not ended",
        "storage/dynamodb/own_name.py",
        """if item is not None and item["name"]["S"] != client.table:""",
        "if False:",
        [
            "tests/storage/backups/test_recovery.py::test_until_the_erased_are_gone_no_server_starts_on_the_table"
        ],
    ),
    Mutant(
        "N16",
        "a stub goes whose row is not in its segment",
        "chat/maintenance/stub_correction.py",
        "stubs.note_wrong(segment, known - rows)",
        "pass",
        [
            "tests/chat/maintenance/test_after_restore.py::test_rows_that_moved_are_kept_and_stubs_without_rows_go"
        ],
    ),
    Mutant(
        "N17",
        "the stubs of a segment stay until its manifest is found",
        "chat/maintenance/stub_correction.py",
        "may_be_right=segment in lost",
        "may_be_right=False",
        [
            "tests/chat/maintenance/test_after_restore.py::test_a_segment_whose_manifest_is_lost_keeps_its_stubs"
        ],
    ),
]
