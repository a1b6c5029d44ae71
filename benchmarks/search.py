"""Searches of the storage beside the list of a stock ModelAdmin on the same table, in one run.

    python benchmarks/search.py [--rows 1000000] [--rounds 3] [--data FILE.jsonl.gz]
                                [--keep FOLDER] [--json FILE]

The stock list has `list_filter` of model, day, user and empty response, `search_fields` of both
texts, and 50 rows a page; it is rendered as Django does it. Ours is the call of the API with JSON.
The table has four models, one row in 17 has no response, and one in 100,000 the model `rare`. A
ratio is the CPU time of ours by that of the stock list. `rows` is how many rows of a page were
found, and `pages` how many pages it takes to find 50, or all.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.data import texts_of
from harness.local import Row, Rows, set_up
from harness.ratios import Ratios, ratio, save, table

MODELS = ("model-1", "model-2", "model-3", "model-4")
LISTS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "list": ({}, {}),
    "by model": ({"model_used": "model-2"}, {"model_used": "model-2"}),
    "by user and model": (
        {"user_id": "user-007", "model_used": "model-4"},
        {"user_id": "user-007", "model_used": "model-4"},
    ),
    "unanswered": ({"answered": "false"}, {"response__exact": ""}),
    "by a rare model": ({"model_used": "rare"}, {"model_used": "rare"}),
    "by nothing stored": ({"model_used": "none"}, {"model_used": "none"}),
    "text of a user": ({"user_id": "user-007", "q": "cafe"}, {"user_id": "user-007", "q": "café"}),
}
"""For each list, the parameters of ours and those of the stock one."""


class Varied(Rows):
    """Rows that differ in more than their users."""

    def row(self, number: int) -> Row:
        identifier, user, message, response, _, _, _, *times = super().row(number)
        model = "rare" if number % 100_000 == 50_000 else MODELS[number // 40 % len(MODELS)]
        tokens = len(message) // 4, len(response) // 4
        answer = "" if number % 17 == 0 else response
        return identifier, user, message, answer, model, *tokens, *times


def main(words: list[str] | None = None) -> None:
    """Fill a table, and measure both in turns."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, help="JSONL with texts to use, may be .gz")
    parser.add_argument("--keep", type=Path, help="where the table is, or is made to stay")
    parser.add_argument("--json", type=Path, help="also write the ratios there")
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        path = (arguments.keep or Path(folder)) / "benchmark.sqlite3"
        is_new = not path.exists()
        set_up(path)
        if is_new:
            Varied(texts_of(arguments.data)).fill(path, 0, arguments.rows)
        found = measured(arguments.rows, arguments.rounds)
    save(found, arguments.json)


def measured(count: int, rounds: int) -> Ratios:
    """Prints a table, and returns the ratios."""
    ours, stock = our_list(), stock_list()
    found: Ratios = {}
    rows = []
    for measure in (ours, stock):
        measure({})  # imports, and compiles statements
    for name, (our_parameters, stock_parameters) in LISTS.items():
        pairs, results = [], (0, 0)
        for _ in range(rounds):
            cost, seconds, size, pages = ours(our_parameters)
            stock_cost, stock_seconds, stock_size, _ = stock(stock_parameters)
            pairs.append((cost, stock_cost))
            results = size, pages
        key = f"search/{count}/{name}"
        found[key] = ratio(pairs)
        own, theirs = sorted(pairs)[len(pairs) // 2]
        cells = [f"{own * 1e3:.1f}", f"{theirs * 1e3:.1f}", found[key], *results, stock_size]
        rows.append([name, *cells, f"{seconds * 1e3:.0f}", f"{stock_seconds * 1e3:.0f}"])
    titles = ["ours, CPU ms", "stock, CPU ms", "ratio", "rows", "pages", "stock rows"]
    print(table(f"{count:,} rows", [*titles, "ours, ms", "stock, ms"], rows), flush=True)
    return found


Measure = Callable[[dict[str, str]], tuple[float, float, int, int]]
"""Returns CPU seconds of the first page, its wall time, its rows, and pages for 50 rows."""


def our_list() -> Measure:
    """GET /api/v1/interactions/search/ with a service-wide API key."""
    client = client_with_key()

    def get(parameters: dict[str, str]) -> tuple[float, float, int, int]:
        with clock() as spent:
            response = client.get("/api/v1/interactions/search/", parameters)
        assert response.status_code == 200, response.content
        page = first = response.json()
        size, pages = len(page["results"]), 1
        while size < 50 and page["next"]:
            page = client.get(page["next"]).json()
            size, pages = size + len(page["results"]), pages + 1
        return *spent, len(first["results"]), pages

    return get


def stock_list() -> Measure:
    """The list of an admin as Django makes it."""
    from django.contrib import admin
    from django.contrib.auth.models import User
    from django.test import RequestFactory

    from storage.models import ChatInteraction

    class Stock(admin.ModelAdmin):  # type: ignore[type-arg]
        """As in Django's tutorial."""

        list_display = ("created_at", "user_id", "message", "model_used", "input_tokens")
        list_filter = (
            "model_used",
            "created_at",
            "user_id",
            ("response", admin.EmptyFieldListFilter),
        )
        search_fields = ("message", "response")
        list_per_page = 50

    view = Stock(ChatInteraction, admin.site)

    def get(parameters: dict[str, str]) -> tuple[float, float, int, int]:
        request = RequestFactory().get("/admin/storage/chatinteraction/", parameters)
        request.user, _ = User.objects.get_or_create(
            username="bench", is_staff=True, is_superuser=True
        )
        with clock() as spent:
            response: Any = view.changelist_view(request)
            response.render()
        return *spent, len(response.context_data["cl"].result_list), 1

    return get


def client_with_key() -> Any:
    """A client with a new service-wide API key."""
    from django.conf import settings
    from django.test import Client

    from storage.models import ApiKey

    settings.ALLOWED_HOSTS = ["*"]
    _, key = ApiKey.objects.create_key(name="bench")
    return Client(headers={"Authorization": f"Api-Key {key}"})


@contextmanager
def clock() -> Iterator[list[float]]:
    """CPU and wall seconds of the block."""
    spent: list[float] = []
    cpu, wall = time.process_time(), time.perf_counter()
    yield spent
    spent += [time.process_time() - cpu, time.perf_counter() - wall]


if __name__ == "__main__":
    main()
