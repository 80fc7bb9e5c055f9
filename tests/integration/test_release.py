"""What is published: the same wheel from the same commit, a list of its parts, and a workflow without a password."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.needs import package, program
from tests.repository import ROOT

HERE = Path(sys.executable).parent
WORKFLOW = ROOT / ".github" / "workflows" / "publish.yml"


def released(folder: Path) -> dict[str, bytes]:
    """What `deploy/release.sh` makes of Loradex itself, by name."""
    done = subprocess.run(
        [ROOT / "deploy" / "release.sh", folder, "."],
        env={"PATH": f"{HERE}:/usr/bin:/bin", "PYTHON": sys.executable, "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.timeout(300)
def test_a_commit_gives_the_same_release_again(tmp_path: Path) -> None:
    package("cyclonedx_py")
    program("git")
    inside = subprocess.run(
        ["git", "rev-parse", "--git-dir"], cwd=ROOT, capture_output=True, check=False
    ).returncode
    if inside != 0:
        pytest.skip("this is no clone, and what is released is a commit")
    first, second = released(tmp_path / "one"), released(tmp_path / "two")
    assert first == second
    (wheel,) = (name for name in first if name.endswith(".whl"))
    assert set(first) == {wheel, "loradex.cdx.json", "SHA256SUMS"}
    assert wheel in first["SHA256SUMS"].decode()

    parts: dict[str, Any] = json.loads(first["loradex.cdx.json"])
    root = parts["metadata"]["component"]
    assert (parts["bomFormat"], root["name"]) == ("CycloneDX", "loradex")
    assert root["version"] == wheel.split("-")[1]
    found = {one["name"].lower(): one for one in parts["components"]}
    for name in ("psycopg", "torch", "starlette"):
        assert found[name]["purl"].startswith(f"pkg:pypi/{name}@")
    assert found["psycopg"]["licenses"]


def test_the_workflow_publishes_without_a_password() -> None:
    done = subprocess.run(
        [HERE / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", WORKFLOW],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    text = WORKFLOW.read_text(encoding="utf-8")
    assert "secrets." not in text
    assert "password" not in text.partition("name: publish")[2]
    workflow = yaml.safe_load(text)
    jobs = workflow["jobs"]
    assert workflow["permissions"] == {}
    assert jobs["publish"]["environment"] == "pypi"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    # What builds may write nowhere, and what may publish runs nothing of ours.
    assert jobs["build"]["permissions"] == {"contents": "read"}
    assert not any("deploy/" in str(step) or "make" in str(step) for step in jobs["publish"]["steps"])
    assert any(step.get("run") == "make release" for step in jobs["build"]["steps"])


def test_what_the_workflow_runs_is_pinned_to_commits() -> None:
    """A tag can be moved by whoever has the action's repository; the comment says which version it was."""
    for workflow in WORKFLOW.parent.iterdir():
        used = re.findall(r"uses: (.*)", workflow.read_text(encoding="utf-8"))
        assert used
        pinned = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
        assert [one for one in used if not pinned.fullmatch(one)] == []
        # One version of an action, and one commit of a version.
        assert len(set(used)) == len({one.partition("@")[0] for one in used})


def test_commits_of_actions_are_those_of_their_versions(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / "deploy" / "pin-actions.sh", tmp_path / "deploy")
    workflow = tmp_path / ".github" / "workflows" / "publish.yml"
    workflow.parent.mkdir(parents=True)
    text = WORKFLOW.read_text(encoding="utf-8").replace("# v5.0.0", "# v5.1.0")
    workflow.write_text(text)
    (tmp_path / "bin").mkdir()
    git = tmp_path / "bin" / "git"
    # A tag that is an object of its own, and then the commit that it is of.
    tag, commit = "a" * 40, "b" * 40
    git.write_text(f'#!/bin/sh\nprintf "%s\\t%s\\n" {tag} "$3" {commit} "$4"\n')
    git.chmod(0o755)
    command = [tmp_path / "deploy" / "pin-actions.sh"]
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    for _ in range(2):
        subprocess.run(command, env=environment, capture_output=True, check=True)
    assert workflow.read_text() == re.sub("@[0-9a-f]{40} ", f"@{commit} ", text)

    git.write_text("#!/bin/sh\necho no such repository >&2; exit 128\n")
    failed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert "no commit for" in failed.stderr
    assert commit in workflow.read_text()


VERSIONED = {
    "pyproject.toml": 'version = "1.2.3"',
    "starter/pyproject.toml": 'version = "1.2.3"',
    "deploy/helm/Chart.yaml": 'version: 1.2.3\nappVersion: "1.2.3"',
    "CHANGELOG.md": "## [1.2.3] - 2026-12-31",
}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", ""),
        ("pyproject.toml", 'version = "1.2.30"'),
        ("starter/pyproject.toml", 'version = "1.2.2"'),
        ("deploy/helm/Chart.yaml", 'version: 1.2.2\nappVersion: "1.2.3"'),
        ("deploy/helm/Chart.yaml", 'version: 1.2.3\nappVersion: "1.2.2"'),
        ("CHANGELOG.md", "## [Unreleased]"),
        ("CHANGELOG.md", "## [1x2.3] - 2026-12-31"),
    ],
)
def test_a_tag_that_is_not_every_version_is_refused(tmp_path: Path, name: str, told: str) -> None:
    for path, text in {**VERSIONED, **({name: told} if name else {})}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f"before\n{text}\nafter\n")
    shutil.copy(ROOT / "deploy" / "same-version.sh", tmp_path / "deploy")
    done = subprocess.run(
        [tmp_path / "deploy" / "same-version.sh", "1.2.3"], capture_output=True, text=True, check=False
    )
    assert done.returncode == (1 if name else 0), done.stderr
    assert done.stderr.partition(" ")[0] == name


def test_versions_agree_today_and_the_workflow_asks() -> None:
    version = re.findall('^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert (
        re.findall('^version = "(.+)"$', (ROOT / "starter" / "pyproject.toml").read_text(), re.MULTILINE)
        == version
    )
    chart = yaml.safe_load((ROOT / "deploy" / "helm" / "Chart.yaml").read_text())
    assert [chart["version"], chart["appVersion"]] == version * 2
    steps = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]["build"]["steps"]
    assert any(step.get("run") == 'deploy/same-version.sh "${TAG#v}"' for step in steps)
