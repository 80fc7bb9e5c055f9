"""The frame of the command line: quick, one line an error, help with an example for every command."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest
import typer

from loradex.errors import InvalidArgumentError, LoradexError, StackError
from loradex.service import cli
from loradex.service.cli import lazy

IMPORTED = "import sys, json; print(json.dumps([name for name in SLOW if name in sys.modules]))"
SLOW = ("torch", "transformers", "celery", "sqlalchemy", "psycopg", "numpy", "rich", "redis", "alembic")


def _commands() -> Iterator[tuple[str, typer.core.TyperCommand]]:
    for name, entry in cli.COMMANDS.items():
        command = lazy.load(name, entry)
        if isinstance(command, typer.core.TyperGroup):
            yield from ((f"{name} {part}", one) for part, one in command.commands.items())
        else:
            yield name, command


def test_every_command_of_the_table_exists_and_shows_an_example() -> None:
    without = [
        name for name, command in _commands() if f"Example: loradex {name}" not in _joined(command.help)
    ]

    assert without == []


def _joined(text: str | None) -> str:
    return " ".join((text or "").split()).replace('psql "$(loradex', "loradex")


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0

    shown = capsys.readouterr().out
    assert [name for name in cli.COMMANDS if f"  {name} " not in shown] == []


def test_help_imports_nothing_slow_and_takes_under_half_a_second() -> None:
    look = f"SLOW = {SLOW}; from loradex.service import cli; cli.run(['--help']); {IMPORTED}"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)

    assert json.loads(done.stdout.splitlines()[-1]) == []
    # Time of this process alone: on a machine at work, the clock on the wall measures the others.
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 0.5


def test_without_a_command_the_help_is_shown_and_the_code_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([]) == 2
    assert "Commands:" in capsys.readouterr().err


def test_a_group_without_a_command_shows_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["db"]) == 2
    assert capsys.readouterr().err.startswith("Usage: loradex db")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("loradex 0.")


@pytest.mark.parametrize(
    "arguments",
    [["nothing"], ["status", "--nothing"], ["status", "extra"], ["ask"], ["ask", "Why?", "--k", "many"]],
)
def test_a_wrong_call_is_one_line_and_code_two(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == 2

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("loradex: ")
    assert said.err.count("\n") == 1
    assert "--help" in said.err


def _refused() -> None:
    raise InvalidArgumentError("k must be at least 1:\n give another")


def _broken() -> None:
    raise StackError("Postgres does not start")


def _wrong() -> None:
    raise ValueError("a mistake of ours")


@pytest.mark.parametrize(
    ("raising", "line", "code"),
    [
        (_refused, "loradex: k must be at least 1: give another\n", 2),
        (_broken, "loradex: Postgres does not start\n", 1),
    ],
)
def test_a_typed_error_is_one_line_and_its_own_code(
    raising: object, line: str, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loradex.service.cli.stack.status", raising)

    assert cli.run(["status"]) == code
    assert capsys.readouterr().err == line


def test_a_mistake_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loradex.service.cli.stack.status", _wrong)

    with pytest.raises(ValueError, match="a mistake of ours"):
        cli.run(["status"])


def test_every_error_has_an_exit_code_that_is_not_success() -> None:
    kinds = [LoradexError, *LoradexError.__subclasses__()]

    assert {kind.exit_code for kind in kinds} == {1, 2}


def test_a_wrong_setting_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORADEX_START_SECONDS", "-3")

    assert cli.run(["status"]) == 2
    assert capsys.readouterr().err == "loradex: LORADEX_START_SECONDS: Input should be greater than 0\n"


def test_the_program_ends_without_a_traceback_when_its_reader_is_gone() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", "from loradex.service.cli import main; main(['--help'])"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)

    assert "Traceback" not in done.stderr
