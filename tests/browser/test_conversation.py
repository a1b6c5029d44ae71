"""The page of an interaction in Chromium: what models write does nothing, and stays on the page."""

import time

import pytest

from tests.browser.checking import DESKTOP, PHONE, check, check_fits
from tests.browser.site import interaction
from tests.chat.admin.test_markdown import LIST_OF_HOSTILE

MARKDOWN = """\
# A title

Some *words* with `code`, ~~struck~~, and a [link](https://example.com/).

1. one
   - two
     - three

> a quotation

| left | right |
|:-----|------:|
| a    |     1 |

```python
def greet(name: str) -> str:
    return f"Hello, {name}, and a line that is much longer than the screen of a telephone is wide"
```
"""
WIDE_TABLE = "|a" * 100 + "|\n" + "|-" * 100 + "|\n" + ("|cell" * 100 + "|\n") * 20
TEXTS = {
    "markdown": MARKDOWN,
    "hostile": "\n\n".join(LIST_OF_HOSTILE).replace("\x00", "").replace("\x01", ""),
    "word": "w" * 190_000,
    "marks": "e" + "\u0301" * 3000 + " and " + "\u0e4a" * 3000,
    "table": WIDE_TABLE,
    "levels": "".join("  " * n + f"- level {n}\n" for n in range(30)),
}
REASON = "To see whether the page holds, ticket 1."


def path(name, query=""):
    return f"/admin/storage/chatinteraction/{name}/change/{query}"


@pytest.fixture(scope="module", autouse=True)
def _saved(site):
    site.save(
        interaction(number, interaction_id=name, message=text, response=text)
        for number, (name, text) in enumerate(TEXTS.items())
    )


@pytest.fixture
def reader(open_page):
    """Opens the page of an interaction whose texts are revealed."""

    def open_one(name, query="", **look):
        page = open_page(path(name), "storage.view_chatinteraction", "storage.read_texts", **look)
        if page.get_by_label("Reason").count():
            page.get_by_label("Reason").fill(REASON)
            page.get_by_role("button", name="Reveal").click()
        if query:
            page.goto(page.url + query)
        return page

    return open_one


def test_revealing_takes_a_reason_and_the_keyboard_is_enough(open_page):
    page = open_page(path("markdown"), "storage.view_chatinteraction", "storage.read_texts")
    check(page)
    assert "A title" not in page.content()
    page.get_by_label("Reason").focus()
    page.keyboard.type(REASON)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="A title").first.wait_for()
    assert REASON not in page.content()


@pytest.mark.parametrize(
    "width", [pytest.param(DESKTOP, marks=pytest.mark.exhaustive), pytest.param(PHONE)]
)
def test_every_text_stays_on_the_page_and_does_nothing(site, reader, width):
    page = reader("markdown", width=width, dark=width == PHONE)
    for name in TEXTS:
        begun = time.perf_counter()
        page.goto(site.url(path(name)))
        box = page.locator(".turn.message .text").bounding_box()
        # Generous: it took many seconds where a long word was in one line.
        assert time.perf_counter() - begun < 20
        if name in ("markdown", "hostile"):
            check(page, axe=name == "markdown")
        check_fits(page)
        assert page.locator(".text").count() == 2
        assert page.locator(".text").locator("img, script, svg, style, iframe").count() == 0
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        if name == "marks":
            assert box["height"] < 400
    check(page, axe=False)  # what went wrong on any of them


@pytest.mark.exhaustive
@pytest.mark.parametrize("query", ["?view=raw", "?view=json", "?view=raw&part=2"])
def test_other_views_are_sound(reader, query):
    page = reader("hostile" if "part" not in query else "word", query, width=PHONE)
    check(page)
    assert page.locator("pre.text").count() >= 1


@pytest.mark.exhaustive
def test_texts_and_code_are_copied_as_they_were_written(reader):
    page = reader("markdown")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for button, copied in (
        (page.get_by_role("button", name="Copy", exact=True).first, MARKDOWN),
        (page.get_by_role("button", name="Copy code").first, MARKDOWN.split("```python\n")[1][:-4]),
    ):
        button.click()
        page.get_by_text("Copied.").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == copied
    check(page)


@pytest.mark.exhaustive
def test_turns_lead_to_one_another(reader):
    page = reader("hostile")
    page.get_by_role("navigation", name="Turns").get_by_role("link").first.click()
    page.wait_for_url(f"**{path('word')}")
    check(page)
