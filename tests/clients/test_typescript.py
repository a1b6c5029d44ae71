"""The types for TypeScript are those of the API, and compile."""

import json
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer

FOLDER = Path(__file__).resolve().parents[2] / "clients" / "typescript"
GENERATE = runpy.run_path(str(FOLDER / "generate.py"))

needs_node_modules = pytest.mark.skipif(
    not (shutil.which("node") and (FOLDER / "node_modules").exists()),
    reason="`make client` installs what this needs",
)


@pytest.fixture
def schema():
    made = SchemaGenerator().get_schema(request=None, public=True)
    return json.loads(OpenApiJsonRenderer().render(made, renderer_context={}))


@pytest.fixture
def written():
    return (FOLDER / "schema.d.ts").read_text(encoding="utf-8")


def test_the_types_are_of_this_schema(schema, written):
    assert GENERATE["digest"](schema) in written, "the API has changed: run `make client`"


@needs_node_modules
def test_nobody_has_edited_the_types(schema, written):
    assert GENERATE["types"](schema) == written


@needs_node_modules
def test_the_example_compiles():
    compiler = FOLDER / "node_modules" / ".bin" / "tsc"
    compiled = subprocess.run([compiler, "-p", FOLDER], capture_output=True, text=True)
    assert (compiled.returncode, compiled.stdout) == (0, "")


def test_the_packages_are_pinned_and_from_one_registry():
    packages = json.loads((FOLDER / "package-lock.json").read_text())["packages"]
    for name, package in packages.items():
        assert not name or package["integrity"]
        address = package.get("resolved", "https://registry.npmjs.org/")
        assert address.startswith("https://registry.npmjs.org/")
