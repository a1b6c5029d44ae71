"""A real file through all tiers: exact numbers, the same on every backend, none lost or twice."""

import json
import os
from datetime import UTC, datetime, timedelta

import pytest

from chat.interchange import opened_for_reading
from storage.models.interaction import FIELDS
from storage.records.json import format_time
from tests.chat.lines import command, summary

pytestmark = [
    pytest.mark.every_backend,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        "INTERACTIONS_FILE" not in os.environ,
        reason="INTERACTIONS_FILE names no file of interactions to try this with",
    ),
]


def shifted(source):
    """The records of a file with the same time added to all, so that the newest is of now."""
    with opened_for_reading(source) as (file, _):
        records = [json.loads(line) for line in file]
    now = datetime.now(UTC)
    newest = max(datetime.fromisoformat(each["created_at"]) for each in records)
    for each in records:
        for name in ("created_at", "updated_at"):
            if name in each:
                each[name] = format_time(datetime.fromisoformat(each[name]) - newest + now)
    return now, records


def test_a_real_file_through_all_tiers(store, settings, tmp_path):
    now, records = shifted(os.environ["INTERACTIONS_FILE"])
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(each) + "\n" for each in records))
    assert command("import_interactions", source)[:2] == (0, summary(created=len(records)))
    later = now + timedelta(days=10)

    ages = {
        each["interaction_id"]: later - datetime.fromisoformat(each["created_at"])
        for each in records
    }
    hot = {each for each, age in ages.items() if age < timedelta(days=30)}
    gone = {each for each, age in ages.items() if age >= timedelta(days=90)}
    cold = ages.keys() - hot - gone
    given = {each["interaction_id"]: each for each in records}

    archived = store.run("archive_interactions", now=later)
    purged = store.run("purge_interactions", now=later)
    assert archived["archived"] == len(cold)
    assert purged["hot"] + purged["cold"] == len(gone)
    assert sorted(store.hot()) == sorted(hot)
    assert store.cold() == sorted(cold)
    for interaction_id, record in given.items():
        found = store.storage.get_interaction_sync(interaction_id)
        if interaction_id in gone:
            assert found is None
            continue
        for name in FIELDS:
            if name in record:
                value = getattr(found, name)
                assert (format_time(value) if name.endswith("_at") else value) == record[name]
    print(
        f"{len(records)} in: {len(hot)} hot, {len(cold)} cold in {archived['segments']} segments, "
        f"{len(gone)} deleted; {archived['seconds']} s and {purged['seconds']} s"
    )
