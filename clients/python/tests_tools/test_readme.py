"""The README's examples of other packages, as pasted."""

import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"
EXAMPLES = re.findall(r"```python (\w+)\n(.*?)```", README.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_an_example_works_as_pasted(
    name, example, running_store, store, model, monkeypatch, capsys
):
    url, key = running_store
    monkeypatch.setenv("KEY", key)
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    monkeypatch.setenv("OPENAI_BASE_URL", model.url)
    assert len([line for line in example.splitlines() if line]) <= 11
    before = len(list(store.list("ada")))
    exec(example.replace("http://127.0.0.1:8000", url), {})
    assert "Hello Ada." in capsys.readouterr().out
    found = list(store.list("ada"))
    new = found[: len(found) - before]
    assert [(one.response, one.input_tokens, one.model_used) for one in new] == [
        ("Hello Ada.", 111, "m-2026")
    ] * (2 if name == "openai" else 1)
    assert len(EXAMPLES) == 3
