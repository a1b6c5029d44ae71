"""Following a stream whose shards end and divide, as only AWS has it: the stream is a fake here."""

import itertools
from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest

from storage.dynamodb import items, usage, usage_recount
from storage.dynamodb.client import IteratorExpired, StreamTrimmed
from storage.dynamodb.usage import UsageFollower
from storage.models import StreamPosition, UsageOfModel, UsageRebuild

numbers = itertools.count(1)


class Shard:
    def __init__(self, parent):
        self.parent, self.records, self.is_closed = parent, [], False


class FakeStream:
    """In the place of a client. `first` is what DynamoDB has removed of each shard."""

    table = "chat"

    def __init__(self):
        self.arn = "arn:aws:dynamodb:eu-central-1:1:table/chat/stream/2026-11-30T00:00:00.000"
        self.made_at = datetime.now(UTC)
        self.shards = {"root": Shard(None)}
        self.trimmed = Counter()
        self.asked = Counter()
        self.expired = set()
        self.empty_first = 0

    def manage(self, operation, **parameters):
        assert operation == "DescribeTable"
        label = self.made_at.replace(tzinfo=None).isoformat(timespec="milliseconds")
        return {
            "Table": {
                "StreamSpecification": {
                    "StreamEnabled": True,
                    "StreamViewType": "NEW_AND_OLD_IMAGES",
                },
                "LatestStreamArn": self.arn,
                "LatestStreamLabel": label,
                "CreationDateTime": self.made_at,
            }
        }

    def read_stream(self, operation, **parameters):
        self.asked[operation] += 1
        return getattr(self, operation)(**parameters)

    def DescribeStream(self, StreamArn, ExclusiveStartShardId=None):  # noqa: N802, N803
        """One shard a page, the youngest first: nobody may rely on the order."""
        names = list(self.shards)[::-1]
        names = names[names.index(ExclusiveStartShardId) + 1 :] if ExclusiveStartShardId else names
        found = [
            {"ShardId": name, "ParentShardId": self.shards[name].parent}
            if self.shards[name].parent
            else {"ShardId": name}
            for name in names[:1]
        ]
        more = {"LastEvaluatedShardId": names[0]} if len(names) > 1 else {}
        return {"StreamDescription": {"Shards": found, **more}}

    def GetShardIterator(  # noqa: N802
        self,
        StreamArn,  # noqa: N803
        ShardId,  # noqa: N803
        ShardIteratorType,  # noqa: N803
        SequenceNumber=None,  # noqa: N803
    ):
        place = self.trimmed[ShardId]
        if ShardIteratorType == "AFTER_SEQUENCE_NUMBER":
            sequences = [
                each["dynamodb"]["SequenceNumber"] for each in self.shards[ShardId].records
            ]
            place = sequences.index(SequenceNumber) + 1
            if place <= self.trimmed[ShardId]:
                raise StreamTrimmed("trimmed")
        return {"ShardIterator": f"{ShardId} {place} {next(numbers)}"}

    def GetRecords(self, ShardIterator, Limit):  # noqa: N802, N803
        if ShardIterator in self.expired:
            raise IteratorExpired("expired")
        name, place = ShardIterator.split()[0], int(ShardIterator.split()[1])
        shard = self.shards[name]
        found = shard.records[place : place + 2]
        if self.empty_first > 0:
            self.empty_first, found = self.empty_first - 1, []
        place += len(found)
        is_over = shard.is_closed and place == len(shard.records)
        following = {} if is_over else {"NextShardIterator": f"{name} {place} {next(numbers)}"}
        self.last = following.get("NextShardIterator")
        return {"Records": found, **following}

    def write(self, shard, old, new):
        images = {"OldImage": old, "NewImage": new}
        self.shards[shard].records.append(
            {
                "dynamodb": {
                    "SequenceNumber": str(next(numbers)),
                    "ApproximateCreationDateTime": datetime.now(UTC),
                    **{name: image for name, image in images.items() if image is not None},
                }
            }
        )

    def divide(self, shard, *children):
        self.shards[shard].is_closed = True
        self.shards |= {name: Shard(shard) for name in children}


@pytest.fixture
def stream(transactional_db):
    return FakeStream()


@pytest.fixture
def item(make_interaction):
    created_at = datetime.now(UTC)

    def item(name, **fields):
        interaction = make_interaction(interaction_id=name, created_at=created_at, **fields)
        return items.to_item(interaction, "version")

    return item


def total(name="interactions"):
    return sum(getattr(row, name) for row in UsageOfModel.objects.all())


def test_children_are_counted_after_their_parents_and_none_twice(stream, item):
    """An update is in the child of the shard with the creation, which is read over many pages."""
    follower = UsageFollower(stream)
    for number in range(5):
        stream.write("root", None, item(f"a{number}"))
    stream.divide("root", "left", "right")
    stream.write("left", item("a1"), item("a1", output_tokens=10))
    stream.divide("left", "below")
    stream.write("below", item("a1", output_tokens=10), None)
    stream.write("right", item("a2"), None)
    assert follower.follow(30) is not None
    assert (total(), total("hot"), total("output_tokens")) == (5, 3, 38)
    assert set(StreamPosition.objects.filter(is_closed=False).values_list("shard", flat=True)) == {
        "right",
        "below",
    }
    assert UsageFollower(stream).follow(30) is not None
    assert (total(), total("hot")) == (5, 3)


def test_shards_that_come_later_are_found(stream, item):
    follower = UsageFollower(stream)
    assert follower.follow(30) is not None
    stream.write("root", None, item("a"))
    stream.shards["root"].is_closed = True
    assert follower.follow(30) is not None
    stream.divide("root", "left")
    stream.write("left", None, item("b"))
    assert follower.follow(30) is not None
    assert total() == 2


def test_a_second_child_that_is_shown_later_is_found(stream, item, monkeypatch):
    follower = UsageFollower(stream)
    stream.divide("root", "left")
    assert follower.follow(30) is not None
    stream.divide("root", "right")
    stream.write("right", None, item("a"))
    monkeypatch.setattr(usage, "LOOK_SECONDS", -1.0)  # a minute later
    assert follower.follow(30) is not None
    assert total() == 1


def test_an_iterator_that_has_expired_is_made_anew(stream, item):
    follower = UsageFollower(stream)
    stream.write("root", None, item("a"))
    assert follower.follow(30) is not None
    stream.expired.add(stream.last)
    stream.write("root", None, item("b"))
    assert follower.follow(30) is not None
    assert total() == 2


def test_an_empty_page_is_not_taken_for_the_end(stream, item):
    stream.write("root", None, item("a"))
    stream.empty_first = 1
    assert UsageFollower(stream).follow(30) is not None
    assert total() == 1


def test_a_long_stretch_without_changes_is_gone_through(stream, item):
    """Behind a position there may be hours of it: the first look takes as long as it needs."""
    follower = UsageFollower(stream)
    for empty in (5, 5):
        stream.write("root", None, item("a"))
        stream.empty_first = empty
        assert follower.follow(30) is not None
        assert stream.empty_first == 0
        follower = UsageFollower(stream)  # as after a restart
    assert total() == 2


def test_where_the_end_was_seen_the_next_look_is_short(stream, item):
    follower = UsageFollower(stream)
    stream.write("root", None, item("a"))
    assert follower.follow(30) is not None
    before = stream.asked["GetRecords"]
    assert follower.follow(30) is not None
    assert stream.asked["GetRecords"] - before == usage.EMPTY_PAGES


@pytest.fixture
def busy(stream, item, monkeypatch):
    """The root has a change on each third page that anybody reads of any shard, up to a number."""
    get_records = stream.GetRecords

    def busy(**parameters):
        if stream.asked["GetRecords"] % 3 == 1 and stream.asked["GetRecords"] < 500:
            stream.write("root", None, item(f"busy {stream.asked}"))
        return get_records(**parameters)

    monkeypatch.setattr(stream, "GetRecords", busy)


def test_a_shard_that_is_written_to_all_the_time_leaves_time_for_others(stream, item, busy):
    stream.shards["other"] = Shard(None)
    stream.write("other", None, item("other"))
    assert UsageFollower(stream).follow(30) is not None
    assert stream.asked["GetRecords"] < 60
    assert StreamPosition.objects.get(shard="other").sequence


def test_a_day_is_counted_again_although_a_shard_is_written_to_all_the_time(stream, busy):
    def follow():
        return UsageFollower(stream).follow(30)

    with usage_recount.snapshot(stream, date(2026, 1, 1), follow, 0) as changed:
        assert changed() == {}
    assert stream.asked["GetRecords"] < 60


def test_if_only_what_was_counted_is_removed_nothing_is_missing(stream, item):
    for name in ("a", "b"):
        stream.write("root", None, item(name))
    assert UsageFollower(stream).follow(30) is not None
    stream.write("root", None, item("c"))
    stream.trimmed["root"] = 2
    assert UsageFollower(stream).follow(30) is not None
    assert total() == 3


def test_a_shard_that_was_removed_after_it_was_counted_ends(stream, item):
    stream.write("root", None, item("a"))
    assert UsageFollower(stream).follow(30) is not None
    stream.divide("root", "left")
    del stream.shards["root"]
    stream.write("left", None, item("b"))
    assert UsageFollower(stream).follow(30) is not None
    assert total() == 2


def test_a_gap_of_a_day_makes_a_rebuild_due(stream, item, caplog):
    stream.write("root", None, item("a"))
    assert UsageFollower(stream).follow(30) is not None
    day_ago = datetime.now(UTC) - timedelta(hours=24)
    StreamPosition.objects.update(counted_until=day_ago)
    stream.write("root", None, item("b"))
    assert UsageFollower(stream).follow(30) is None
    assert UsageFollower(stream).follow(30) is None
    assert UsageRebuild.objects.count() == 1
    assert total() == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_time_is_up_in_the_middle_and_the_next_call_goes_on(stream, item, monkeypatch):
    stream.write("root", None, item("a"))
    follower = UsageFollower(stream)
    assert follower.follow(0) is not None
    assert total() == 0
    assert follower.follow(30) is not None
    assert total() == 1
