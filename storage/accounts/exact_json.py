"""A format of Django's `dumpdata` and `loaddata`, as "jsonl", but with times as they are stored.

Django's own JSON leaves out what follows the milliseconds. Then the chain of the audit log breaks,
whose digests cover the times of its entries.
"""

from datetime import datetime
from typing import Any

from django.core.serializers import jsonl
from django.core.serializers.json import DjangoJSONEncoder


class _Exact(DjangoJSONEncoder):
    def default(self, value: Any) -> Any:
        return value.isoformat() if isinstance(value, datetime) else super().default(value)


class Serializer(jsonl.Serializer):
    """Writes each row as a line."""

    internal_use_only = False

    def _init_options(self) -> None:
        super()._init_options()  # type: ignore[misc]  # the stubs lack it
        self.json_kwargs["cls"] = _Exact


Deserializer = jsonl.Deserializer
