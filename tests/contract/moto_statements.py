"""What moto lacks: INSERT statements with parameters.

Its PartiQL parser takes a parameter within an item for a name and gives up. DynamoDB and
ministack run the statement as it is.
"""

import re

from moto.dynamodb.exceptions import ConditionalCheckFailed, MockValidationException
from moto.dynamodb.models import DynamoDBBackend


class DuplicateItem(Exception):
    name = "DuplicateItem"
    message = "Duplicate primary key exists in table"


class ValidationError(Exception):
    name = "ValidationError"

    def __init__(self, message):
        self.message = message


def execute_statement(backend, statement, parameters):
    """In the place of moto's: conditional puts for the one statement that the project uses."""
    table = re.match(r'INSERT INTO "([^"]+)" VALUE \{', statement)[1]
    names = re.findall(r"'(\w+)': \?", statement)
    item = dict(zip(names, parameters, strict=True))
    try:
        backend.put_item(table, item, condition_expression="attribute_not_exists(interaction_id)")
    except ConditionalCheckFailed:
        raise DuplicateItem from None
    except MockValidationException as error:
        raise ValidationError(str(error)) from error
    return []


def install(monkeypatch):
    monkeypatch.setattr(DynamoDBBackend, "execute_statement", execute_statement)
