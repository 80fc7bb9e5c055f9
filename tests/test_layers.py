"""The rules of the house, checked on every import there is."""

import subprocess
import sys

from tests.repository import ROOT

LINT = "from importlinter.cli import lint_imports_command as run; run()"


def test_no_package_imports_what_it_must_not() -> None:
    checked = subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout
    assert "3 kept, 0 broken" in checked.stdout
