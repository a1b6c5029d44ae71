"""Debian's Prometheus, which scrapes a server and evaluates the alert rules in a hurry."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from tests.chat.processes import ROOT, free_port
from tests.prometheus.expressions import PRODUCTION
from tests.servers import listens, wait_for

PROGRAM = shutil.which("prometheus")
WINDOW = "30s"
"""In the place of each window of minutes."""


def in_a_hurry(rules: str) -> str:
    """The rules with windows and waits of seconds."""
    return re.sub(r"for: \d+[mh]", "for: 2s", re.sub(r"\[\d+m\]", f"[{WINDOW}]", rules))


def configuration(port: int, key: Path, rules: Path) -> dict[str, Any]:
    """What docs/how-to/metrics.md has to be pasted, for a server on this machine."""
    guide = (ROOT / "docs" / "how-to" / "metrics.md").read_text(encoding="utf-8")
    block = re.search(r"^```yaml\n(scrape_configs:.*?)^```", guide, re.MULTILINE | re.DOTALL)
    assert block
    (job,) = yaml.safe_load(block[1])["scrape_configs"]
    job |= {"scheme": "http", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
    job["authorization"]["credentials_file"] = str(key)
    seconds = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    return {"global": seconds, "scrape_configs": [job], "rule_files": [str(rules)]}


class Prometheus:
    """One that scrapes the server at `port` with an API key, with its data in `folder`."""

    def __init__(self, folder: Path, port: int, api_key: str) -> None:
        self.port = free_port()
        self._fired: set[tuple[str, str]] = set()
        key, rules, config = folder / "key", folder / "rules.yaml", folder / "prometheus.yaml"
        key.write_text(api_key)
        rules.write_text(in_a_hurry((PRODUCTION / "alerts.yaml").read_text(encoding="utf-8")))
        config.write_text(yaml.safe_dump(configuration(port, key, rules)))
        assert PROGRAM
        words = [PROGRAM, f"--config.file={config}", f"--storage.tsdb.path={folder / 'series'}"]
        words += [f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=error"]
        self._process = subprocess.Popen(words)
        wait_for(lambda: self._process.poll() is not None or listens(self.port), "Prometheus")

    def ask(self, path: str, **parameters: Any) -> Any:
        """The answer of its API. Raises HTTPError if it does not understand."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urlencode(parameters)}"
        with urlopen(url) as answer:
            return json.load(answer)["data"]

    def shows(self, expression: str) -> list[Any]:
        """What a panel with this query shows now: series with a number."""
        query = expression.replace("$__rate_interval", WINDOW)
        found = self.ask("query", query=query)["result"]
        return [series for series in found if series["value"][1] != "NaN"]

    def fired(self) -> set[tuple[str, str]]:
        """The alerts that fire or were seen to, each with its operation or ""."""
        for alert in self.ask("alerts")["alerts"]:
            if alert["state"] == "firing":
                labels = alert["labels"]
                self._fired.add((labels["alertname"], labels.get("operation", "")))
        return self._fired

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
