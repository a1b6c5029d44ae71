"""What surrounds the image fits it: what it is built from, compose.yaml and the guides."""

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from config import dotenv
from config.environment import VARIABLES

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
KNOWN = {variable.name for variable in VARIABLES}
NAMES_OF_OTHERS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def test_what_the_image_copies_is_let_into_the_build():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = [line.removeprefix("!") for line in lines if line.startswith("!")]
    copied = [
        name
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.M)
        for name in line.split()[:-1]
    ]
    assert "requirements/production.txt" in copied
    for name in copied:
        assert (ROOT / name).exists()
        assert any(fnmatch(name, pattern) for pattern in let_in), name


def test_the_base_is_named_by_its_digest():
    assert re.search(r"^ARG BASE=python:3\.11\.\S+@sha256:[0-9a-f]{64}$", DOCKERFILE, re.M)


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]


def test_compose_sets_what_the_application_knows_and_all_that_production_needs(services):
    for name in ("chat", "table"):
        given = services[name]["environment"]
        assert given.keys() <= KNOWN | NAMES_OF_OTHERS
        assert given.keys() >= {"SECRET_KEY", "AWS_REGION", "ALLOWED_HOSTS"}
        assert given["ENVIRONMENT"] == "production"


def test_compose_guards_every_container_and_names_every_version(services):
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["mem_limit"], name
        if "build" not in service:
            assert re.search(r":\d", service["image"]), name


def test_the_cache_of_compose_is_one_that_production_accepts(services):
    command = " ".join(services["redis"]["command"])
    assert "--maxmemory 128mb --maxmemory-policy allkeys-lru --save  --appendonly no" in command


def test_the_cache_of_compose_needs_no_right_to_become_another_user(services):
    """Valkey's image starts as root and becomes 999:1000, for which it has no capability here."""
    assert services["redis"]["user"] == "999:1000"


@pytest.mark.parametrize("guide", sorted((ROOT / "docs" / "how-to").glob("*.md")), ids=str)
def test_the_env_files_of_the_guides_have_values_that_docker_reads_as_they_are_meant(guide):
    for block in re.findall(r"^```sh\n(.*?)^```", guide.read_text(encoding="utf-8"), re.M | re.S):
        pairs = [line.partition("=") for line in block.splitlines() if not line.startswith("#")]
        dotenv.refuse_leftovers({name: value for name, _, value in pairs}, KNOWN)
