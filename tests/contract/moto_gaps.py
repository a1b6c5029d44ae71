"""What moto lacks: INSERT statements with parameters, and conditions that hold among threads.

Its PartiQL parser takes a parameter within an item for a name and gives up. And within one
process it checks a condition and writes in two steps, so that of two threads both can win.
DynamoDB and ministack need neither of this.

moto also checks each part of an update once for every part behind it, looks for each member of an
answer under five names, reads its own class for each request, and copies each expression. That was
three quarters of the CPU of this contract.
"""

import functools
import re
import threading
from typing import Any

import pytest
from moto.core import responses, utils
from moto.core.request import Request
from moto.core.serialize import AttributePicker, BaseJSONSerializer
from moto.dynamodb.exceptions import ConditionalCheckFailed, MockValidationException
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.parsing import ast_nodes, validators
from moto.dynamodb.parsing.validators import (
    ActionCountValidator,
    OverlappingPathsValidator,
    UpdateExpressionValidator,
)
from moto.dynamodb.responses import DynamoHandler

from storage.dynamodb.curl import Headers, Http, Reply

NODES: Any = ast_nodes  # a module without types
METHODS = functools.cache(utils.method_names_from_class)


def batch_execute_statement(backend: Any, statements: Any) -> list[Any]:
    """In the place of moto's: conditional puts for the one statement that the project uses."""
    return [insert(backend, each["Statement"], each["Parameters"]) for each in statements]


def insert(backend: Any, statement: Any, parameters: Any) -> dict[str, Any]:
    table = re.match(r'INSERT INTO "([^"]+)" VALUE \{', statement)[1]
    names = re.findall(r"'(\w+)': \?", statement)
    item = dict(zip(names, parameters, strict=True))
    try:
        backend.put_item(table, item, condition_expression="attribute_not_exists(interaction_id)")
    except ConditionalCheckFailed:
        return {"Error": {"Code": "DuplicateItem", "Message": "Duplicate primary key exists"}}
    except MockValidationException as error:
        return {"Error": {"Code": "ValidationError", "Message": str(error)}}
    return {"TableName": table}


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    turn = threading.Lock()

    def post(http: Any, headers: Any, body: Any) -> Reply:
        with turn:
            return _answer(http._url, headers, body)

    monkeypatch.setattr(Http, "post", post)
    monkeypatch.setattr(DynamoDBBackend, "batch_execute_statement", batch_execute_statement)
    monkeypatch.setattr(AttributePicker, "__call__", _pick(AttributePicker.__call__))
    whole = _whole_values(BaseJSONSerializer._serialize_type_structure)
    monkeypatch.setattr(BaseJSONSerializer, "_serialize_type_structure", whole)
    monkeypatch.setattr(responses, "method_names_from_class", METHODS)
    monkeypatch.setattr(NODES.DepthFirstTraverser, "traverse_node_recursively", _traverse)
    validate = _of_items(UpdateExpressionValidator.validate)
    monkeypatch.setattr(UpdateExpressionValidator, "validate", validate)
    monkeypatch.setattr(validators, "deepcopy", lambda expression: expression)
    for owner, name in (
        (ActionCountValidator, "verify_action_counts"),
        (OverlappingPathsValidator, "check_for_overlapping_paths"),
    ):
        monkeypatch.setattr(owner, name, _of_the_whole(getattr(owner, name)))


def _answer(url: str, headers: list[str], body: bytes) -> Reply:
    """moto's answer to a request for items, without a connection or botocore on the way."""
    url = f"{url}/"
    named = dict(header.split(":", 1) for header in headers)
    request = Request.from_primitives("POST", url, named, body)
    status, answered, content = DynamoHandler.dispatch(request, url, request.headers)
    lines = ["\n", *(f"{name}: {value}\n" for name, value in answered.items())]
    return Reply(url, status, Headers([line.encode() for line in lines]), content.encode())


def _pick(search: Any) -> Any:
    """A member of a dictionary has the name that DynamoDB gives it."""

    def pick(picker: Any, context: Any) -> Any:
        if type(context.obj) is dict and not picker.response_transformers:
            return context.obj.get(context.key)
        return search(picker, context)

    return pick


def _whole_values(serialize: Any) -> Any:
    """A text or a number is kept as it is answered."""

    def serialized(serializer: Any, found: Any, value: Any, shape: Any, key: Any) -> None:
        if shape.name == "AttributeValue" and type(value) is dict and value.keys() <= {"S", "N"}:
            found[key] = value
        else:
            serialize(serializer, found, value, shape, key)

    return serialized


def _traverse(traverser: Any, node: Any, child_id: int = -1) -> Any:
    """As moto does it. What is to be done with a kind of node is looked for once."""
    kind: Any = type(node)
    if not _is_node(kind):
        return node
    parent = node.parent
    for number, child in enumerate(node.children or ()):
        traverser.pre_processing_of_child(node, number)
        _traverse(traverser, child, number)
    known = vars(traverser).setdefault("known", {})
    if kind not in known:
        found = traverser._processing_map().items()
        known[kind] = next((process for wanted, process in found if issubclass(kind, wanted)), None)
    if process := known[kind]:
        node = process(node)
        node.parent = parent
        if parent:
            parent.children[child_id] = node
    return node


@functools.cache
def _is_node(kind: Any) -> bool:
    return issubclass(kind, NODES.Node)


def _of_items(validate: Any) -> Any:
    """A new item is made before the expression is looked at, and not looked at twice."""

    def validated(validator: Any) -> Any:
        return validate(validator) if validator.item.attrs else None

    return validated


def _of_the_whole(check: Any) -> Any:
    """A check of an expression looks at all of its parts, which are expressions as well."""

    def checked(validator: Any, node: Any) -> Any:
        return node if isinstance(node.parent, NODES.UpdateExpression) else check(validator, node)

    return checked
