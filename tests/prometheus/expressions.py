"""What the alert rules and the dashboard of docs/production ask Prometheus."""

import json

import yaml

from tests.chat.processes import ROOT

PRODUCTION = ROOT / "docs" / "production"
RULES = yaml.safe_load((PRODUCTION / "alerts.yaml").read_text(encoding="utf-8"))["groups"][0][
    "rules"
]
DASHBOARD = json.loads((PRODUCTION / "grafana-dashboard.json").read_text(encoding="utf-8"))
TARGETS = {
    f"{panel['title']} {target['refId']}": target
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
}
"""The queries of the panels."""

ALERTS = {rule["alert"]: rule["expr"] for rule in RULES}
PANELS = {title: target["expr"] for title, target in TARGETS.items()}
