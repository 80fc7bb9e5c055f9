"""Every test that SECURITY.md names is there, by file and by name."""

import ast
import re

import pytest
from tests.repository import ROOT

PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+(?:\.py)?)(?:::(\w+))?`", PAGE.replace("/`", "`"))))
ROWS = [
    line
    for line in PAGE.split("## What was attacked")[1].split("\n## ")[0].splitlines()
    if line.startswith("|")
]


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_a_named_test_is_there(file: str, test: str) -> None:
    path = ROOT / file
    assert path.exists()
    if test:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert test in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_attack_has_a_test() -> None:
    assert len(ROWS) > 20
    assert [row for row in ROWS[2:] if "::test_" not in row] == []
