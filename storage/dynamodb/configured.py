"""The client of the table that the settings name."""

import re

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from storage.dynamodb.client import Client
from storage.dynamodb.mirror import bound

REGION_REMEDY = "Set it to the region of the DynamoDB table, such as eu-central-1."


def region_problem() -> str | None:
    """Returns what is wrong with AWS_REGION, or None."""
    region = settings.AWS_REGION
    if not region:
        return "AWS_REGION is not set."
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", region):
        return f"AWS_REGION={region!r} is not the name of a region."
    return None


def configured_client() -> Client:
    """Returns a client with DYNAMODB_CONNECTIONS connections. Raises ImproperlyConfigured.

    Works in every environment, so that the table can be created before the first start in
    production.
    """
    if problem := region_problem():
        raise ImproperlyConfigured(f"{problem} {REGION_REMEDY}")
    connections = settings.DYNAMODB_CONNECTIONS
    model = bound(
        settings.DYNAMODB_TABLE, settings.AWS_REGION, settings.DYNAMODB_ENDPOINT_URL, connections
    )
    return Client(model, connections)
