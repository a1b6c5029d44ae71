"""What a conversation's page shows of its texts: a part of each, in one of three views."""

import json
import re
from dataclasses import dataclass, field

from django.utils.safestring import SafeString

from chat.admin import masking, parts
from storage.records.json import Record

TEXTS = {"message": "Message", "response": "Response"}

UNRENDERED = "Shown as it was written: as Markdown it would take too long, or lose something."
TURNED = (
    "This text has characters that change its direction. It may be written in another order "
    "than it is shown."
)
_TURNS = re.compile("[\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Panel:
    """A part of a text. With `html`, that is shown, and `text` is what was written."""

    title: str
    kind: str
    text: str = field(default="", repr=False)
    html: SafeString | None = field(default=None, repr=False)
    hidden: str = ""
    notes: tuple[str, ...] = ()
    is_empty: bool = False

    @property
    def is_over(self) -> bool:
        """Whether the text has ended in an earlier part."""
        return not (self.text or self.hidden or self.is_empty)


@dataclass(frozen=True)
class Shown:
    """The panels of a page, and which part of how many they show."""

    panels: tuple[Panel, ...]
    part: int
    count: int

    @property
    def previous(self) -> int:
        """The number of the part before."""
        return self.part - 1

    @property
    def next(self) -> int:
        """The number of the part after."""
        return self.part + 1


def panels(record: Record, view: str, part: int, *, is_masked: bool) -> Shown | None:
    """The panels for a view (`text`, `raw` or `json`); None if there is no such part."""
    if is_masked:
        record = record | {name: masking.hidden(record[name]) for name in TEXTS if record[name]}
    pieces = _pieces(record, view, is_masked)
    count = max(map(len, pieces.values()))
    if part > count:
        return None
    is_hidden = is_masked and view != "json"
    shown = [_panel(kind, found, view, part, is_hidden) for kind, found in pieces.items()]
    return Shown(tuple(shown), part, count)


def _pieces(record: Record, view: str, is_masked: bool) -> dict[str, list[str]]:
    """The parts of what a view shows."""
    if view == "json":
        return {"json": parts.split(json.dumps(record, ensure_ascii=False, indent=2))}
    texts = [record[name] for name in TEXTS]
    if is_masked:
        return {name: [text] for name, text in zip(TEXTS, texts, strict=True)}
    limits = parts.shares(*texts) if view == "text" else (0, 0)
    return {
        name: parts.split(text, to_render=limit)
        for name, text, limit in zip(TEXTS, texts, limits, strict=True)
    }


def _panel(kind: str, pieces: list[str], view: str, part: int, is_hidden: bool) -> Panel:
    title = TEXTS.get(kind, "JSON")
    text = pieces[part - 1] if part <= len(pieces) else ""
    if pieces == [""]:
        return Panel(title, kind, is_empty=True)
    if is_hidden:
        return Panel(title, kind, hidden=text)
    is_first = view == "text" and part == 1
    html = _rendered(text) if is_first else None
    notes = []
    if is_first and html is None:
        notes.append(UNRENDERED)
    if _TURNS.search(text):
        notes.append(TURNED)
    return Panel(title, kind, text, html, notes=tuple(notes))


def _rendered(text: str) -> SafeString | None:
    from chat.admin.markdown import render  # takes 60 ms, which every command would wait for

    return render(text)
