"""What the service counts, for Prometheus."""

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

from django.http import HttpResponse
from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    REGISTRY,
    CollectorRegistry,
    Metric,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector
from rest_framework.request import Request

from chat.api.authentication import caller_of
from chat.api.views import StoreView
from chat.metrics.files import left_by_commands
from storage import get_storage


class MetricsView(StoreView):
    """The numbers as text. They are of everyone's interactions, and so for whom may see those."""

    schema = None  # it is no call of the API

    def get(self, request: Request) -> HttpResponse:
        caller_of(request).require_every_user()
        get_storage()  # what has not been used counts nothing
        return HttpResponse(
            generate_latest(_Scrape()),
            content_type=CONTENT_TYPE_PLAIN_0_0_4,
        )


class _Scrape(Collector):
    def collect(self) -> Iterator[Metric]:
        """Each metric once: Prometheus refuses the whole of an answer that has one twice."""
        seen = set()
        for metric in chain(_of_this_server().collect(), left_by_commands()):
            if metric.name not in seen:
                seen.add(metric.name)
                yield metric


class _Processes(MultiProcessCollector):
    """The sum of all processes of this server, and of no other than those that run."""

    def collect(self) -> Iterator[Metric]:
        # Only a restart of workers by SIGHUP leaves any: with a worker that dies, granian ends.
        for file in Path(self._path).glob("gauge_live*.db"):
            process_id = int(file.stem.rpartition("_")[2])
            if not _runs(process_id):
                with suppress(FileNotFoundError):  # another scrape was first
                    mark_process_dead(process_id)
        return super().collect()


def _of_this_server() -> Collector:
    registry = CollectorRegistry()
    try:
        _Processes(registry)
    except ValueError:  # no server with several processes, so this one counts in its memory
        return REGISTRY
    return registry


def _runs(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
