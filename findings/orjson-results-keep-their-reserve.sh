#!/usr/bin/env bash
# orjson 3.13.0 (3.10.18, 3.11.4 and 3.11.9 did the same), Python 3.11: the bytes that `dumps` returns keep the
# room that was reserved while they were written, some eight times the length of a long string and sixteen
# kilobytes or so for a short one. `sys.getsizeof` does not show it. A program that keeps many results, such as a
# cache of JSON, takes several times the memory of their lengths. A good engineer would expect a bytes object to
# take its length and 33 bytes, as those of `json.dumps(...).encode()` do. A copy does.
#
# Output seen (compared with wide margins):
#   1,000 results of 1.5 KB, by tracemalloc: more than 5 times their length
#   by sys.getsizeof: less than 1.1 times
#   copies of them, by tracemalloc: less than 1.1 times
#   one result of 4 MB, by tracemalloc: more than 5 times its length
#   resident memory of 10,000 results of 1.5 KB: more than twice that of copies
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check orjson==3.13.0

timeout 120 "$folder/venv/bin/python" - > "$folder/output" <<'PYTHON'
import subprocess
import sys
import tracemalloc

import orjson

TEXTS = ["x" * 1500 + str(number) for number in range(1000)]


def traced(make):
    """Bytes that the results take, in times of their lengths."""
    tracemalloc.start()
    results = make()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return taken / sum(map(len, results))


def side(ratio, edge):
    return f"{'more' if ratio > edge else 'less'} than {edge} times"


RESIDENT = """
import orjson, resource
texts = ["x" * 1500 + str(number) for number in range(10_000)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
results = [{make} for text in texts]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def resident(make):
    program = RESIDENT.format(make=make)
    return int(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)


many = traced(lambda: [orjson.dumps(text) for text in TEXTS])
print("1,000 results of 1.5 KB, by tracemalloc:", side(many, 5), "their length")
sizes = [orjson.dumps(text) for text in TEXTS]
print("by sys.getsizeof:", side(sum(map(sys.getsizeof, sizes)) / sum(map(len, sizes)), 1.1))
copies = traced(lambda: [bytes(memoryview(orjson.dumps(text))) for text in TEXTS])
print("copies of them, by tracemalloc:", side(copies, 1.1))
long = traced(lambda: [orjson.dumps("a" * 4_000_000)])
print("one result of 4 MB, by tracemalloc:", side(long, 5), "its length")
whole, copied = resident("orjson.dumps(text)"), resident("bytes(memoryview(orjson.dumps(text)))")
twice = "more" if whole > 2 * copied else "less"
print(f"resident memory of 10,000 results of 1.5 KB: {twice} than twice that of copies")
PYTHON

cat "$folder/output"
diff "$folder/output" - <<'EXPECTED'
1,000 results of 1.5 KB, by tracemalloc: more than 5 times their length
by sys.getsizeof: less than 1.1 times
copies of them, by tracemalloc: less than 1.1 times
one result of 4 MB, by tracemalloc: more than 5 times its length
resident memory of 10,000 results of 1.5 KB: more than twice that of copies
EXPECTED
