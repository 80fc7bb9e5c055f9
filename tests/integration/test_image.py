"""The image without an engine: its file is linted, what it copies is enough, its last stage runs in a clean root."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.needs import program, skip_or_fail
from tests.repository import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
JOINED = DOCKERFILE.replace("\\\n", " ")
BUILD, FINAL = re.split(r"^FROM ", JOINED, flags=re.MULTILINE)[1:]
HERE = Path(sys.executable).parent
PIP_INSTALL = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation")
ALONE = (
    *("--dev", "/dev", "--proc", "/proc", "--unshare-net", "--clearenv"),
    *("--setenv", "PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
)


def _copied() -> list[tuple[list[str], str]]:
    """What the build stage copies from the clone, and where to."""
    lines = re.findall(r"^COPY (?!--)(.+)$", BUILD, re.MULTILINE)
    return [(words[:-1], words[-1]) for words in map(shlex.split, lines)]


@pytest.mark.parametrize("name", ["Dockerfile", "deploy/vllm.Dockerfile"])
def test_the_dockerfile_is_linted(name: str) -> None:
    done = subprocess.run([HERE / "hadolint", ROOT / name], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0)


def test_the_deployment_is_what_compose_reads() -> None:
    done = subprocess.run(
        [HERE / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", ROOT / "docker-compose.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_what_is_copied_is_enough_to_install_and_start(tmp_path: Path) -> None:
    source, site = tmp_path / "src", tmp_path / "site"
    for names, target in _copied():
        for name in names:
            place = source / (name if target == "./" else target)
            place.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_dir():
                # Links stay links, as in an image.
                shutil.copytree(
                    ROOT / name, place, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copy(ROOT / name, place)
    subprocess.run(
        [*PIP_INSTALL, "--target", site, source],
        cwd=tmp_path,
        check=True,
    )
    look = "import loradex, loradex.service.cli as cli; print(loradex.__file__); cli.run(['--help'])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", look],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(str(site))
    assert "doctor" in done.stdout


def test_the_last_stage_runs_in_a_clean_root() -> None:
    """Its RUN steps, as root of a root directory of their own, in which nothing is shared but programs."""
    if os.geteuid() != 0:
        skip_or_fail("only root may make users, even in a root of its own")
    enclosed = program("bwrap")
    (steps,) = re.findall(r"^RUN (.+)$", FINAL, re.MULTILINE)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as root:
        place = Path(root)
        place.chmod(0o755)
        for name in ("etc", "var/lib", "tmp"):
            (place / name).mkdir(parents=True)
        for name in ("passwd", "group", "shadow", "gshadow"):
            (place / "etc" / name).write_text(
                "root:x:0:0::/root:/bin/sh\n" if name == "passwd" else "root:x:0:\n"
            )
        binds = [word for name in ("usr", "bin", "sbin", "lib", "lib64") if (Path("/") / name).exists()
                 for word in ("--ro-bind", f"/{name}", f"/{name}")]  # fmt: skip
        look = "stat -c '%a %u %g %n' /var/lib/loradex /adapters && cat /etc/passwd"
        done = subprocess.run(
            [enclosed, "--bind", root, "/", *binds, *ALONE, "sh", "-euc", f"{steps}\n{look}"],
            capture_output=True,
            text=True,
            check=False,
        )
        if "Operation not permitted" in done.stderr or "No permissions" in done.stderr:
            pytest.skip(f"this machine lets nobody make a root of its own: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == ["700 10001 10001 /var/lib/loradex", "755 10001 10001 /adapters"]
    assert any(line.startswith("loradex:x:10001:10001:") for line in lines)
    user = re.findall(r"^USER (\d+):(\d+)$", FINAL, re.MULTILINE)
    assert user == [("10001", "10001")]
