"""The page of metrics that Prometheus scrapes."""

from collections.abc import Iterator
from itertools import chain

from django.http import HttpResponse
from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    Metric,
    generate_latest,
)
from prometheus_client.registry import Collector
from rest_framework.request import Request

from chat.api.authentication import caller_of
from chat.api.views import StoreView
from chat.metrics.cache_servers import CacheServers
from chat.metrics.files import left_by_commands
from chat.metrics.histograms import Histograms
from chat.metrics.processes import of_this_server
from chat.metrics.store import Store
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
            of_this_server().collect(),
            Histograms().collect(),
            CacheServers().collect(),
            Store().collect(),
            left_by_commands(),
        ):
            if metric.name not in seen:
                seen.add(metric.name)
                yield metric
