"""`docs/python.md` works as it stands: its blocks run one after the other and print what the page shows.

The page was printed by the starter library and this test asks a tiny one, so figures, ids, the choice that won and
the adapters may be others.
"""

import re

import pytest
from tests.fix_answering import Stack
from tests.repository import ROOT

PAGE = ROOT / "docs" / "python.md"
BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\n^```text\n(?P<output>.*?)^```\n)?", re.MULTILINE | re.DOTALL
)


def test_it_prints_what_the_page_shows(
    answering: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in answering.environment().items():
        monkeypatch.setenv(name, value)
    text = PAGE.read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "__main__"}
    blocks = list(BLOCK.finditer(text))
    assert blocks
    for block in blocks:
        line = text.count("\n", 0, block.start()) + 1
        exec(compile("\n" * line + block["code"], PAGE.name, "exec"), names)
        assert plain(capsys.readouterr().out) == plain(block["output"] or ""), f"line {line}"


def plain(printed: str) -> str:
    """Without what depends on the library and on chance."""
    printed = re.sub(r"from .*, id [0-9a-f-]{36}", "from ADAPTERS, id ID", printed)
    return re.sub(r"\d+", "9", re.sub(r"\b(yes|no|maybe)\b", "CHOICE", printed))
