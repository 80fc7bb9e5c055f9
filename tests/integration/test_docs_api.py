"""`docs/api.md` works as it stands: its Python and its `curl` run in order and print what the page shows.

The page was printed by the starter library and this test asks a tiny one, so figures, ids, names of adapters and the
choice that won may be others.
"""

import re
import subprocess

import pytest
from tests.fix_api import Served
from tests.needs import program
from tests.repository import ROOT

PAGE = ROOT / "docs" / "api.md"
BLOCK = re.compile(
    r"^```(?P<kind>python|sh)\n(?P<code>(?:(?!```)[^\n]*\n)+)```\n\n```text\n(?P<output>.*?)^```\n",
    re.MULTILINE | re.DOTALL,
)
ADDRESS = "http://127.0.0.1:8322"


def test_it_prints_what_the_page_shows(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LORADEX_API_KEY", served.alice)
    text = PAGE.read_text(encoding="utf-8").replace(ADDRESS, served.url)
    names: dict[str, object] = {"__name__": "__main__"}
    kinds = set()
    for block in BLOCK.finditer(text):
        kinds.add(block["kind"])
        if block["kind"] == "sh":
            program("curl")
            done = subprocess.run(
                block["code"], shell=True, capture_output=True, text=True, check=True, timeout=60
            )
            printed = done.stdout
        else:
            line = text.count("\n", 0, block.start()) + 1
            exec(compile("\n" * line + block["code"], PAGE.name, "exec"), names)
            printed = capsys.readouterr().out
        assert plain(printed) == plain(block["output"]), block["code"]
    assert kinds == {"python", "sh"}
    names["client"].close()  # type: ignore[attr-defined]


def plain(printed: str) -> str:
    """Without what depends on the library and on chance."""
    printed = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", printed.strip())
    # Adapters: one line with its weight, or with its base model; how many there are is the library's business.
    printed = re.sub(r"(?:^[\w-]+ \d\.\d+\n)+(?=\w+ -\d)", "ADAPTERS\n", printed, flags=re.MULTILINE)
    printed = re.sub(r"^[\w-]+ (?=smollm2)", "ADAPTER ", printed, flags=re.MULTILINE)
    return re.sub(r"\d+", "9", re.sub(r"\b(yes|no|maybe)(?= stop)", "CHOICE", printed))
