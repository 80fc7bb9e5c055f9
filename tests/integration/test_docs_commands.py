"""What the pages tell one to type exists and works; what they link to is there; every command is mentioned.

A block of shell that begins with ```console run is run: lines with `$ ` are commands, the others what they
print, where `...` stands for any lines, and figures may be others.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tests.fix_answering import Stack
from tests.repository import ROOT

from loradex.service import cli
from loradex.service.cli import lazy

PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / folder / "README.md" for folder in ("library", "starter", "benchmarks/results")),
    ]
)
WRAPPED = [
    page for page in PAGES if page.parent.name not in {"starter", "results"} and page.stem != "audit-format"
]
RUN = re.compile(r"^```console run\n(?P<block>.*?)^```", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^ *```(?P<kind>[^\n]*)\n(?P<body>.*?)^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (?P<text>.+)$", re.MULTILINE)
CALL = re.compile(r"(?<![\w/.\"'-])(?:\.venv/bin/)?loradex(?P<rest>(?: [^\s`|&;)#(<>\"]+)+)")
MODULE = re.compile(r"-m (?P<module>loradex(?:\.\w+)*)")
TEST = re.compile(r"`(?P<name>test_\w+)`")
PLACE = re.compile(r"tests/[\w/]+(?:\.py|/)")
TARGET = re.compile(r"\bmake (?P<name>[a-z]+)\b")
LONGEST_LINE = 120


def named(pages: list[Path], pattern: re.Pattern[str], group: str | int) -> list[Any]:
    return [
        pytest.param(found[group], id=f"{page.name}:{number}")
        for page in pages
        for number, found in enumerate(pattern.finditer(page.read_text(encoding="utf-8")), 1)
    ]


@pytest.mark.parametrize("block", named(PAGES, RUN, "block"))
def test_it_prints_what_the_page_shows(block: str, database_url: str, tmp_path: Path) -> None:
    """In a shell at the root of the repository, with an empty database."""
    environment = os.environ | {
        "LORADEX_DATABASE_URL": database_url,
        "LORADEX_HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    for command, expected in steps(block):
        done = subprocess.run(
            command.replace(".venv/bin/", f"{Path(sys.executable).parent}/"),
            shell=True,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.fullmatch(pattern_of(expected), plain(done.stdout)), (expected, done.stdout)


def steps(block: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of a block, and the lines it prints."""
    command, printed = "", list[str]()
    for line in block.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, printed
            command, printed = line[2:], []
        else:
            printed.append(line)
    yield command, printed


def pattern_of(lines: list[str]) -> str:
    return "".join(r"(?:.*\n)*" if line == "..." else re.escape(plain(line)) + r"\n" for line in lines)


def plain(text: str) -> str:
    """Without what may be another each time: figures, hashes, spaces between columns."""
    text = re.sub(r"\b[0-9a-f]{8,}\b", "HASH", text)
    return "\n".join(re.sub(r"\s+", " ", re.sub(r"\d+", "9", line)).rstrip() for line in text.split("\n"))


def test_the_ten_lines_of_python_work(
    answering: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a tiny model: an answer that is one of the choices, then a mixture."""
    for name, value in answering.environment().items():
        monkeypatch.setenv(name, value)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = (found["body"] for found in FENCE.finditer(readme) if found["kind"] == "python")
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    first, second = capsys.readouterr().out.splitlines()
    assert first.split()[0] in {"yes", "no", "maybe"}
    assert second.startswith("[(")


@cache
def commands() -> dict[str, Any]:
    """Every command by its words, with those that are plugged in."""
    found: dict[str, Any] = {}
    for name in (*cli.COMMANDS, *lazy.plugins()):
        entry = cli.COMMANDS.get(name)
        command = lazy.load(name, entry) if entry is not None else lazy.plugins()[name].load()
        if entry is None:
            command = lazy._command(command, name)
        found[name] = command
        for part, inner in getattr(command, "commands", {}).items():
            found[f"{name} {part}"] = inner
    return found


def shell_lines() -> list[Any]:
    """Each call of `loradex` on a page: in blocks of shell, in indented blocks, and within backticks."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        blocks = [part["body"] for part in FENCE.finditer(text) if part["kind"] in {"sh", "console run"}]
        inline = re.findall(r"`(loradex [^`\n]+)`", FENCE.sub("", text))
        indented = re.findall(r"^ {4,}(loradex .+)$", FENCE.sub("", text), re.MULTILINE)
        for place, part in enumerate((*blocks, *inline, *indented)):
            found += [
                pytest.param(call["rest"].split(), id=f"{page.name}:{place}:{call[0].strip()}")
                for call in CALL.finditer(part)
            ]
    return found


@pytest.mark.parametrize("words", shell_lines())
def test_a_command_a_page_names_exists_with_its_options(words: list[str]) -> None:
    known = commands()
    path = " ".join(words[:2]) if " ".join(words[:2]) in known else words[0]
    if path.startswith("--"):
        assert path in {"--help", "--version"}
        return
    assert path in known, words
    rest = words[len(path.split()) :]
    if hasattr(known[path], "commands") and rest and not rest[0].startswith("-"):
        # `audit verify|head`: several at once, in prose.
        assert all(f"{path} {part}" in known for part in rest[0].split("|")), words
    options = {
        flag for parameter in known[path].params for flag in (*parameter.opts, *parameter.secondary_opts)
    }
    for word in rest:
        if word.startswith("--"):
            assert word.partition("=")[0].rstrip(".,") in options | {"--help"}, words


def test_every_command_is_mentioned() -> None:
    told = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    missing = [
        name
        for name, command in commands().items()
        if not getattr(command, "commands", None) and not re.search(rf"loradex {name}\b", told)
    ]
    assert missing == []


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.finditer(FENCE.sub("", page.read_text(encoding="utf-8"))):
        place, _, anchor = link["target"].partition("#")
        if re.match(r"[a-z]+:", place):
            continue
        target = (page.parent / place).resolve() if place else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link["target"])
    assert broken == []


@cache
def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in HEADING.finditer(FENCE.sub("", page.read_text(encoding="utf-8"))):
        text = re.sub(r"[^\w\- ]", "", heading["text"].lower()).replace(" ", "-")
        name, number = text, 0
        while name in found:
            number += 1
            name = f"{text}-{number}"
        found.add(name)
    return found


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in WRAPPED])
def test_lines_are_not_too_long(page: Path) -> None:
    text = FENCE.sub(lambda block: "\n" * block[0].count("\n"), page.read_text(encoding="utf-8"))
    long = [
        number
        for number, line in enumerate(text.split("\n"), 1)
        if len(line) > LONGEST_LINE and not line.lstrip().startswith(("|", "!["))
    ]
    assert long == []


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_tests_modules_and_targets_a_page_names_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [place for place in set(PLACE.findall(text)) if not (ROOT / place).exists()] == []
    assert [module for module in set(MODULE.findall(text)) if find_spec(module) is None] == []
    sources = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name in set(TEST.findall(text)) if f"def {name}(" not in sources] == []
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    code = "\n".join([*(part["body"] for part in FENCE.finditer(text)), *re.findall(r"`([^`\n]+)`", text)])
    assert [name for name in set(TARGET.findall(code)) if f"\n{name}:" not in makefile] == []


def test_the_fixtures_of_the_contributors_page_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition("| fixture | holds |\n")[2].partition("\n\n")[0]
    wanted = set(re.findall(r"`(\w+)`", "\n".join(line.split("|")[1] for line in table.splitlines()[1:])))
    sources = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").glob("fix_*.py"))
    assert wanted
    assert {name for name in wanted if f"\ndef {name}(" not in sources} == set()
