"""The pages of staff beside those of a stock ModelAdmin on the same table, in one run.

    python benchmarks/admin.py [--rows 1000000] [--rounds 5] [--data FILE.jsonl.gz]
                               [--characters N] [--cloud 1000 20000] [--json FILE]

Server CPU is that of this process while Django's test client asks for a page: middleware, session,
view, templates, and the entry of the audit log in ours. Statements are all of that page, Django's
and the storage's. Stock is a `ModelAdmin` with `list_filter` (model, created_at) and
`search_fields` (message, response), on an `AdminSite` of its own with Django's own templates, 50
rows a page as in ours. The texts on our pages are revealed.

The database is made once (BENCH_CACHE), with roll-ups and index by the commands. `--characters`
cuts the texts, `--cloud` also counts what each page asks of DynamoDB at these sizes.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from urllib.parse import urlencode

from harness.local import set_up  # isort: split

from harness import staff_cloud, statements
from harness.data import texts_of
from harness.filled import RETENTION_DAYS, cut, filled
from harness.ratios import Ratio, Ratios, ratio, save, table
from harness.staff import LIST, Pages, client_of_staff

STOCK_LIST = "/stock/storage/chatinteraction/"
MILLISECONDS_OF_FIRST_PAGE = 30
STATEMENTS_OF_FIRST_PAGE = 12
AT_MOST = {
    "list": 0.15,
    "filtered list": 0.15,
    "search, a rare word": 0.05,
    "search, a common word": 0.05,
}
"""Our CPU by that of the stock page."""


class Asked(NamedTuple):
    """A page of ours, and the stock one that answers the same, if there is one."""

    ours: str
    stock: str | None


class Cost(NamedTuple):
    """CPU milliseconds of a request."""

    ours: float
    stock: float


def main(words: list[str] | None = None) -> None:
    """Measure, print a table, and say which conditions hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, help="JSONL with texts to use, may be .gz")
    parser.add_argument("--characters", type=int, help="of each text, at most")
    parser.add_argument("--cloud", type=int, nargs="*", default=[], metavar="ROWS")
    parser.add_argument("--statements", action="store_true", help="print those of our pages")
    parser.add_argument("--json", type=Path, help="also write the ratios there")
    arguments = parser.parse_args(words)
    path = filled(arguments.rows, arguments.characters, arguments.data)
    statements.watch()
    set_up(path, RETENTION_DAYS)
    use_stock()
    texts = [" ".join(text) for text in cut(texts_of(arguments.data), arguments.characters)]
    found = measured(pages_to_ask(texts), arguments)
    save(found, arguments.json)
    if arguments.cloud:
        counted, _ = staff_cloud.table(arguments.cloud)
        print(f"\n{counted}")


def use_stock() -> None:
    """Another address, and templates for it."""
    from django.conf import settings
    from harness import stock

    stock.add_templates()
    settings.ROOT_URLCONF = "harness.stock"


def pages_to_ask(texts: Iterable[str]) -> dict[str, Asked]:
    """By name; ours and stock ask for the same rows."""
    from datetime import UTC, datetime, timedelta

    common, rare = words_of(texts)
    first = datetime.now(UTC).date() - timedelta(days=20)
    last = first + timedelta(days=10)
    ours = {"model_used": "model-2", "first_day": first, "last_day": last}
    theirs = {
        "model_used": "model-2",
        "created_at__gte": f"{first} 00:00:00+00:00",
        "created_at__lt": f"{last + timedelta(days=1)} 00:00:00+00:00",
    }
    row = Pages.newest_identifier()
    return {
        "first page": Asked("/admin/", None),
        "first page, 90 days": Asked("/admin/?days=90", None),
        "list": Asked(LIST, STOCK_LIST),
        "filtered list": _both(ours, theirs),
        "search, a rare word": _both({"q": rare}, {"q": rare}),
        "search, a common word": _both({"q": common}, {"q": common}),
        "conversation": Asked(f"{LIST}{row}/change/", f"{STOCK_LIST}{row}/change/"),
    }


def _both(ours: dict[str, Any], stock: dict[str, Any]) -> Asked:
    return Asked(f"{LIST}?{urlencode(ours)}", f"{STOCK_LIST}?{urlencode(stock)}")


def words_of(texts: Iterable[str]) -> tuple[str, str]:
    """The words of at least five letters that are in most texts, and in fewest."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update({word for word in text.lower().split() if len(word) >= 5 and word.isalpha()})
    ordered = counts.most_common()
    return ordered[0][0], ordered[-1][0]


def measured(pages: dict[str, Asked], arguments: argparse.Namespace) -> Ratios:
    """Prints tables, and returns the ratios."""
    client = client_of_staff()
    found: Ratios = {}
    rows, conditions = [], []
    for name, asked in pages.items():
        Pages(client).reveal(asked.ours)
        Pages(client).get(asked.ours)  # imports modules, and compiles templates
        ours = statements_of(client, asked.ours)
        stock = statements_of(client, asked.stock) if asked.stock else []
        if arguments.statements:
            print(f"\n{name}:", *ours, sep="\n  ")
        costs = [cost_of(client, asked) for _ in range(arguments.rounds)]
        middle = Cost(*(median(column) for column in zip(*costs, strict=True)))
        key = f"admin/{arguments.rows}/{name}"
        if asked.stock:
            found[key] = ratio(costs)
        else:
            conditions += first_page(name, middle.ours, ours)
        shown = found.get(key, "")
        cells = f"{middle.ours:.1f}", f"{middle.stock:.1f}" if asked.stock else "", shown
        rows.append([name, *cells, len(ours), len(stock) or ""])
        if name in AT_MOST:
            conditions.append(at_most(name, found[key], AT_MOST[name]))
    titles = ["ours, CPU ms", "stock, CPU ms", "ratio", "statements, ours", "stock"]
    print(f"\n{table(f'{arguments.rows:,} rows', titles, rows)}\n")
    print(table("condition", ["bound", "found", "holds"], conditions), flush=True)
    return found


def at_most(name: str, value: Ratio, bound: float) -> list[object]:
    """A line of the conditions."""
    return [f"{name}, CPU of stock", f"≤ {bound:g}", value, _verdict(value.median <= bound)]


def first_page(name: str, milliseconds: float, ours: list[str]) -> list[list[object]]:
    """The lines of a page that stock does not have."""
    statements_hold = _verdict(len(ours) <= STATEMENTS_OF_FIRST_PAGE)
    time_holds = _verdict(milliseconds <= MILLISECONDS_OF_FIRST_PAGE)
    return [
        [f"{name}, statements", f"≤ {STATEMENTS_OF_FIRST_PAGE}", len(ours), statements_hold],
        [f"{name}, CPU ms", f"≤ {MILLISECONDS_OF_FIRST_PAGE}", f"{milliseconds:.1f}", time_holds],
    ]


def _verdict(holds: bool) -> str:
    return "yes" if holds else "NO"


def statements_of(client: Any, address: str) -> list[str]:
    """What one request runs."""
    with statements.seen() as found:
        Pages(client).get(address)
    return found


def cost_of(client: Any, asked: Asked) -> Cost:
    """Of one request to both. Ours is asked three times: it is short."""
    ours = _cpu(client, asked.ours, 3)
    return Cost(ours, _cpu(client, asked.stock, 1) if asked.stock else 0.0)


def _cpu(client: Any, address: str, times: int) -> float:
    started = time.process_time()
    for _ in range(times):
        Pages(client).get(address)
    return (time.process_time() - started) / times * 1e3


if __name__ == "__main__":
    main()
