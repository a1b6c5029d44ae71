"""The histograms of all processes of this server.

Each process writes its own to a file in the server's folder, about once a second and when it ends.
Whoever is scraped adds what it has itself.
"""

import os
from collections.abc import Iterator
from contextlib import suppress

import msgspec
from prometheus_client import Metric
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from chat.metrics.processes import folder_of_this_server
from storage.telemetry.histograms import HISTOGRAMS, Histogram, Sums, together

SUFFIX = ".histograms"

Written = dict[str, list[tuple[tuple[str, ...], list[float]]]]
"""By the name of a histogram, its sums by labels."""

_decode = msgspec.json.Decoder(Written).decode


def write_histograms() -> None:
    """Write those of this process for the others, if there may be any. Raises OSError."""
    folder = folder_of_this_server()
    if folder is None:
        return
    found = {histogram.name: list(histogram.sums().items()) for histogram in HISTOGRAMS}
    new = folder / f"{os.getpid()}.new"
    new.write_bytes(msgspec.json.encode(found))
    new.replace(new.with_suffix(SUFFIX))


class Histograms(Collector):
    """The sums of all processes of this server, also of those that have ended."""

    def collect(self) -> Iterator[Metric]:
        """One family for each histogram."""
        others = list(_of_others())
        for histogram in HISTOGRAMS:
            sums = [dict(other.get(histogram.name, ())) for other in others]
            yield _family(histogram, together([histogram.sums(), *sums]))


def _of_others() -> Iterator[Written]:
    folder = folder_of_this_server()
    for file in folder.glob(f"*{SUFFIX}") if folder else ():
        if file.stem != str(os.getpid()):
            with suppress(OSError, msgspec.MsgspecError):
                yield _decode(file.read_bytes())


def _family(histogram: Histogram, sums: Sums) -> Metric:
    family = HistogramMetricFamily(histogram.name, histogram.meaning, labels=histogram.labels)
    names = [*map(floatToGoString, histogram.bounds), "+Inf"]
    for labels, (*counts, total) in sums.items():
        below = 0.0
        buckets = [
            (name, below := below + count) for name, count in zip(names, counts, strict=True)
        ]
        family.add_metric(labels, buckets, total)
    return family
