"""Looking at a restored copy before it is used or, after a practice, thrown away."""

from itertools import islice

from chat.maintenance.policy import Policy
from storage.backups.base import NotRestored, RestoreReport
from storage.compat import batched
from storage.interface import Storage
from storage.records.pages import PageQuery

STUBS_AT_ONCE = 500
READ_BACK = 100
"""Hot interactions, and archived ones, that a practice reads back."""


def count_stubs(storage: Storage, policy: Policy, report: RestoreReport) -> None:
    """Count archived interactions, and those of them whose segment the archive has not."""
    segments = set(storage.archive.all_segments())
    for stubs in batched(storage.database.all_stubs(), STUBS_AT_ONCE):
        unexpired = [stub for stub in stubs if stub.created_at > policy.cutoff]
        report.archived += len(unexpired)
        report.not_in_archive += sum(stub.segment not in segments for stub in unexpired)


def read_back(storage: Storage, policy: Policy, report: RestoreReport) -> None:
    """Read the newest interactions and some archived ones. Raises NotRestored if one is missing."""
    newest = storage.list_interactions_sync(PageQuery(limit=READ_BACK)).interactions
    ids = [interaction.interaction_id for interaction in newest]
    interrupted = storage.archive.marked()  # not all of their rows count
    for stub in islice(storage.database.all_stubs(), READ_BACK):
        if stub.created_at > policy.cutoff and stub.segment not in interrupted:
            ids.append(stub.interaction_id)
    missing = [each for each in ids if storage.get_json_sync(each) is None]
    if missing:
        raise NotRestored(f"{len(missing)} of {len(ids)} interactions cannot be read back.")
    report.read = len(ids)
