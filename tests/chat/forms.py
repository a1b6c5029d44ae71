"""What a browser sends of the forms on a page."""

from collections import defaultdict
from html.parser import HTMLParser
from typing import Any


class _Fields(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = defaultdict(list)
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "select":
            self._select = given.get("name") or ""
        elif tag == "option" and "selected" in given:
            self.found[self._select].append(given.get("value") or "")
        elif tag == "input" and "name" in given:
            is_box = given.get("type") in ("checkbox", "radio")
            if not is_box or "checked" in given:
                value = given.get("value") or ("on" if is_box else "")
                self.found[given["name"] or ""].append(value)


def form_on(response: Any) -> dict[str, list[str]]:
    """The values by name, if nothing is typed and each box is left as it is."""
    fields = _Fields()
    fields.feed(response.content.decode())
    return dict(fields.found)
