"""docs/how-to/metrics.md tells the truth: its metrics are the code's, its examples can be used."""

import ast
import re

import pytest
import yaml
from prometheus_client import REGISTRY

from chat.api import metrics as key_metrics  # noqa: F401  (registers its metrics)
from chat.ingest import counts as intake_metrics  # noqa: F401  (as well)
from chat.ingest.reasons import Reason
from chat.management.commands import cache_audit
from chat.metrics import maintenance
from chat.metrics import resources  # noqa: F401  (as well)
from chat.metrics.cache_servers import CacheServers
from chat.metrics.histograms import Histograms
from chat.metrics.store import Store
from config import requests  # noqa: F401  (as well)
from storage.cache import metrics as cache_metrics  # noqa: F401  (as well)
from storage.dynamodb import metrics as dynamodb_metrics  # noqa: F401  (as well)
from storage.rate_limits import metrics as limit_metrics  # noqa: F401  (as well)
from storage.records.audit import Audit, Kind
from tests.chat.processes import ROOT

GUIDE = (ROOT / "docs" / "how-to" / "metrics.md").read_text(encoding="utf-8")
OF_COMMANDS = {
    "cache_audit": cache_audit.measured(Audit()),
    "maintenance": maintenance.measured("any", "done", 1.0, {"remaining": 0}, 0.0),
}
"""What commands leave for a scrape, by the module that does it."""


def metrics():
    """Name, type and meaning of all that this project counts."""
    asked = Histograms(), CacheServers(), Store()
    for registry in (REGISTRY, *asked, *OF_COMMANDS.values()):
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


def test_alerts_are_about_metrics_that_there_are():
    (group,) = yaml.safe_load(blocks("yaml")[1])["groups"]
    names = {name for name, _, _ in metrics()}
    assert len(group["rules"]) == 6
    for rule in group["rules"]:
        assert set(re.findall(r"chat_\w+", rule["expr"])) <= names
        assert rule["annotations"]["summary"]


@pytest.mark.parametrize("line", re.findall(r"manage\.py cache_audit(.*)$", GUIDE, re.MULTILINE))
def test_every_call_of_the_audit_is_one(line):
    parser = cache_audit.Command().create_parser("manage.py", "cache_audit")
    assert parser.parse_args(line.split())


def test_every_reason_is_there_with_its_remedy():
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \|$", GUIDE, re.MULTILINE)
    assert rows == [(reason.label, reason.remedy) for reason in Reason]
