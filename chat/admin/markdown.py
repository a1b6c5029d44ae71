"""Markdown as safe HTML. What a model writes is hostile: it may repeat what an attacker told it.

HTML in it is shown as text. markdown-it-py makes HTML of the rest, and nh3 then keeps only what is
listed here, so that a mistake in one of the two is not enough. Nothing is loaded from elsewhere:
a picture becomes a link.

Some texts of a few kilobytes would take seconds: the parser reads the rest of a paragraph again for
each bracket, say. Others are nested more deeply than it goes, and it would leave out the rest
without a word. So its steps are counted, and for such a text `render` returns None.
"""

import re
from collections.abc import Sequence
from typing import Literal

import nh3
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.parser_block import ParserBlock, RuleFuncBlockType
from markdown_it.parser_inline import ParserInline
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block import StateBlock
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

MAX_NESTING = 100

MAX_LOOKAHEAD = 50_000
"""Tokens that are read again to find the ends of brackets."""

HEADINGS_BELOW = 2
"""The level of the headings of a page under which a text stands."""

MAX_ATTEMPTS = 100_000
"""Calls of a rule for a line. Some quotations in quotations are read again for each line."""

MAX_TOKENS = 30_000
"""Blocks. Every row of a table gets as many cells as the first, even if it has one."""

MAX_LINKED = 200_000
"""Characters of all addresses. A long one can be given once and used a thousand times."""

TAGS = {
    *("p", "br", "hr", "h3", "h4", "h5", "h6", "blockquote", "pre", "code"),
    *("ul", "ol", "li", "em", "strong", "s", "a"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
ATTRIBUTES: dict[str, set[str]] = {
    "*": set(),
    "a": {"href"},
    "code": {"class"},
    "ol": {"start"},
    "th": {"align"},
    "td": {"align"},
}
SCROLLED = {
    "<pre>": '<pre tabindex="0">',
    "<table>": '<div class="wide" tabindex="0"><table>',
    "</table>": "</table></div>",
}
"""What may be wider than the page is scrolled, with the keyboard, too. A tag that was written by a
model has become `&lt;table&gt;`, so these are the parser's own."""

_LANGUAGE = re.compile(r"language-[A-Za-z0-9+#.-]{1,32}")
_LINK = re.compile(r"(https?://|mailto:)", re.IGNORECASE)


class _TooCostly(Exception):
    """The parser would take too long, or leave something out."""


class _State(StateBlock):
    def push(self, ttype: str, tag: str, nesting: Literal[-1, 0, 1]) -> Token:
        _count(self.env, "tokens", MAX_TOKENS)
        return super().push(ttype, tag, nesting)


class _Block(ParserBlock):
    def __init__(self) -> None:
        super().__init__()
        for rule in self.ruler.__rules__:
            self.ruler.at(rule.name, _counted(rule.fn), {"alt": rule.alt})

    def parse(
        self,
        src: str,
        md: MarkdownIt,
        env: EnvType,
        outTokens: list[Token],  # noqa: N803
    ) -> list[Token]:
        state = _State(src, md, env, outTokens)
        self.tokenize(state, state.line, state.lineMax)
        return state.tokens

    def tokenize(self, state: StateBlock, startLine: int, endLine: int) -> None:  # noqa: N803
        if state.level >= MAX_NESTING:  # the parser would end the text here
            raise _TooCostly
        super().tokenize(state, startLine, endLine)


def _counted(rule: RuleFuncBlockType) -> RuleFuncBlockType:
    def counted(state: StateBlock, start: int, end: int, silent: bool) -> bool:
        _count(state.env, "attempts", MAX_ATTEMPTS)
        return rule(state, start, end, silent)

    return counted


class _Inline(ParserInline):
    def skipToken(self, state: StateInline) -> None:  # noqa: N802
        _count(state.env, "lookahead", MAX_LOOKAHEAD)
        super().skipToken(state)


def _count(env: EnvType, what: str, at_most: int, number: int = 1) -> None:
    env[what] = env.get(what, 0) + number
    if env[what] > at_most:
        raise _TooCostly


def _parser() -> MarkdownIt:
    parser = MarkdownIt()
    parser.block, parser.inline = _Block(), _Inline()
    parser.configure("commonmark", {"html": False, "maxNesting": MAX_NESTING})
    parser.enable(["table", "strikethrough"])
    parser.core.ruler.push("chosen", _choose)
    parser.validateLink = _may_link  # type: ignore[method-assign]  # its documentation says so
    parser.add_render_rule("image", _picture)
    return parser


def _may_link(url: str) -> bool:
    return _LINK.match(url) is not None


def _choose(state: StateCore) -> None:
    """Headings below those of the page, alignment without a style, and what is in a link."""
    for token in state.tokens:
        if token.type.startswith("heading_"):
            token.tag = f"h{min(int(token.tag[1]) + HEADINGS_BELOW, 6)}"
        style = str(token.attrs.pop("style", ""))
        if style.startswith("text-align:"):
            token.attrs["align"] = style.removeprefix("text-align:")
        links = 0
        for child in token.children or ():
            child.attrs.pop("title", None)
            for name in ("href", "src"):
                _count(state.env, "linked", MAX_LINKED, len(str(child.attrs.get(name, ""))))
            if child.type in ("link_open", "link_close"):
                links += child.nesting
            child.meta["in_link"] = links > 0


def _picture(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    """A link to a picture, with its description; within a link the description alone."""
    token = tokens[index]
    text = escape(renderer.renderInlineAsText(token.children, options, env)) or "picture"
    if token.meta["in_link"]:
        return text
    return f'<a href="{escape(token.attrs["src"])}">{text}</a>'


def _kept(tag: str, name: str, value: str) -> str | None:
    if name == "class":
        return value if _LANGUAGE.fullmatch(value) else None
    if name == "align":
        return value if value in ("left", "center", "right") else None
    return value


_PARSER = _parser()


def render(text: str) -> SafeString | None:
    """The HTML of a text in Markdown; None if it is one that is better shown as it is.

    How long it takes depends on the lines and marks in the text: see `chat.admin.parts`.
    """
    try:
        html = _PARSER.render(text, {})
    except (_TooCostly, RecursionError):
        return None
    cleaned = nh3.clean(
        html,
        tags=TAGS,
        attributes=ATTRIBUTES,
        attribute_filter=_kept,
        url_schemes={"http", "https", "mailto"},
        url_relative="deny",
        link_rel="noopener noreferrer nofollow",
    )
    for written, shown in SCROLLED.items():
        cleaned = cleaned.replace(written, shown)
    return mark_safe(cleaned)  # noqa: S308  (nh3 has cleaned it)
