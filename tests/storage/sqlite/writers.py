"""Every way to write to SQLite, for tests of what they all must wait for."""

import asyncio
from collections.abc import Callable
from typing import Any

from django.db import connections, transaction

from storage.interface import Storage
from storage.models import ChatInteraction

PATIENT = 300
"""Seconds that no test reaches, unless what it tests is broken."""


def closing(alias: str, write: Callable[..., Any]) -> Callable[..., Any]:
    """As a request does, give the connection back at the end."""

    def run(*arguments: Any) -> Any:
        try:
            return write(*arguments)
        finally:
            connections[alias].close()

    return run


def writes(storage: Storage, alias: str, make_interaction: Any) -> list[Callable[[str], Any]]:
    """Every way to write: by statements of our own, by Django's, alone or in a transaction."""

    def row(name: str) -> ChatInteraction:
        return make_interaction(interaction_id=name)

    def in_a_transaction(name: str) -> None:
        with transaction.atomic(alias), transaction.atomic(alias):
            row(name).save(using=alias, force_insert=True)

    def after_a_read(name: str) -> None:
        ChatInteraction.objects.using(alias).first()  # has borrowed a connection
        row(name).save(using=alias, force_insert=True)

    return [
        lambda name: storage.save_interaction_sync(row(name)),
        lambda name: storage.create_interaction_sync(row(name)),
        lambda name: storage.create_interactions_sync([row(name)]),
        lambda name: asyncio.run(coroutine(storage, row(name))),
        lambda name: ChatInteraction.objects.using(alias).bulk_create([row(name)]),
        in_a_transaction,
        after_a_read,
    ]


async def coroutine(storage: Storage, interaction: ChatInteraction) -> None:
    await storage.create_interaction(interaction)
