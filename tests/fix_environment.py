"""No test depends on what the shell that started it exports."""

import os

import pytest


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        # Nor does what a program says only come at once where Python is told not to keep it.
        if name.startswith(("LORADEX_", "PG")) or name == "PYTHONUNBUFFERED":
            monkeypatch.delenv(name)
