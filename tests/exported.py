"""The export of docs/audit-format.md, and what the program beside the page says about its files."""

import re
import subprocess
import sys
from pathlib import Path

from tests.repository import ROOT

from loradex.embedded.programs import program

PAGE = ROOT / "docs" / "audit-format.md"
PROGRAM = ROOT / "docs" / "verify_chain.py"


class Exported:
    """The files that the page's export writes for a reader, and what the program says about them."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url = url
        self.directory = directory

    def verify(self, *heads: str) -> tuple[int, list[str]]:
        """Export, and run the program where only Python's own packages are found."""
        (self.directory / "export.sql").write_text(block("sql"))
        command = [
            program("psql"),
            "--no-psqlrc",
            "--quiet",
            "--set",
            "ON_ERROR_STOP=1",
            "--file",
            "export.sql",
            self.url,
        ]
        subprocess.run(command, cwd=self.directory, check=True, env={}, capture_output=True)
        verifier = [sys.executable, "-I", "-S", PROGRAM, self.directory, *heads]
        done = subprocess.run(verifier, capture_output=True, text=True, check=False)
        assert done.stderr == ""
        return done.returncode, done.stdout.splitlines()


def block(language: str) -> str:
    """The page's only block of that language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return str(found)
