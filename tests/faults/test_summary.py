"""The end of `make faults`: one page, and an exit code that is not 0 where anything broke."""

import subprocess
import sys

import pytest
import typer
from tests.faults import __main__ as faults
from tests.faults.summary import Part, kept, page
from tests.repository import ROOT

WELL = (Part("hostile input"), Part("9 outages", chain_intact=True), Part("campaign", chain_intact=True))


def test_what_was_kept_is_said_in_one_line() -> None:
    assert kept(WELL)
    assert page(WELL).splitlines()[-1] == "lost 0, doubled 0, chain intact"


@pytest.mark.parametrize(
    ("broken", "last"),
    [
        (Part("x", lost=1, chain_intact=True), "lost 1, doubled 0, chain intact"),
        (Part("x", doubled=2, chain_intact=True), "lost 0, doubled 2, chain intact"),
        (Part("x", chain_intact=False), "lost 0, doubled 0, chain BROKEN"),
        (Part("x", fault="broke off"), "lost 0, doubled 0, chain intact, 1 parts failed"),
    ],
)
def test_whatever_broke_is_named_and_ends_with_another_exit_code(
    broken: Part, last: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = (("knock", WELL[0]), ("go_out", broken), ("fetch_all", WELL[0]), ("break_all", WELL[2]))
    for name, part in parts:
        monkeypatch.setattr(faults, name, lambda part=part, **_: part)
    with pytest.raises(typer.Exit) as ended:
        faults.main(short=True)
    assert ended.value.exit_code == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == last
    assert [line for line in lines if line.startswith("BROKEN")] == [f"BROKEN  x: {faults_of(broken)}"]
    assert max(map(len, lines)) <= 80


def faults_of(part: Part) -> str:
    return (
        part.fault
        or f"lost {part.lost}, doubled {part.doubled}, chain {'intact' if part.chain_intact else 'BROKEN'}"
    )


def test_no_chain_is_called_intact_that_nobody_saw() -> None:
    assert (
        page([Part("campaign", fault="broke off")])
        .splitlines()[-1]
        .startswith("lost 0, doubled 0, chain not seen")
    )


def test_a_part_that_breaks_off_keeps_no_other_from_running(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> Part:
        raise RuntimeError("no room")

    assert faults.finished("outages", broken) == Part("outages", fault="broke off: RuntimeError")
    assert "no room" in capsys.readouterr().err


def test_make_runs_it_all_by_one_command() -> None:
    planned = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "faults", f"RUN={sys.executable} -m"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert planned.stdout.splitlines()[-1] == f"{sys.executable} -m tests.faults"
