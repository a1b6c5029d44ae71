"""What must hold of every page, whatever it shows."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage, Locator, Page, Request

WIDE, DESKTOP, PHONE = 1920, 1280, 390
HEIGHT = 900
SERIOUS = ("serious", "critical")

_noted: WeakKeyDictionary[Page, list[str]] = WeakKeyDictionary()

OVERFLOWING = """() => [...document.body.querySelectorAll("*")]
  .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
  .slice(0, 5)
  .map((element) => element.cloneNode(false).outerHTML.slice(0, 200))"""


def watch(page: Page, origin: str) -> None:
    """Note from now on what goes wrong on a page whose server is `origin`."""
    noted = _noted.setdefault(page, [])

    def on_console(message: ConsoleMessage) -> None:
        # What the Content-Security-Policy refuses is told as an error, too.
        if message.type in ("error", "warning"):
            noted.append(f"console: {message.text} ({message.location.get('url')})")

    def on_request(request: Request) -> None:
        if not request.url.startswith((f"{origin}/", "data:", "blob:")):
            noted.append(f"request to another host: {urlsplit(request.url).netloc}")

    page.on("console", on_console)
    page.on("request", on_request)
    page.on("pageerror", lambda error: noted.append(f"exception: {error}"))
    page.on("requestfailed", lambda request: noted.append(f"failed: {request.url}"))
    page.on("dialog", lambda dialog: noted.append(f"dialog: {dialog.message}"))


def follow(page: Page, link: Locator) -> None:
    """Click a link or a button that leads to another page, and wait for all of that page."""
    with page.expect_navigation():
        link.click()


def check(page: Page, *, axe: bool = True) -> None:
    """Raise AssertionError unless the page is sound as it is shown now.

    No error or warning in the console, nothing that the Content-Security-Policy refused, no
    request to another host, nothing beside the screen, nothing that axe-core finds serious.
    """
    page.wait_for_load_state("networkidle")
    assert _noted[page] == [], "\n".join(_noted[page])
    check_fits(page)
    if axe:
        check_accessible(page)


def check_fits(page: Page) -> None:
    """Raise AssertionError if the page can be scrolled sideways."""
    width, screen = page.evaluate("[document.scrollingElement.scrollWidth, innerWidth]")
    assert width <= screen, (width, screen, page.evaluate(OVERFLOWING))


def check_accessible(page: Page) -> None:
    """Raise AssertionError, with the elements, for what axe-core finds serious or critical."""
    found = Axe().run(page).response["violations"]
    told = [
        f"{violation['id']}: {node['html'][:300]} {node['failureSummary']}"
        for violation in found
        if violation["impact"] in SERIOUS
        for node in violation["nodes"]
    ]
    assert told == [], "\n".join(told)


def check_everywhere(page: Page) -> None:
    """`check` wide, at 1280 and at 390 pixels, in the light and in the dark."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for width in (WIDE, DESKTOP, PHONE):
            page.set_viewport_size({"width": width, "height": HEIGHT})
            # The colours hardly depend on the width, and axe takes a second.
            check(page, axe=width != WIDE)


@contextmanager
def expected_errors(page: Page) -> Iterator[list[str]]:
    """What a page does wrong within is expected, such as the status 400; yields what it was."""
    noted = _noted[page]
    before = list(noted)
    told: list[str] = []
    yield told
    page.wait_for_load_state("networkidle")
    told += noted[len(before) :]
    noted[:] = before
