"""No test depends on what the shell that started it exports."""

import os

import pytest


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("LORADEX_", "PG")):
            monkeypatch.delenv(name)
