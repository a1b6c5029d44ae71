"""Markdown as safe HTML, and long texts in parts: what is kept, what is not, and at which cost."""

import re
from html.parser import HTMLParser

import pytest

from chat.admin import markdown, parts
from chat.admin.markdown import render

LIST_OF_HOSTILE = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)><svg><a xlink:href='javascript:alert(1)'>x</a></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style></table></math>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<base href='//evil.example/'><meta http-equiv=refresh content='0;url=//evil.example/'>",
    "<style>@import '//evil.example/x.css';</style><link rel=stylesheet href=//evil.example/x>",
    "<form action=//evil.example/><input name=csrfmiddlewaretoken><button>x</button></form>",
    "<div x-data='{}' x-init='alert(1)' @click='alert(1)' :class='x' hx-get='/'>x</div>",
    "<p style='position:fixed' class='fixed' id='content' dir='rtl' lang='x' title='y'>x</p>",
    "<!-- comment --> <![CDATA[x]]> <?php x ?> <!DOCTYPE html>",
    "[a](javascript:alert(1)) [b](JaVaScRiPt:alert(1)) [c](&#106;avascript:alert(1))",
    "[a](vbscript:x) [b](data:text/html,<script>x</script>) [c](file:///etc/passwd)",
    "[a](<java\tscript:alert(1)>) [b]( javascript:alert(1) ) [c](\x01javascript:alert(1))",
    "[a](/admin/logout/) [b](//evil.example/) [c](?view=download) [d](#content) [e]()",
    "<javascript:alert(1)> <data:text/html,x>",
    "![a](javascript:alert(1)) ![b](data:image/svg+xml;base64,AAAA) ![c](/static/x.png)",
    "![a](https://evil.example/pixel.png) ![](https://evil.example/?a=b&c=d)",
    "[![a](https://evil.example/1.png)](https://evil.example/2)",
    '[a](https://x.example/"onmouseover="alert(1)) [b](https://x.example/ \'t" onclick="x\')',
    "[a]: javascript:alert(1)\n\n[a] ![a]",
    '```"><script>alert(1)</script>\ncode\n```',
    "```html\n<script>alert(1)</script>\n```",
    "    <script>alert(1)</script>",
    "`<script>alert(1)</script>`",
    "|<script>|\n|---|\n|<img src=x onerror=alert(1)>|",
    "# <script>alert(1)</script>",
    "{{ constructor.constructor('alert(1)')() }} {% load x %} ${alert(1)}",
    "</div></article><script>alert(1)</script>",
    "&lt;script&gt;alert(1)&lt;/script&gt; &#60;script>",
    "<a href='https://x.example' target=_blank>x</a>",
    "a\u202eb\u2066c\x00<\x00script>",
]

ALLOWED = {
    "a": {"href", "rel"},
    "code": {"class"},
    "ol": {"start"},
    "th": {"align"},
    "td": {"align"},
    "pre": {"tabindex"},
    "div": {"class", "tabindex"},
}


class Tags(HTMLParser):
    """Collects tags with their attributes, and the text between them."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        raise AssertionError("a comment")

    handle_decl = handle_pi = unknown_decl = handle_comment


@pytest.mark.parametrize("text", LIST_OF_HOSTILE, ids=range(len(LIST_OF_HOSTILE)))
def test_nothing_hostile_becomes_html(text):
    for tag, attributes in Tags(render(text)).tags:
        assert tag in markdown.TAGS | {"div"}
        assert set(attributes) <= ALLOWED.get(tag, set()), (tag, attributes)
        if tag == "a":
            assert attributes.get("href", "https://").startswith("https://")
            assert attributes["rel"] == "noopener noreferrer nofollow"
        if tag == "code":
            assert re.fullmatch("language-[a-z]+", attributes.get("class", "language-x"))
        if tag == "div":
            assert attributes == {"class": "wide", "tabindex": "0"}


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "[a](javascript:x)", "{{ x }}"])
def test_what_is_no_markdown_is_shown_as_it_was_written(text):
    assert Tags(render(text)).text.strip() == text


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**b** *i* ~~s~~ `c`", "<strong>b</strong> <em>i</em> <s>s</s> <code>c</code>"),
        ("# one\n\n###### six", "<h3>one</h3>\n<h6>six</h6>"),
        ("```python\nx < 1\n```", '<code class="language-python">x &lt; 1\n</code>'),
        ("```c++ title=x\nx\n```", '<code class="language-c++">x'),
        ("3. x", '<ol start="3">'),
        ("|a|b|\n|:-:|-:|\n|1|2|", '<td align="center">1</td>\n<td align="right">2</td>'),
        ("<mailto:a@b.example>", '<a href="mailto:a@b.example" rel="'),
        ("![a *cat*](https://x.example/p.png)", 'p.png" rel="noopener noreferrer nofollow">a cat<'),
        ("![](https://x.example/p.png)", ">picture</a>"),
        ("[![al](https://x.example/p)](https://y.example)", 'nofollow">al</a></p>'),
        ("[a](https://x.example 'title')", ">a</a>"),
    ],
)
def test_markdown_is_kept(text, html):
    assert html in render(text)


def test_ten_levels_are_kept_and_what_is_too_deep_is_no_markdown():
    def nested(levels):
        return "".join("  " * n + f"- level {n}.\n" for n in range(levels)) + "\nafter all."

    assert re.findall(r"level (\d+)\.", render(nested(40))) == [str(n) for n in range(40)]
    assert "after all." in render(nested(40))
    assert render(nested(300)) is None
    assert render("> " * 300 + "text") is None


# What would take the parser seconds if its steps were not counted: it gives up within 0.3 seconds.
COSTLY = {
    "brackets": "[" * 16_000,
    "pictures": "![" * 8_000,
    "brackets with backslashes": "[\\]" * 5_000,
    "quotations": "!" + "\n>> \n@" * 1_500,
    "columns": "|a" * 300 + "|\n" + "|-" * 300 + "|\n" + "x\n" * 2_000,
    "one address": "[a]: https://x.example/" + "b" * 30_000 + "\n\n" + "[a] " * 3_000,
}


@pytest.mark.parametrize("name", COSTLY)
def test_costly_texts_are_not_rendered(name):
    assert render(parts.split(COSTLY[name], to_render=parts.PART)[0]) is None


def test_what_is_usual_is_rendered():
    table = "|a|b|c|d|e|\n|-|-|-|-|-|\n" + "|1|2|3|4|5|\n" * 1000
    links = "[text](https://x.example/) and `code` and *more*.\n\n" * 800
    code = "```python\n" + "values[key] = [first(item) for item in items]\n" * 1500 + "```\n"
    for text in (table, links, code, "word " * 15_000, "e" + "\u0301" * 3000):
        first, *others = parts.split(text, to_render=parts.PART)
        assert render(first) is not None
        assert others == []


@pytest.mark.parametrize(
    "text",
    ["", "short", "a" * 250_000, "\U0001f600" * 90_000, "line\n" * 50_000, "\n" * 150_000,
     "&<>\"'" * 60_000, "Look:\n" + "b" * 210_000, ("c" * 99_990 + "\n") * 3],
    ids=lambda text: repr(text[:8]),
)  # fmt: skip
def test_parts_are_the_whole_text_and_none_is_too_long(text):
    for to_render in (0, parts.PART // 2, parts.PART):
        found = parts.split(text, to_render=to_render)
        assert "".join(found) == text
        assert all(len(part.encode()) <= parts.PART for part in found)
        assert len(found) <= 3 + 8 * len(text.encode()) / parts.PART


def test_parts_end_with_a_line():
    text = "a line of some words\n" * 20_000
    assert all(part.endswith("words\n") for part in parts.split(text))


def test_two_texts_share_what_a_page_may_cost():
    long, short = "word " * 30_000, "word " * 200
    assert parts.shares(long, long) == (parts.PART // 2, parts.PART // 2)
    assert parts.shares(long, short) == (parts.PART - len(short), parts.PART // 2)
    assert parts.shares(short, long) == (parts.PART // 2, parts.PART - len(short))
