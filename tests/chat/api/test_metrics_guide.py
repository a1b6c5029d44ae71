"""docs/how-to/metrics.md tells the truth: its metrics are the code's, its examples can be used."""

import ast
import functools
import re

import pytest
import yaml
from prometheus_client import REGISTRY

from chat.api import metrics as key_metrics  # noqa: F401  (registers its metrics)
from chat.ingest import counts as intake_metrics  # noqa: F401  (as well)
from chat.ingest.reasons import Reason
from chat.management.commands import cache_audit
from chat.metrics import (
    maintenance,
    resources,  # noqa: F401  (as well)
)
from chat.metrics.cache_servers import CacheServers
from chat.metrics.histograms import Histograms
from chat.metrics.store import Store
from config import requests  # noqa: F401  (as well)
from storage.cache import metrics as cache_metrics  # noqa: F401  (as well)
from storage.dynamodb import metrics as dynamodb_metrics  # noqa: F401  (as well)
from storage.rate_limits import metrics as limit_metrics  # noqa: F401  (as well)
from storage.records.audit import Audit, Kind
from tests.chat.processes import ROOT
from tests.prometheus.expressions import ALERTS, DASHBOARD, PANELS, RULES, TARGETS

pytestmark = pytest.mark.django_db

GUIDE = (ROOT / "docs" / "how-to" / "metrics.md").read_text(encoding="utf-8")
OF_COMMANDS = {
    "cache_audit": cache_audit.measured(Audit()),
    "maintenance": maintenance.measured("any", "done", 1.0, {"remaining": 0}, 0.0),
}
"""What commands leave for a scrape, by the module that does it."""

ASKED = Histograms(), CacheServers(), Store()
"""What is asked for at each scrape."""


def metrics():
    """Name, type and meaning of all that this project counts."""
    for registry in (REGISTRY, *ASKED, *OF_COMMANDS.values()):
        for metric in registry.collect():
            if metric.name.startswith("chat_") and not metric.name.endswith("_created"):
                total = "_total" if metric.type == "counter" else ""
                yield f"{metric.name}{total}", metric.type, metric.documentation


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


def test_the_table_is_the_code():
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*) \|$", GUIDE, re.MULTILINE)
    assert sorted(rows) == sorted(metrics())  # in the order in which modules were imported


def test_every_command_that_leaves_metrics_is_in_the_comparison():
    callers = {
        module.stem
        for module in (ROOT / "chat").rglob("*.py")
        for call in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "leave_metrics"
    }
    assert callers == set(OF_COMMANDS)


def test_every_kind_of_an_audit_is_named():
    assert [kind for kind in Kind if f"`{kind}`" not in GUIDE] == []


def test_the_configuration_asks_as_the_service_is_asked():
    (job,) = yaml.safe_load(blocks("yaml")[0])["scrape_configs"]
    assert job["metrics_path"] == "/metrics"
    assert job["authorization"]["type"] == "Api-Key"


OF_PROMETHEUS = {"instance", "job", "le"}
"""Labels that every metric has, or every histogram."""


@functools.cache
def series():
    """The labels of each metric, by its name."""
    counted = list(REGISTRY._collector_to_names)
    left = [one for registry in OF_COMMANDS.values() for one in registry._collector_to_names]
    asked = [family for collector in ASKED for family in collector.collect()]
    found = {
        metric.describe()[0].name if hasattr(metric, "describe") else metric.name: set(
            metric._labelnames
        )
        for metric in (*counted, *left, *asked)
        if hasattr(metric, "_labelnames")
    }
    assert len(found) > 30
    return found


SUFFIX = re.compile("_(total|bucket|count|sum)$")


def names_and_labels(expression):
    """The metrics in an expression of PromQL, each with the labels in its braces; and those by
    which it sums up.
    """
    for name, braces in re.findall(r"\b(chat_\w+)\s*(\{[^}]*\})?", expression):
        yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", braces))


def summed_by(expression):
    groups = re.findall(r"\bby \(([^)]*)\)", expression)
    return {label.strip() for group in groups for label in group.split(",")}


EXPRESSIONS = ALERTS | PANELS


def problems(expression, legend=""):
    """What an expression, and a text with its labels, name that no metric has."""
    known = series()
    every_label = OF_PROMETHEUS | set().union(*known.values())
    names = list(names_and_labels(expression))
    for name, labels in names:
        base = name if name in known else SUFFIX.sub("", name)
        if base not in known:
            yield name
        else:
            yield from labels - known[base] - OF_PROMETHEUS
    used = [known.get(SUFFIX.sub("", name), known.get(name, every_label)) for name, _ in names]
    allowed = OF_PROMETHEUS.union(*used)
    yield from summed_by(expression) - allowed
    yield from set(re.findall(r"\{\{ *(?:\$labels\.)?(\w+) *\}\}", legend)) - allowed


@pytest.mark.parametrize("title", EXPRESSIONS)
def test_alerts_and_panels_are_about_metrics_and_labels_that_there_are(title):
    legend = TARGETS[title]["legendFormat"] if title in TARGETS else ""
    assert list(problems(EXPRESSIONS[title], legend)) == []


@pytest.mark.parametrize("panel", DASHBOARD["panels"], ids=lambda panel: panel["title"])
def test_an_empty_panel_says_what_that_means(panel):
    """Grafana's own words are "No data", which is also what a broken query looks like."""
    assert panel["fieldConfig"]["defaults"]["noValue"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_is_wrong_and_how_bad_that_is(rule):
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert f"| `{rule['alert']}` |" in GUIDE
    texts = " ".join(rule["annotations"].values())
    assert list(problems(rule["expr"], texts)) == []


@pytest.mark.parametrize(
    "wrong",
    [
        "sum(rate(chat_http_requests_total[5m]))",
        'chat_disk_free_bytes{mount="data"}',
        "sum by (user_id) (chat_store_interactions)",
    ],
)
def test_a_name_that_there_is_not_is_found(wrong):
    assert list(problems(wrong))


@pytest.mark.parametrize("line", re.findall(r"manage\.py cache_audit(.*)$", GUIDE, re.MULTILINE))
def test_every_call_of_the_audit_is_one(line):
    parser = cache_audit.Command().create_parser("manage.py", "cache_audit")
    assert parser.parse_args(line.split())


def test_every_reason_is_there_with_its_remedy():
    rows = re.findall(r"^\| `([a-z_]+)` \| ([^|]*) \|$", GUIDE, re.MULTILINE)
    assert rows == [(reason.label, reason.remedy) for reason in Reason]
