from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Programs import `harness` from their folder."""
    monkeypatch.syspath_prepend(str(FOLDER))
