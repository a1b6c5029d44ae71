"""What tests of the ways in share."""

from collections import Counter

import pytest

from chat.ingest import counts


@pytest.fixture(autouse=True)
def intake(monkeypatch):
    """What was counted: numbers by source and what became of the calls."""
    counted = Counter()

    def record(source, taken):
        counted[source, "received"] += taken.received
        counted[source, "created"] += taken.created
        counted[source, "unchanged"] += taken.unchanged
        for reason, number in taken.reasons.items():
            counted[source, reason.label] += number

    monkeypatch.setattr(counts, "record", record)
    return counted
