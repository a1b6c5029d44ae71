"""How Sphinx makes the site of these pages; `make docs` runs it."""

import re
from pathlib import Path

from sphinx.application import Sphinx

project = "Chat interaction store"
extensions = ["myst_parser"]
# Pages link to those outside docs/, so these are part of the site, and their links checked as well.
include_patterns = [
    "docs/*.md",
    "docs/**/*.md",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "benchmarks/README.md",
    "clients/*/README.md",
]
exclude_patterns = ["clients/*/node_modules", "clients/*/.venv"]
root_doc = "docs/index"

myst_heading_anchors = 4  # a heading's address is the one that it has on GitHub
myst_enable_extensions = ["strikethrough"]

html_theme = "furo"
html_title = project
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
highlight_language = "none"
suppress_warnings = [
    "misc.highlighting_failure",  # what Pygments does not know is shown without colours
]


def without_links_to_folders(app: Sphinx, page: str, source: list[str]) -> None:
    """Links to folders, which GitHub can show and a site cannot, become plain text."""
    folder = Path(app.srcdir, page).parent

    def plain(link: re.Match[str]) -> str:
        return link[1] if (folder / link[2]).is_dir() else link[0]

    source[0] = re.sub(r"\[([^\]]+)\]\(([^):#]+)\)", plain, source[0])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", without_links_to_folders)
