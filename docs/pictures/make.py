"""Takes the README's pictures of a running server with Chromium: `make pictures`.

The server must run with its sample data (`make run`). CHROMIUM names the browser's program.
"""

import json
import os
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BASE = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}"
LIST = f"{BASE}/admin/storage/chatinteraction/"


def main() -> None:
    """Log in, and take a picture of the list, of one conversation and of the API's page."""
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


def note_foreign(url: str, foreign: list[str]) -> None:
    """Remember a request that leaves this server: the pages must work offline."""
    if not url.startswith((BASE, "data:", "blob:")):
        foreign.append(url)


if __name__ == "__main__":
    main()
