"""What commands print."""

import json
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from loradex import terminal

ANY_NUMBER = st.floats(allow_nan=False)
SHARE = st.floats(min_value=0, max_value=1)


@given(ANY_NUMBER, st.integers(min_value=1, max_value=80))
def test_a_bar_has_its_width_whatever_the_share(share: float, width: int) -> None:
    assert len(terminal.bar(share, width)) == width


@given(SHARE, SHARE)
def test_a_bar_is_never_shorter_for_a_larger_share(one: float, other: float) -> None:
    smaller, larger = sorted((one, other))

    assert _eighths(terminal.bar(smaller)) <= _eighths(terminal.bar(larger))


def _eighths(bar: str) -> int:
    return sum(terminal.BLOCKS.index(cell) for cell in bar)


def test_nothing_half_and_all() -> None:
    assert [terminal.bar(share, 4) for share in (0, 0.5, 1)] == ["    ", "██  ", "████"]


def test_json_holds_ids_times_and_paths_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    identity = UUID(int=7)
    moment = datetime(2026, 1, 2, tzinfo=UTC)

    terminal.as_json({"id": identity, "at": moment, "where": Path("a/b"), "word": "größe"})

    out = capsys.readouterr().out
    assert json.loads(out) == {"id": str(identity), "at": moment.isoformat(), "where": "a/b", "word": "größe"}
    assert out.count("\n") == 1


def test_no_number_becomes_a_picture(capsys: pytest.CaptureFixture[str]) -> None:
    said = "a ratio of 1:100:5, :warning: and :key:"
    terminal.console().print(said, markup=False)
    terminal.table(("text",), [(said,)])
    terminal.say(said)
    assert capsys.readouterr().out.count(said) == 3


def test_json_holds_decimals_as_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.as_json({"whole": Decimal(9223372036854775807), "part": Decimal("0.25")})
    assert json.loads(capsys.readouterr().out) == {"whole": 2**63 - 1, "part": 0.25}


def test_json_refuses_what_it_does_not_know() -> None:
    with pytest.raises(TypeError, match="cannot print a set"):
        terminal.as_json({"a": {1}})


def test_a_table_shows_values_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    long = "word " * 60

    terminal.table(("name", "value"), [("[bold]x[/bold]", 1.5), (long, None)], title="Things")

    out = capsys.readouterr().out
    assert "[bold]x[/bold]" in out
    assert long.strip() in out
    assert "Things" in out


def test_no_word_of_a_table_is_lost_however_narrow_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    # Not a dumb one: of that rich believes it has 80 columns.
    monkeypatch.setenv("TERM", "xterm")
    rows = [
        ("postgres", "postgresql://loradex@127.0.0.1:21861/loradex", "Postgres 18.4, pgvector 0.8.5", None),
        ("worker", "process 10608", "died", "start it again with `loradex up`, and read its log"),
    ]
    words = " ".join(str(one) for row in rows for one in row if one is not None).split()
    for width in range(50, 160):
        monkeypatch.setenv("COLUMNS", str(width))
        terminal.table(("part", "address", "what is known", "cure"), rows)
        lines = Text.from_ansi(capsys.readouterr().out).plain.splitlines()
        assert max(map(len, lines)) <= width
        shown = " ".join(lines).split()
        assert [one for one in words if one not in shown] == [], width


def test_bars_name_and_number_every_share(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.bars({"rte [0]": 0.75, "piqa": 0.25}, title="tasks")

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "tasks"
    assert lines[1].startswith("  rte [0]  ")
    assert lines[1].endswith("75.0%")
    assert lines[2].endswith("25.0%")


def test_the_program_is_named_as_it_can_be_typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = tmp_path / "loradex"
    place.write_text("#!/bin/sh\n")
    place.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(place)])
    monkeypatch.setenv("PATH", "/nowhere")
    assert terminal.program() == str(place)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert terminal.program() == "loradex"
    monkeypatch.setattr("sys.argv", ["/usr/lib/python/another.py"])
    assert terminal.program() == "loradex"
