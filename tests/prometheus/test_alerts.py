"""Each alert rule fires when it should and not otherwise, by the unit tests of promtool.

The cases are the files beside this one.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.prometheus.expressions import ALERTS, PRODUCTION

CASES = sorted(Path(__file__).parent.glob("*.yaml"))
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="there is no promtool: apt-get install prometheus"
)


def promtool(*words):
    assert PROMTOOL
    done = subprocess.run([PROMTOOL, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_prometheus_understands_the_rules():
    promtool("check", "rules", PRODUCTION / "alerts.yaml")


@needs_promtool
@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.stem)
def test_the_alerts_fire_when_they_should_and_not_otherwise(cases):
    promtool("test", "rules", cases)


def scenarios():
    """Each test of each file."""
    return [test for path in CASES for test in yaml.safe_load(path.read_text())["tests"]]


@pytest.mark.parametrize("alert", ALERTS)
def test_of_each_alert_there_is_a_case_that_fires_and_one_that_does_not(alert):
    asked = [case for test in scenarios() for case in test["alert_rule_test"]]
    fires = {bool(case["exp_alerts"]) for case in asked if case["alertname"] == alert}
    assert fires == {True, False}


def test_the_cases_are_about_metrics_of_the_rules():
    """A case about a name that is written wrong would be one in which nothing ever fires."""
    known = set(re.findall(r"\bchat_\w+", " ".join(ALERTS.values())))
    series = [each["series"] for test in scenarios() for each in test["input_series"]]
    assert {name.partition("{")[0] for name in series} == known
