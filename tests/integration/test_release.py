"""What is published: the same wheel from the same commit, a list of its parts, and a workflow without a password."""

import json
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
