#!/usr/bin/env bash
# nh3 0.3.8, Python 3.11: `clean(html, attributes={...})` is an allow-list, and yet `title` and `lang` stay
# on every element although no entry names them, also with `attributes={}`. They come from the sanitiser
# beneath (ammonia's generic attributes), and are not in nh3.ALLOWED_ATTRIBUTES either. What an untrusted
# author puts into a tooltip is then shown. A good engineer would expect an empty allow-list to leave nothing.
#
# Output seen:
#   named in ALLOWED_ATTRIBUTES: False
#   attributes={}: <p title="t" lang="en">text</p>
#   attributes={"p": set()}: <p title="t" lang="en">text</p>
#   attributes={"*": set()}: <p>text</p>
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nh3==0.3.8

timeout 60 "$folder/venv/bin/python" - > "$folder/output" <<'PYTHON'
import nh3

HTML = '<p title="t" lang="en" align="left">text</p>'
print("named in ALLOWED_ATTRIBUTES:", any("title" in names for names in nh3.ALLOWED_ATTRIBUTES.values()))
print("attributes={}:", nh3.clean(HTML, attributes={}))
print('attributes={"p": set()}:', nh3.clean(HTML, attributes={"p": set()}))
print('attributes={"*": set()}:', nh3.clean(HTML, attributes={"*": set()}))
PYTHON

cat "$folder/output"
diff "$folder/output" - <<'EXPECTED'
named in ALLOWED_ATTRIBUTES: False
attributes={}: <p title="t" lang="en">text</p>
attributes={"p": set()}: <p title="t" lang="en">text</p>
attributes={"*": set()}: <p>text</p>
EXPECTED
