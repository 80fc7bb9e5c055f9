"""Both wheels, installed where no clone is: they answer, in a folder with packages named like ours."""

import sys
import zipfile
from pathlib import Path

import pytest
from tests.acceptance.hostile import OURS
from tests.acceptance.terminal import Terminal, chosen
from tests.fix_wheels import Wheels
from tests.repository import ROOT

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
        for room in ("db", "migrations", "library", "evaluation", "service")
        for pattern in ("*.sql", "*.toml", "*.ini", "*.sha256", "*.html", "*.css", "*.js", "*.svg")
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
