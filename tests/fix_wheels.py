"""Both wheels, installed where no clone is, and a user there who has asked the demo's questions."""

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.acceptance.hostile import HostileFolder
from tests.acceptance.terminal import Terminal
from tests.repository import ROOT

from loradex.embedded import EmbeddedPostgres


@dataclass(frozen=True)
class Wheels:
    loradex: Path
    starter: Path


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Wheels:
    """Built from a copy, so that nothing an earlier build left behind gets in."""
    root = tmp_path_factory.mktemp("wheels")
    source = root / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    rooms = [link.name for link in (ROOT / "src" / "loradex").iterdir() if link.is_symlink()]
    for name in ("src", "starter", *rooms):
        left_out = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=left_out)
    # The base model hardly gets smaller, and takes seconds to try.
    stored = ("--config-setting=--build-option=--compression=stored",)
    return Wheels(_build(source, root / "main"), _build(source / "starter", root / "other", *stored))


def _build(source: Path, target: Path, *options: str) -> Path:
    build = (sys.executable, "-P", "-m", "build", "--wheel", "--no-isolation", *options)
    command = (*build, "--outdir", target, source)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = target.iterdir()
    return wheel


@pytest.fixture(scope="session")
def programs(wheels: Wheels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with both wheels; what they depend on is seen in this one's directory."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    subprocess.run(
        [*pip, "install", "--quiet", "--no-deps", "--no-index", wheels.loradex, wheels.starter], check=True
    )
    places = sysconfig.get_paths(vars={"base": str(environment), "platbase": str(environment)})
    (Path(places["purelib"]) / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return python.parent


@pytest.fixture(scope="session")
def terminal(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A user without a clone, in a folder full of hostile packages."""
    root = tmp_path_factory.mktemp("user")
    hostile = HostileFolder(root / "folder", root / "marks")
    made = Terminal(programs, hostile.folder, {"HOME": str(root)}, hostile.refuse)
    yield made
    made.loradex("down")
    EmbeddedPostgres(root / ".local" / "share" / "loradex").destroy()


@pytest.fixture(scope="session")
def demo(terminal: Terminal) -> str:
    return terminal.loradex("demo")
