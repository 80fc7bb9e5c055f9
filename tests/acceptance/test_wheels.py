"""Both wheels, installed where no clone is: they answer, in a folder with packages named like ours."""

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.acceptance.hostile import OURS, HostileFolder
from tests.acceptance.terminal import Terminal, chosen
from tests.repository import ROOT

from loradex.embedded import EmbeddedPostgres

MODEL = "loradex_starter/SmolLM2-135M-Instruct.Q4_1.gguf"
LIMIT_BYTES = 2_000_000
PROGRAM = """
from loradex import Client

QUESTION = "Premise: A man plays a guitar on stage. Hypothesis: A man makes music. Does the premise entail it?"

with Client() as client:
    job = client.enqueue(QUESTION, choices=["yes", "no", "maybe"])
    answer = job.wait(timeout=120)
    print(answer.choice)
    for part in answer.mixture:
        print(part["adapter"], part["weight"])
"""
REVEALED = "reveal_type(answer.choice)\n"

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class Wheels:
    loradex: Path
    starter: Path


@pytest.fixture(scope="module")
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
    return Wheels(_build(source, root / "main"), _build(source / "starter", root / "other"))


def _build(source: Path, target: Path) -> Path:
    command = (sys.executable, "-P", "-m", "build", "--wheel", "--no-isolation", "--outdir", target, source)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = target.iterdir()
    return wheel


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def terminal(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A user without a clone, in a folder full of hostile packages."""
    root = tmp_path_factory.mktemp("user")
    hostile = HostileFolder(root / "folder", root / "marks")
    made = Terminal(programs, hostile.folder, {"HOME": str(root)}, hostile.refuse)
    yield made
    made.loradex("down")
    EmbeddedPostgres(root / ".local" / "share" / "loradex").destroy()


@pytest.fixture(scope="module")
def demo(terminal: Terminal) -> str:
    return terminal.loradex("demo")


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """A user's application: its packages are named like our rooms."""
    for name in sorted({*OURS} - {"loradex", "loradex_starter"}):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise AssertionError('not for Loradex')\n")
    (tmp_path / "ask.py").write_text(PROGRAM.lstrip())
    return tmp_path


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_is_small_and_holds_loradex_alone(wheels: Wheels) -> None:
    held = names(wheels.loradex)

    assert wheels.loradex.stat().st_size < LIMIT_BYTES
    assert {name.split("/")[0].removesuffix(".dist-info").partition("-")[0] for name in held} == {"loradex"}
    assert not [name for name in held if name.startswith(("loradex/benchmarks", "loradex/tests"))]


def test_the_wheel_holds_what_is_not_python(wheels: Wheels) -> None:
    held = names(wheels.loradex)
    package = ROOT / "src" / "loradex"
    wanted = {
        f"loradex/{file.relative_to(package).as_posix()}"
        for room in ("db", "migrations", "library", "evaluation")
        for pattern in ("*.sql", "*.toml", "*.ini", "*.sha256")
        for file in (package / room).rglob(pattern)
    }

    assert len(wanted) > 100
    assert wanted <= held
    assert "loradex/py.typed" in held
    assert any(name.endswith("licenses/LICENSE") for name in held)


def test_the_starter_wheel_brings_the_base_model_and_its_licence(wheels: Wheels) -> None:
    held = names(wheels.starter)
    package = ROOT / "starter"
    library = {
        file.relative_to(package).as_posix()
        for file in (package / "loradex_starter" / "smollm2-135m-instruct").rglob("*")
        if file.is_file()
    }

    assert held >= library | {MODEL, "loradex_starter/py.typed"}
    assert {name.rpartition("/")[2] for name in held if "/licenses/" in name} == {"LICENSE", "NOTICE"}
    assert not (package / MODEL).exists()


def test_the_environment_has_the_wheels_and_no_clone(terminal: Terminal, programs: Path) -> None:
    places = "import loradex, loradex_starter; print(loradex.__file__, loradex_starter.__file__, sep='\\n')"
    shown = terminal.run(programs / "python", "-P", "-c", places).splitlines()

    assert [Path(place).is_relative_to(programs.parent) for place in shown] == [True, True]


def test_the_demo_answers(demo: str) -> None:
    assert chosen(demo) == ["yes", "negative", "They shared a bowl of ripe tomatoes."]


def test_a_program_of_ten_lines_is_answered(
    terminal: Terminal, demo: str, programs: Path, application: Path
) -> None:
    assert demo
    choice, *mixture = terminal.run(programs / "python", "ask.py", folder=application).splitlines()
    assert choice == "yes"
    assert sum(float(line.split()[1]) for line in mixture) == pytest.approx(1)


def test_its_types_are_seen(terminal: Terminal, programs: Path, application: Path) -> None:
    with (application / "ask.py").open("a") as program:
        program.write(REVEALED)
    mypy = (sys.executable, "-P", "-m", "mypy", "--strict", "--cache-dir", application / "cache")
    shown = terminal.run(*mypy, "--python-executable", programs / "python", "ask.py", folder=application)

    assert 'Revealed type is "str | None"' in shown
    assert "Success: no issues found" in shown
