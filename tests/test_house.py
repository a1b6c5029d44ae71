"""Rules of the source that neither ruff nor import-linter can check."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("config", "chat", "storage")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

OF_LIBRARIES = {"_meta", "_state", "_request", "_replace", "_get_connection"}
"""Names of Django, DRF, named tuples and PynamoDB for which there is no public way."""

OF_BOTOCORE = {
    f"storage/dynamodb/{name}"
    for name in (
        "endpoint.py: client._endpoint",
        "endpoint.py: client._endpoint.http_session._verify",
        "endpoint.py: client._request_signer",
        "endpoint.py: client._request_signer._credentials",
        "endpoint.py: client._request_signer._signature_version",
        "endpoint.py: client._resolve_endpoint_ruleset",
        "transport.py: self.client._endpoint",
        "transport.py: self.client._make_api_call",
        "transport.py: self.client._request_signer",
        "transport.py: self.client._request_signer._credentials",
    )
}
"""What goes past botocore needs these; it steps aside where one is missing (decision 0045)."""


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def is_foreign(node):
    """Whether `x.name` is private and `x` is not the object or class that a method belongs to."""
    own = ast.unparse(node.value) in ("self", "cls", "super()")
    return is_private(node.attr) and node.attr not in OF_LIBRARIES and not own


def private_uses(source):
    """The private names that a module uses of other modules, objects and classes."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{a.name}" for a in node.names if is_private(a.name))
        elif isinstance(node, ast.Attribute) and is_foreign(node):
            yield ast.unparse(node)


def test_nothing_private_is_used_from_outside():
    found = {
        f"{path.relative_to(ROOT).as_posix()}: {name}"
        for path in MODULES
        for name in private_uses(path.read_text(encoding="utf-8"))
    }
    assert found == OF_BOTOCORE


@pytest.mark.parametrize(
    ("source", "uses"),
    [
        ("from chat.api import schema\nschema._answers()", ["schema._answers"]),
        ("import chat.api.schema\nchat.api.schema._x", ["chat.api.schema._x"]),
        ("from chat.api.schema import _answers", ["chat.api.schema._answers"]),
        ("storage._client.call()", ["storage._client"]),
        ("get_storage()._client", ["get_storage()._client"]),
        ("self._client, cls._made, super()._read(), model._meta, schema.__doc__", []),
    ],
)
def test_a_private_use_is_found(source, uses):
    assert list(private_uses(source)) == uses


def test_a_test_forks_only_such_that_its_child_ends():
    """A child that raised past its test would run all that follow, as a second pytest."""
    forking = [
        path
        for path in (ROOT / "tests").rglob("test_*.py")
        if path != Path(__file__) and "os.fork(" in path.read_text(encoding="utf-8")
    ]
    assert forking == []
