"""The file of the embedded stack where its directory is not as it should be."""

import errno
import json
import os
from pathlib import Path

import pytest

from loradex.errors import StackError
from loradex.service import cli
from loradex.stack_file import StackFile


def test_it_keeps_parts_for_its_owner_alone(tmp_path: Path) -> None:
    file = StackFile(tmp_path / "home")
    file.write("api", {"port": 1})
    file.write("valkey", {"port": 2})
    assert (file.part("api"), file.part("valkey"), file.part("worker")) == ({"port": 1}, {"port": 2}, {})
    assert file.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("home", ["file", "file/below"])
def test_a_home_that_cannot_be_is_one_line(
    home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    file = StackFile(tmp_path / home)
    with pytest.raises(StackError, match="set LORADEX_HOME"):
        file.write("api", {})
    with pytest.raises(StackError, match="set LORADEX_HOME"), file.locked():
        pass
    monkeypatch.setenv("LORADEX_HOME", str(tmp_path / home))
    for command in ("status", "down"):
        assert cli.run([command]) == StackError.exit_code
        assert capsys.readouterr().err.count("\n") == 1


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = StackFile(tmp_path)
    file.write("api", {"port": 1})

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(json, "dump", full)
    with pytest.raises(StackError, match="free some space"):
        file.write("api", {"port": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["stack.json"]
    assert file.part("api") == {"port": 1}


@pytest.mark.parametrize("text", ["{", "[]", '{"api": 1}', '{"api": {"port": "1"}}'])
def test_a_damaged_one_is_told_with_the_cure(text: str, tmp_path: Path) -> None:
    file = StackFile(tmp_path)
    file.path.write_text(text)
    with pytest.raises(StackError, match="is damaged: end the worker"):
        file.part("api")


def test_what_is_done_under_the_lock_raises_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), StackFile(tmp_path).locked():
        (tmp_path / "absent").read_text()
