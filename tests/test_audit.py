"""`make audit` does not show an index that cannot be asked as a vulnerability, or as none."""

import json

import pytest

from tests.audit import NotJudged, findings


def answer(*vulnerabilities):
    package = {"name": "urllib3", "version": "1.0", "vulns": list(vulnerabilities)}
    return json.dumps({"dependencies": [package], "fixes": []})


def test_what_is_known_is_a_line_each():
    known = {"id": "PYSEC-1", "fix_versions": ["1.1", "2.0"], "aliases": [], "description": "..."}
    lines = findings(answer(known, known | {"id": "PYSEC-2", "fix_versions": []}), "Found 2 known")
    assert lines == [
        "urllib3 1.0: PYSEC-1, mended in 1.1, 2.0",
        "urllib3 1.0: PYSEC-2, mended in no release",
    ]
    assert findings(answer(), "No known vulnerabilities found") == []


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        (
            "Installed 29 packages\nERROR:pip_audit._cli:psycopg: Dependency not found on PyPI and "
            "could not be audited: psycopg (3.3.9)\n",
            "psycopg: Dependency not found on PyPI and could not be audited: psycopg (3.3.9)",
        ),
        ("", "pip-audit said nothing"),
    ],
)
def test_an_index_that_cannot_be_asked_judges_nothing(errors, reason):
    with pytest.raises(NotJudged) as error:
        findings("", errors)
    assert str(error.value) == reason
