"""Rules, dashboard and configuration of Prometheus: it takes them, and they ring when they must and not else."""

import json
import re
import subprocess

import pytest
from tests.needs import program
from tests.repository import ROOT

MONITORING = ROOT / "deploy" / "monitoring"


@pytest.mark.parametrize(
    "asked", ["check config prometheus.yml", "check rules rules.yml", "test rules rules_test.yml"]
)
def test_promtool_takes_it(asked: str) -> None:
    done = subprocess.run(
        [program("promtool"), *asked.split()], cwd=MONITORING, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_about_jobs_requests_and_the_chain_are_tried() -> None:
    rules = (MONITORING / "rules.yml").read_text(encoding="utf-8")
    tried = (MONITORING / "rules_test.yml").read_text(encoding="utf-8")
    names = set(re.findall(r"alert: (Loradex(?:Chain|Api|NoWorker|JobsFail|JobsGiven)\w*)", rules))
    assert len(names) == 7
    assert names == set(re.findall(r"alertname: (\w+)", tried)) - {"LoradexDatabaseDown"}


def test_probes_are_no_requests() -> None:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
    (shown,) = (one for one in dashboard["panels"] if one["title"] == "Requests by status")
    asked = "".join(target["expr"] for target in shown["targets"])
    for text in (asked, (MONITORING / "rules.yml").read_text(encoding="utf-8")):
        counted = re.findall(r"loradex_api_requests_total(\{[^}]*\})?", text)
        assert counted
        assert [one for one in counted if 'route=~"/v1/.*"' not in one] == []
