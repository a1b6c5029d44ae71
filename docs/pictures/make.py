"""Takes the README's pictures of a running server with Chromium: `make pictures`.

The server must run on new sample data (`make run`, perhaps with another DATA_DIR and PORT, which
this reads, too). CHROMIUM names the browser's program.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BASE = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}"
ADMIN = f"{BASE}/admin/"
LIST = f"{ADMIN}storage/chatinteraction/"
INTAKE = f"{ADMIN}storage/intakecount/"
TAG = "#operations-tag-interactions"
REASON = "The customer asked about this answer, ticket 4711."
USER = "user-1042"

DESKTOP = (1280, 800)
LONG = (1280, 870)
PHONE = (390, 800)
MOST_BYTES = 150_000

CALL = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o-mini", "user.id": "ada"}
TEXTS = {
    "gen_ai.input.messages": '[{"role": "user", "parts": [{"type": "text", "content": "Hi"}]}]',
    "gen_ai.output.messages": '[{"role": "assistant", "parts": '
    '[{"type": "text", "content": "Hello."}]}]',
}
SPANS = [CALL | TEXTS] * 3 + [CALL] * 2 + [{"http.request.method": "POST"}] * 4
"""Three are stored, two came without texts, and four are no calls of a model."""


def main() -> None:
    """Do what operators do each night, log in, and take the pictures."""
    run("archive_interactions")
    run("backup")
    login = json.loads((ROOT / os.environ.get("DATA_DIR", "var") / "login.json").read_text())
    chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        camera = Camera(browser, login["username"], login["password"])
        take_all(camera, login["api_key"])
        browser.close()
    if camera.foreign:
        sys.exit(f"The pages asked other hosts: {camera.foreign}")


def run(command: str) -> None:
    """Run a management command on the server's data, unless it has nothing to do any more."""
    subprocess.run(
        [sys.executable, ROOT / "manage.py", command], check=True, stdout=subprocess.DEVNULL
    )


@dataclass(frozen=True)
class View:
    """A page to take a picture of. `ready` selects what must be there, `top` what to scroll to."""

    url: str
    ready: str
    size: tuple[int, int] = DESKTOP
    is_dark: bool = False
    top: str = ""


class Camera:
    """A browser that is logged in to the admin, and remembers requests to other hosts."""

    def __init__(self, browser: Browser, username: str, password: str) -> None:
        self.foreign: list[str] = []
        self._browser = browser
        self._state = None
        self.page = self._context(View(ADMIN, "")).new_page()
        self.page.goto(ADMIN)
        self.page.fill("[name=username]", username)
        self.page.fill("[name=password]", password)
        self.page.click("[type=submit]")
        self._state = self.page.context.storage_state()

    def take(self, name: str, view: View) -> None:
        """Write the picture. Ends the program if it is too large for a README."""
        context = self._context(view)
        page = context.new_page()
        show(page, view)
        path = HERE / name
        page.screenshot(path=path)
        context.close()
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")
        if path.stat().st_size > MOST_BYTES:
            sys.exit(f"{name} may have {MOST_BYTES:,} bytes")

    def _context(self, view: View) -> BrowserContext:
        width, height = view.size
        context = self._browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if view.is_dark else "light",
            reduced_motion="reduce",
            storage_state=self._state,
        )
        context.on("request", lambda request: self._note(request.url))
        return context

    def _note(self, url: str) -> None:
        if not url.startswith((BASE, "data:", "blob:")):
            self.foreign.append(url)


def show(page: Page, view: View) -> None:
    """Open the page, and wait until all of it is there."""
    page.goto(view.url)
    page.wait_for_selector(view.ready)
    page.wait_for_load_state("networkidle")
    if view.top:
        page.locator(view.top).first.evaluate("element => element.scrollIntoView()")
    page.wait_for_timeout(500)  # plots and fonts


def take_all(camera: Camera, key: str) -> None:
    """All pictures of the README."""
    send_spans(camera.page, key)
    read_again(camera.page, key)
    conversation = reveal(camera.page, USER, 1)
    from_right_to_left = reveal(camera.page, "layla-h-88", 2)
    of_user = f"{LIST}?user_id={USER}"
    wait_for_intake(camera.page)
    camera.take("admin-dashboard.png", View(ADMIN, ".plot canvas"))
    camera.take("admin-dashboard-dark.png", View(ADMIN, ".plot canvas", is_dark=True))
    camera.take("admin-list.png", View(of_user, ".rows", LONG))
    camera.take("admin-conversation.png", View(conversation, ".markdown", LONG))
    camera.take("admin-phone-list.png", View(of_user, ".rows", PHONE, top=".summary"))
    camera.take("admin-phone-conversation.png", View(from_right_to_left, ".markdown", PHONE))
    camera.take("admin-intake.png", View(INTAKE, ".reasons"))
    camera.take("api-docs.png", View(f"{BASE}/api/docs/", ".opblock", top=TAG))


def reveal(page: Page, user_id: str, number: int) -> str:
    """Reveal the texts of a user. Returns the address of an interaction: 0 is the newest."""
    page.goto(f"{LIST}?user_id={user_id}")
    page.locator(".rows .created a").nth(number).click()
    page.get_by_label("Reason").fill(REASON)
    page.get_by_role("button", name="Reveal").click()
    page.wait_for_selector(".markdown")
    return page.url


def read_again(page: Page, key: str) -> None:
    """Read the newest interactions some times, as chat services do: the cache has hits then."""
    headers = {"Authorization": f"Api-Key {key}"}
    newest = page.request.get(f"{BASE}/api/v1/interactions/?limit=20", headers=headers).json()
    for interaction in newest["results"] * 6:
        page.request.get(
            f"{BASE}/api/v1/interactions/{interaction['interaction_id']}/", headers=headers
        )


def wait_for_intake(page: Page) -> None:
    """Counts of what tools sent are written some seconds later."""
    while page.goto(INTAKE) and not page.locator(".reasons").count():
        time.sleep(1)


def send_spans(page: Page, key: str) -> None:
    """Send spans as OpenTelemetry's exporters do: some of them cannot be stored."""
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
        for number, span in enumerate(SPANS, start=1)
    ]
    answer = page.request.post(
        f"{BASE}/api/otlp/v1/traces",
        data={"resourceSpans": [{"scopeSpans": [{"spans": sent}]}]},
        headers={"Authorization": f"Api-Key {key}"},
    )
    assert answer.ok, answer.text()


if __name__ == "__main__":
    main()
