"""Everything about a user: each interaction once, wherever it is and wherever it goes."""

from datetime import UTC, date, datetime, timedelta
from itertools import chain

import pytest

from chat.maintenance import holds
from chat.maintenance.erasure import ledger
from chat.maintenance.export.exporting import kept_besides, pages_of
from chat.maintenance.holds import Hold
from storage.archive.archive import Archive
from storage.archive.folder import ArchiveFolder
from storage.exceptions import DamagedArchive
from storage.models import ApiKey
from storage.records.pages import PAGE_TEXT
from tests import switches

pytestmark = pytest.mark.every_backend(exhaustive=True)

DAY = datetime(2026, 10, 3, tzinfo=UTC)
ODD = ["née", "😀", "a/b", "a#b", "%2F", " x ", "Z", "z", "\u2028", "e\u0301"]


@pytest.fixture
def archive(storage, tmp_path, monkeypatch):
    archive = Archive(ArchiveFolder(location=tmp_path / "archive"))
    monkeypatch.setattr(storage, "archive", archive)
    return archive


@pytest.fixture
def make_old(make_interaction):
    """Interactions of several days, three a day."""

    def make(number, **fields):
        created_at = DAY + timedelta(hours=8 * number)
        times = {"created_at": created_at, "updated_at": created_at}
        return make_interaction(**({"interaction_id": f"i{number:03}"} | times | fields))

    return make


class Tiers:
    """Moves interactions to cold storage and back, each day's as a run would."""

    def __init__(self, storage):
        self.storage = storage
        self.archive = storage.archive

    def freeze(self, ids=None):
        """Archive those with these ids that are hot, or all."""
        found = self.storage.oldest(DAY + timedelta(days=1000), 1000)
        days = {}
        for each in found:
            if ids is None or each.interaction_id in ids:
                days.setdefault(each.created_at.date(), []).append(each)
        for day, rows in days.items():
            segment = self.archive.new_segment(day)
            self.archive.write(segment, rows)
            assert self.storage.move_to_cold(rows, segment) == len(rows)

    def thaw(self, ids=None, *, tidy=True):
        """Restore those with these ids, or all; the segments are rewritten, unless told not to."""
        for day in self.archive.days():
            for segment in self.archive.segments(day):
                rows = list(self.archive.rows(segment))
                back = [row for row in rows if ids is None or row.interaction_id in ids]
                self.storage.return_from_cold(back, segment)
                if tidy and back:
                    rest = [row for row in rows if row not in back]
                    self.archive.write(segment, rest)


@pytest.fixture
def tiers(storage, archive):
    return Tiers(storage)


@pytest.fixture
def save(storage, archive):
    def save(interactions):
        for start in range(0, len(interactions), 100):
            storage.create_interactions_sync(interactions[start : start + 100])
        return interactions

    return save


def newest_first(interactions):
    return sorted(interactions, key=lambda each: (each.created_at, each.interaction_id))[::-1]


def seen(interactions):
    return [(each.created_at, each.interaction_id, each.response) for each in interactions]


def newest_first_of(found):
    """What an export returned, in order: what changed tiers meanwhile may come last."""
    return sorted(found, reverse=True)


def export(storage, user_id="ada", at_once=3, **options):
    """With pages of few rows, so that there are many of them."""
    return seen(chain.from_iterable(pages_of(storage, user_id, at_once, **options)))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7])
@pytest.mark.parametrize("frozen", ["none", "all", "older", "every second"])
def test_hot_and_cold_ones_newest_first(storage, save, tiers, make_old, count, frozen):
    rows = save([make_old(number) for number in range(count)])
    step = {"none": 0, "all": count, "older": count // 2, "every second": count}[frozen]
    chosen = rows[:step] if frozen != "every second" else rows[::2]
    tiers.freeze({each.interaction_id for each in chosen})
    assert export(storage) == seen(newest_first(rows))


@pytest.mark.every_backend
def test_it_goes_on_below_a_time_and_id(storage, save, tiers, make_old):
    rows = save([make_old(number) for number in range(10)])
    tiers.freeze({f"i{number:03}" for number in (0, 2, 3, 5, 8)})
    whole = export(storage)
    for place, (created_at, interaction_id, _) in enumerate(whole):
        known = [each[:2] for each in whole[: place + 1]]
        rest = export(storage, before=(created_at, interaction_id), exported=known)
        assert rest == whole[place + 1 :]
    assert whole == seen(newest_first(rows))


@pytest.mark.every_backend
def test_equal_times_and_odd_ids(storage, save, tiers, make_interaction):
    moment = DAY + timedelta(hours=5)
    rows = save(
        [
            make_interaction(interaction_id=each, created_at=moment, user_id="née 😀/x")
            for each in ODD
        ]
    )
    for frozen in (set(), set(ODD[::2]), set(ODD)):
        tiers.freeze(frozen)
        assert export(storage, "née 😀/x") == seen(newest_first(rows))
        tiers.thaw()


def test_at_midnight_and_at_the_last_microsecond_of_a_day(storage, save, tiers, make_interaction):
    midnight = datetime(2026, 10, 4, tzinfo=UTC)
    moments = [midnight + timedelta(microseconds=each) for each in (-2, -1, 0, 1)]
    rows = save([make_interaction(created_at=each) for each in moments for _ in range(2)])
    for frozen in (rows[::2], rows[1::2]):
        tiers.freeze({each.interaction_id for each in frozen})
        assert export(storage) == seen(newest_first(rows))


def test_only_this_users(storage, save, tiers, make_old):
    save([make_old(number, user_id=("ada", "bob", "Ada")[number % 3]) for number in range(12)])
    tiers.freeze({f"i{number:03}" for number in range(6)})
    for user_id, first in (("ada", 0), ("bob", 1), ("Ada", 2)):
        found = [interaction_id for _, interaction_id, _ in export(storage, user_id)]
        assert found == [f"i{number:03}" for number in (first + 9, first + 6, first + 3, first)]


@pytest.mark.parametrize("user_id", ["", "x" * 300, "a\nb", "\ud800", "nobody"], ids=ascii)
def test_of_somebody_unknown_there_is_nothing(storage, save, make_old, user_id):
    save([make_old(1)])
    assert export(storage, user_id) == []


def test_the_largest_rows(storage, save, tiers, make_old):
    size = 390_000  # in objects
    rows = save(
        [make_old(number, message="x", response="é" * (size // 2 - 1)) for number in range(7)]
    )
    tiers.freeze({"i000", "i001", "i004"})
    assert export(storage) == seen(newest_first(rows))


def test_a_page_of_large_texts_is_short(storage, save, tiers, make_old):
    """A hundred of 8 MB would take 800 MB of a server's memory."""
    size = 900_000
    rows = save([make_old(number, response="x" * size) for number in range(10)])
    tiers.freeze({f"i{number:03}" for number in range(5)})
    pages = [page for page in pages_of(storage, "ada") if page]
    assert max(map(len, pages)) * size < PAGE_TEXT + size
    assert seen(chain.from_iterable(pages)) == seen(newest_first(rows))


def test_segments_without_the_user_are_not_read(storage, save, archive, tiers, make_old):
    save([make_old(number, user_id="bob") for number in range(6)])
    tiers.freeze()
    for day in archive.days():
        for segment in archive.segments(day):
            archive.files.write(archive.manifest(segment).data, b"damaged")
    assert export(storage) == []
    with pytest.raises(DamagedArchive):
        export(storage, "bob")


def test_what_was_deleted_is_not_there_though_its_segment_has_it(storage, save, tiers, make_old):
    rows = save([make_old(number) for number in range(6)])
    tiers.freeze()
    for interaction_id in ("i001", "i004"):
        assert storage.delete_interaction_sync(interaction_id)
    left = [each for each in rows if each.interaction_id not in ("i001", "i004")]
    assert export(storage) == seen(newest_first(left))


@pytest.mark.every_backend
def test_what_is_hot_again_counts_once_and_as_it_is_now(storage, save, tiers, make_old):
    rows = save([make_old(number) for number in range(6)])
    tiers.freeze()
    tiers.thaw({"i001", "i004"}, tidy=False)
    storage.update_interaction_sync("i004", {"response": "another"})
    rows[4].response = "another"
    assert export(storage) == seen(newest_first(rows))
    tiers.freeze()  # now two segments have them
    assert export(storage) == seen(newest_first(rows))


def test_an_id_that_another_has_now_does_not_bring_it_back(storage, save, tiers, make_old):
    save([make_old(1)])
    tiers.freeze()
    storage.delete_interaction_sync("i001")
    save([make_old(1, user_id="bob")])
    assert export(storage) == []


@pytest.mark.every_backend
def test_what_has_expired_is_left_out_unless_it_is_held(
    storage, save, archive, tiers, make_old, settings
):
    rows = save([make_old(number) for number in range(9)])
    tiers.freeze({f"i{number:03}" for number in (0, 1, 3, 4, 6, 7)})
    age = datetime.now(UTC) - (rows[5].created_at + timedelta(hours=1))
    settings.RETENTION_TOTAL_DAYS = age.total_seconds() / 86400
    assert export(storage) == seen(newest_first(rows[6:]))
    day = Hold("day", date(2026, 10, 4).isoformat(), "a case", DAY)
    holds.put(archive, day)
    assert export(storage) == seen(newest_first(rows[3:]))
    storage.database.remove_expired_stubs(rows[5].created_at, 100)
    assert export(storage) == seen(newest_first(rows[3:]))
    holds.lift(archive, day)
    holds.put(archive, Hold("user", "ada", "a case", DAY))
    assert export(storage) == seen(newest_first(rows))


def test_what_is_held_is_not_left_out_because_its_id_is_used_again(
    storage, save, archive, tiers, make_old, settings
):
    """What has expired frees its id, also for the same user."""
    (old,) = save([make_old(0)])
    tiers.freeze()
    (other,) = save([make_old(1)])
    age = datetime.now(UTC) - (old.created_at + timedelta(hours=1))
    settings.RETENTION_TOTAL_DAYS = age.total_seconds() / 86400
    holds.put(archive, Hold("user", "ada", "a case", DAY))
    (new,) = save([make_old(9, interaction_id=old.interaction_id)])
    kept = seen(newest_first([old, other, new]))
    assert export(storage) == kept
    tiers.freeze()
    assert export(storage) == kept
    positions = [each.position for each in (new, other, old)]
    assert export(storage, before=old.position, exported=positions) == []


# While interactions change tiers.

EVERY_STEP = switches.value("LIFECYCLE_KILLS") == "all"
"""Otherwise each third pair of steps."""


class Steps:
    """Counts the calls that an export makes, and does something before some of them."""

    def __init__(self, storage, monkeypatch):
        self.number = 0
        self.at = {}
        self.at_each = None
        self._is_busy = False
        for name in ("hot_of_user", "get_interaction_sync"):
            self._watch(storage, name, monkeypatch)
        self._watch(storage.database, "stubs", monkeypatch)
        for name in ("days", "segments", "manifest"):
            self._watch(storage.archive, name, monkeypatch)
        self._watch(storage.archive.files, "read", monkeypatch)

    def _watch(self, thing, name, monkeypatch):
        call = getattr(thing, name)

        def watched(*args, **kwargs):
            self._step()
            return call(*args, **kwargs)

        monkeypatch.setattr(thing, name, watched)

    def _step(self):
        if self._is_busy:
            return
        self._is_busy = True
        try:
            action = self.at.get(self.number) or self.at_each
            if action:
                action()
        finally:
            self._is_busy = False
        self.number += 1

    def count(self, function):
        self.number, self.at = 0, {}
        function()
        return self.number


@pytest.fixture
def steps(storage, archive, monkeypatch):
    return Steps(storage, monkeypatch)


@pytest.mark.parametrize("tidy", [True, False])
@pytest.mark.every_backend
def test_a_run_at_any_step_loses_none_and_doubles_none(
    storage, save, archive, tiers, steps, make_old, tidy
):
    rows = seen(newest_first(save([make_old(number) for number in range(5)])))
    tiers.freeze({"i000", "i002"})
    total = steps.count(lambda: export(storage))
    for number in range(total):
        # What one run has archived, the next one restores.
        for action in (tiers.freeze, lambda: tiers.thaw(tidy=tidy)):
            steps.number, steps.at = 0, {number: action}
            assert newest_first_of(export(storage)) == rows, number
            steps.at = {}
        for day in archive.days():
            for segment in archive.segments(day):
                archive.remove(segment)


@pytest.mark.on_sqlite(reason="thousands of runs, and what they move is the same everywhere")
@pytest.mark.parametrize(("starts_cold", "at_once"), [(False, 1), (True, 3)])
def test_two_runs_at_any_two_steps_lose_none_and_double_none(
    storage, save, tiers, steps, make_old, starts_cold, at_once
):
    rows = seen(newest_first(save([make_old(number) for number in range(2)])))
    actions = [tiers.freeze, tiers.thaw]
    if starts_cold:
        tiers.freeze()
        actions.reverse()
    once, again = actions

    def both():
        once()
        again()

    total = steps.count(lambda: export(storage, at_once=at_once))
    for first in range(total):
        for second in range(first, total + 6):
            if not EVERY_STEP and (first + second) % 3:
                continue
            steps.number = 0
            steps.at = {first: both} if first == second else {first: once, second: again}
            assert newest_first_of(export(storage, at_once=at_once)) == rows, (first, second)
            steps.at = {}
            tiers.thaw()
            if starts_cold:
                tiers.freeze()


@pytest.mark.every_backend
def test_interactions_move_all_the_time(storage, save, tiers, steps, make_old):
    rows = save([make_old(number) for number in range(24)])
    expected = seen(newest_first(rows))
    tiers.freeze({each.interaction_id for each in rows[::2]})
    turn = 0

    def move():
        nonlocal turn
        if steps.number % 2:
            return
        chosen = {rows[turn * 7 % len(rows)].interaction_id}
        is_cold = bool(storage.database.stubs(list(chosen)))
        (tiers.thaw if is_cold else tiers.freeze)(chosen)
        turn += 1

    steps.at_each = move
    assert newest_first_of(export(storage)) == expected
    assert turn > len(rows)


@pytest.mark.every_backend
def test_what_is_saved_meanwhile_does_no_harm(storage, save, tiers, steps, make_old):
    rows = save([make_old(number) for number in range(9)])
    tiers.freeze({each.interaction_id for each in rows[:4]})
    numbers = iter(range(100, 1000))
    steps.at_each = lambda: save([make_old(next(numbers))])
    found = export(storage)
    assert [each for each in found if each[1] < "i100"] == seen(newest_first(rows))
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("move", ["freeze", "thaw"])
def test_it_goes_on_after_interactions_have_moved(storage, save, tiers, make_old, move):
    """One that the first part has missed, since it moved, comes last."""
    rows = save([make_old(number) for number in range(8)])
    whole = seen(newest_first(rows))
    tiers.freeze({"i001", "i002", "i004", "i007"})
    first = export(storage)[:5]
    before, missed = first[-1][:2], first.pop(2)
    getattr(tiers, move)()
    rest = export(storage, before=before, exported=[each[:2] for each in first])
    assert rest == [*whole[5:], missed]


def test_a_run_at_any_step_hides_nothing_that_an_earlier_export_has_missed(
    storage, save, tiers, steps, make_old
):
    missed, last = save([make_old(2), make_old(1)])
    options = {"before": last.position, "exported": [last.position]}
    tiers.freeze({missed.interaction_id})
    total = steps.count(lambda: export(storage, **options))
    for number in range(total):
        steps.number, steps.at = 0, {number: tiers.thaw}
        assert export(storage, **options) == seen([missed]), number
        steps.at = {}
        tiers.freeze({missed.interaction_id})


# What else is kept.


def test_keys_and_erasures_are_told_but_never_a_key(storage, archive):
    _, key = ApiKey.objects.create_key(name="Ada's phone", user_id="ada")
    ApiKey.objects.create_key(name="Bob's phone", user_id="bob")
    revoked, _ = ApiKey.objects.create_key(name="lost", user_id="ada")
    revoked.revoked = True
    revoked.save()
    erasure = ledger.request(archive, "ada")
    ledger.request(archive, "bob")
    kept = kept_besides(storage, "ada")
    assert [(each["name"], each["revoked"]) for each in kept["api_keys"]] == [
        ("Ada's phone", False),
        ("lost", True),
    ]
    assert [each["erasure_id"] for each in kept["erasures"]] == [erasure.erasure_id]
    assert all(part not in str(kept) for part in key.split("."))
    assert kept_besides(storage, "nobody") == {"api_keys": [], "erasures": []}
