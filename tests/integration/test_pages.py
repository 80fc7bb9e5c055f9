"""Every command's page at 80 columns, with hostile text in everything that is shown."""

import io
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len
from tests.fix_db import Connection
from tests.world import World

from loradex import terminal
from loradex.service.cli import COMMANDS, run
from loradex.service.cli.lazy import plugins

WIDTH = 80
HOSTILE = "\x1b[2J\x1b]0;gone\x07\x9b5n\u202eabc\u2066\r\x08"
NAMES = " ".join(f"{'x' * length}-all-MiniLM-L6-v2" for length in range(30, 60))
STYLE = re.compile(r"\x1b\[[0-9;]*m")
Page = Callable[..., str]


class Terminal(io.StringIO):
    """What a command believes to be a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Page:
    """Runs a command in a terminal of 80 columns; gives what it printed, without colours, checked."""
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.setenv("TERM", "xterm")

    def shown(*words: str, code: int = 0) -> str:
        screen, errors = Terminal(), io.StringIO()
        with monkeypatch.context() as patched:
            patched.setattr("sys.stdout", screen)
            patched.setattr("sys.stderr", errors)
            ended = run(words)
        assert ended == code, (words, screen.getvalue(), errors.getvalue())
        text = STYLE.sub("", screen.getvalue())
        for line in (text + errors.getvalue()).split("\n"):
            wide = cell_len(line) > WIDTH and " " in line.strip()
            assert not wide or line.lstrip().startswith("{"), f"{words}: {line!r}"
            assert not any(unicodedata.category(one) == "Cc" for one in line if one != "\t"), repr(line)
            assert not set(line) & set("\u202e\u2066"), repr(line)
        return text

    return shown


def test_the_pages_of_a_database(
    world: World,
    connection: Connection,
    database_url: str,
    redis_url: str,
    page: Page,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("LORADEX_DATABASE_URL", database_url)
    monkeypatch.setenv("LORADEX_REDIS_URL", redis_url)
    monkeypatch.setenv("LORADEX_HOME", str(tmp_path))
    connection.execute("update loradex.examples set source_ref = left(source_ref || %s, 200)", (HOSTILE,))
    (answer,) = (str(one) for one in world.answered({"prompt": f"{HOSTILE} Is it warm?"}))
    connection.execute(
        "insert into loradex.workers (name, login, claim_hash, base_model, encoder, device, dtype, adapter_roots, "
        "batch_rows, versions) select %s, 'x', '', 'smollm2-135m-instruct', 'all-MiniLM-L6-v2', 'cpu', 'bfloat16', "
        "array['/srv/adapters'], 64, '{}'",
        (f"a-machine-with-a-long-name.example.org:31415:{HOSTILE}",),
    )
    world_answer = connection.execute("select id::text from loradex.answers").fetchone()
    assert world_answer is not None
    for words, code in (
        (("adapter", "list", "--all"), 0),
        (("adapter", "verify"), 1),  # their files are nowhere
        (("examples", "count"), 0),
        (("settings",), 0),
        (("worker", "list"), 0),
        (("status",), 0),
        (("doctor", "--all"), 1),  # the tests' own server would lose answers in a power cut
        (("explain", str(world_answer[0])), 0),
        (("audit", "head"), 0),
        (("audit", "verify"), 0),
        (("audit", "verify", "--head", "0" * 64), 1),
        (("db", "url"), 0),
    ):
        page(*words, code=code)
    (name,) = connection.execute("select name from loradex.adapters limit 1").fetchone() or ("",)
    assert "bfloat16" in page("worker", "list")
    assert str(name) in page("adapter", "show", str(name))
    assert answer


def test_the_pages_without_a_database(page: Page) -> None:
    told = page("library", "verify")
    assert "bfloat16" in told
    for command in (*COMMANDS, *plugins()):
        lines = page(command, "--help").splitlines()
        assert [line for line in lines if line.endswith("-")] == [], command


def test_a_table_that_does_not_fit_is_blocks(page: Page, capsys: pytest.CaptureFixture[str]) -> None:
    screen = Terminal()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sys.stdout", screen)
        terminal.table(
            ("name", "hash", "what is known"),
            [("one", "ab" * 32, "word " * 30), ("two", None, HOSTILE + "日本" * 60), ("three", None, NAMES)],
            title="Things",
        )
    lines = STYLE.sub("", screen.getvalue()).split("\n")
    assert max(map(cell_len, lines)) <= WIDTH
    assert any("ab" * 32 in line for line in lines)
    assert "two" in lines
    assert [name for name in NAMES.split() if name not in screen.getvalue().split()] == []
