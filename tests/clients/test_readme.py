"""The examples of the Python client's README, as pasted, against a real server."""

import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[2] / "clients" / "python" / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_works_as_pasted(example, server, url, monkeypatch, capsys):
    monkeypatch.setenv("KEY", server.key)
    assert len([line for line in example.splitlines() if line]) <= 11
    exec(example.replace("http://127.0.0.1:8000", url), {})
    printed = capsys.readouterr().out
    assert printed.strip()
    expected = {
        "lookup": "A balanced tree.\nmodel-1\n",
        "AsyncStore": "Hello.\n",
        "InvalidRequest": "400 [('#/model_used', ",
        "store.usage": "USD counted until 2",
        "background": "100 0 {}\n",
    }
    assert [text for name, text in expected.items() if name in example and text in printed]


def test_there_are_examples():
    assert len(EXAMPLES) == 5
