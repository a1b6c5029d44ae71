"""The page of metrics that Prometheus scrapes."""

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
from chat.metrics.cache_servers import CacheServers
from chat.metrics.files import left_by_commands
from storage import get_storage


class MetricsView(StoreView):
    """All metrics as text. They cover all users, so a key bound to one user is refused."""

    schema = None  # it is not part of the API
    is_limited = False  # when a service calls too often, the scrape is to show it

    def get(self, request: Request) -> HttpResponse:
        caller_of(request).require_every_user()
        get_storage()  # its metrics exist only once it has been made
        return HttpResponse(
            generate_latest(_Scrape()),
            content_type=CONTENT_TYPE_PLAIN_0_0_4,
        )


class _Scrape(Collector):
    def collect(self) -> Iterator[Metric]:
        """Each metric once, because Prometheus rejects a whole scrape with a duplicate."""
        seen = set()
        for metric in chain(
            _of_this_server().collect(), CacheServers().collect(), left_by_commands()
        ):
            if metric.name not in seen:
                seen.add(metric.name)
                yield metric


class _Processes(MultiProcessCollector):
    """The sum of the processes of this server that are running."""

    def collect(self) -> Iterator[Metric]:
        # Workers that were killed, or restarted by SIGHUP, leave such files.
        for file in Path(self._path).glob("gauge_live*.db"):
            process_id = int(file.stem.rpartition("_")[2])
            if not _runs(process_id):
                with suppress(FileNotFoundError):  # another scrape removed it
                    mark_process_dead(process_id)
        return super().collect()


def _of_this_server() -> Collector:
    registry = CollectorRegistry()
    try:
        _Processes(registry)
    except ValueError:  # not a server with several processes: this one counts in memory
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
