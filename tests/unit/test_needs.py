"""A machine that lacks a program skips what needs it; continuous integration does not."""

import pytest
from tests.needs import program, system_library

MISSING = "no-such-thing-anywhere"


def test_what_is_missing_skips_elsewhere_and_fails_in_continuous_integration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for needed in (program, system_library):
        monkeypatch.delenv("CI", raising=False)
        with pytest.raises(pytest.skip.Exception, match=MISSING):
            needed(MISSING)
        monkeypatch.setenv("CI", "true")
        with pytest.raises(pytest.fail.Exception, match=r"\.ci/run installs"):
            needed(MISSING)


def test_what_is_there_is_found_whatever_path_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/bin")
    assert program("sh").endswith("/sh")
