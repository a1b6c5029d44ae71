"""The bill of materials names what is in the image."""

import json
import subprocess

import pytest

from tests.chat.processes import ROOT
from tests.image.containers import DEMO, Container

INSTALLED = """
import importlib.metadata as metadata, json
print(json.dumps({found.name: found.version for found in metadata.distributions()}))
"""


@pytest.fixture(scope="module")
def components():
    subprocess.run(["make", "--silent", "sbom"], cwd=ROOT, check=True)
    bill = json.loads((ROOT / "var" / "sbom.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    return {_normal(found["name"]): found for found in bill["components"]}


def _normal(name):
    return name.lower().replace("_", "-").replace(".", "-")


def test_all_that_is_installed_is_in_it_with_its_version_and_hashes(components):
    with Container(command=["sleep", "60"], **DEMO) as container:
        found = container.run("/app/.venv/bin/python", "-c", INSTALLED)
        installed = json.loads(found.stdout)
    assert len(installed) > 40
    for name, version in installed.items():
        component = components[_normal(name)]
        assert component["version"] == version
        assert component["externalReferences"][0]["hashes"]
