"""How a command ends by an error that is none of ours: one line, and no traceback; a fault of ours has one."""

import errno
import subprocess
import sys

import pytest

from loradex import logs
from loradex.service import cli


def ended(error: Exception, monkeypatch: pytest.MonkeyPatch) -> int:
    def raising() -> None:
        raise error

    monkeypatch.setattr("loradex.service.cli.stack.status", raising)
    return cli.run(["status"])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied", "/srv/x"),
            "loradex: /srv/x: Permission denied\n",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "loradex: [Errno 28] No space left on device\n"),
        (OSError(), "loradex: OSError()\n"),
    ],
)
def test_an_error_of_the_system_is_one_line(
    error: OSError, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(error, monkeypatch) == 1
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("error", [ValueError("a fault"), KeyError("x")])
def test_a_fault_is_raised(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(type(error)):
        ended(error, monkeypatch)


def test_a_program_that_logs_crashes_into_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    def logging_first() -> None:
        monkeypatch.setattr(sys, "excepthook", logs._crashed)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("loradex.service.cli.stack.status", logging_first)
    with pytest.raises(OSError, match="No space"):
        cli.run(["status"])


def test_who_reads_no_further_sees_no_traceback() -> None:
    command = [sys.executable, "-c", "from loradex.service.cli import main; main(['--help'])"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        assert program.stderr.read() == b""
        assert program.wait(60) == 1
