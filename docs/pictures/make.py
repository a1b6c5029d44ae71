"""Takes the README's pictures of a running server with Chromium: `make pictures`.

The server must run with its sample data (`make run`). CHROMIUM names the browser's program.
"""

import json
import os
import sys
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BASE = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}"
LIST = f"{BASE}/admin/storage/chatinteraction/"
INTAKE = f"{BASE}/admin/storage/intakecount/"

ANSWERED = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "model-1",
    "user.id": "ada",
    "gen_ai.input.messages": '[{"role": "user", "parts": [{"type": "text", "content": "Hi"}]}]',
    "gen_ai.output.messages": '[{"role": "assistant", "parts": '
    '[{"type": "text", "content": "Hello."}]}]',
}
WITHOUT_TEXT = {name: ANSWERED[name] for name in list(ANSWERED)[:3]}
NO_CALL = {"http.request.method": "POST"}


def main() -> None:
    """Log in, and take a picture of the list, a conversation, the intake and the API's page."""
    login = json.loads((ROOT / os.environ.get("DATA_DIR", "var") / "login.json").read_text())
    chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    foreign: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.on("request", lambda request: note_foreign(request.url, foreign))
        page.goto(f"{BASE}/admin/")
        page.fill("[name=username]", login["username"])
        page.fill("[name=password]", login["password"])
        page.click("[type=submit]")
        take(page, LIST, "#changelist", "admin-list.png")
        link = page.locator("#changelist th a, #changelist td a").nth(2).get_attribute("href")
        take(page, f"{BASE}{link}", ".conversation", "admin-conversation.png")
        send(page, [ANSWERED] * 3 + [WITHOUT_TEXT] * 2 + [NO_CALL] * 4, login["api_key"])
        while page.goto(INTAKE) and not page.locator(".reasons").count():
            time.sleep(1)  # counts are written some seconds later
        take(page, INTAKE, ".reasons", "admin-intake.png")
        take(page, f"{BASE}/api/docs/", ".opblock", "api-docs.png")
        browser.close()
    if foreign:
        sys.exit(f"The pages asked other hosts: {foreign}")


def take(page: Page, url: str, selector: str, name: str) -> None:
    """A picture of the page at `url` once `selector` is there."""
    page.goto(url)
    page.wait_for_selector(selector)
    page.wait_for_load_state("networkidle")
    page.screenshot(path=HERE / name)
    print(f"docs/pictures/{name}")


def send(page: Page, spans: list[dict[str, str]], key: str) -> None:
    """Send spans with these attributes as OpenTelemetry's exporters do."""
    now = time.time_ns()
    sent = [
        {
            "traceId": f"{now:032x}",
            "spanId": f"{number:016x}",
            "startTimeUnixNano": str(now - 10**9),
            "endTimeUnixNano": str(now),
            "attributes": [
                {"key": name, "value": {"stringValue": value}} for name, value in span.items()
            ],
        }
        for number, span in enumerate(spans, start=1)
    ]
    answer = page.request.post(
        f"{BASE}/api/otlp/v1/traces",
        data={"resourceSpans": [{"scopeSpans": [{"spans": sent}]}]},
        headers={"Authorization": f"Api-Key {key}"},
    )
    assert answer.ok, answer.text()


def note_foreign(url: str, foreign: list[str]) -> None:
    """Remember a request that leaves this server: the pages must work offline."""
    if not url.startswith((BASE, "data:", "blob:")):
        foreign.append(url)


if __name__ == "__main__":
    main()
