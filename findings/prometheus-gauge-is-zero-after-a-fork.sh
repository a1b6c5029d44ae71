#!/usr/bin/env bash
# prometheus_client 0.26.0, Python 3.11, PROMETHEUS_MULTIPROC_DIR: a gauge that a server sets before it forks workers
# (when it started, how much room there is) is written as 0 by each worker that counts anything at all, even if the
# worker never touches the gauge. The modes `min` and `livemin` take those zeros for measured, so they tell 0 from the
# first request on, whatever was set; `max` and `livemax` do so of a value below zero. Without workers they are right,
# and nothing is logged. `mostrecent` looks only at what was set. The manual says nothing of it. A good engineer would
# expect the least of what was set: that a process has not measured is no measurement.
#
# Output seen:
#   set before the fork: min 40, livemin 40, max 40, mostrecent 40; below zero: max -18, mostrecent -18
#   3 workers that counted a request: min 0, livemin 0, max 40, mostrecent 40; below zero: max 0, mostrecent -18
#   requests: 3
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check prometheus_client==0.26.0

cd "$folder"
mkdir metrics
PROMETHEUS_MULTIPROC_DIR="$folder/metrics" timeout 60 venv/bin/python - > output <<'PYTHON'
import os

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.multiprocess import MultiProcessCollector

requests = Counter("requests", "Requests answered")
modes = ("min", "livemin", "max", "mostrecent")
free = {mode: Gauge(f"free_{mode}", "Room left", multiprocess_mode=mode) for mode in modes}
cold = {mode: Gauge(f"cold_{mode}", "Temperature", multiprocess_mode=mode) for mode in modes[2:]}


def collected():
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return registry.get_sample_value


def told():
    value = collected()
    room = ", ".join(f"{mode} {value(f'free_{mode}'):.0f}" for mode in free)
    return f"{room}; below zero: " + ", ".join(f"{mode} {value(f'cold_{mode}'):.0f}" for mode in cold)


for gauge in free.values():
    gauge.set(40)
for gauge in cold.values():
    gauge.set(-18)
print("set before the fork:", told(), flush=True)
counted, done = os.pipe(), os.pipe()
for _ in range(3):
    if not os.fork():
        os.close(done[1])
        requests.inc()
        os.write(counted[1], b"1")
        os.read(done[0], 1)  # until the parent has ended
        os._exit(0)
for _ in range(3):
    os.read(counted[0], 1)
print("3 workers that counted a request:", told())
print(f"requests: {collected()('requests_total'):.0f}")
PYTHON

cat output
diff output - <<'EXPECTED'
set before the fork: min 40, livemin 40, max 40, mostrecent 40; below zero: max -18, mostrecent -18
3 workers that counted a request: min 0, livemin 0, max 40, mostrecent 40; below zero: max 0, mostrecent -18
requests: 3
EXPECTED
