"""The chart as Helm renders and lints it, in a process of its own: Helm is written in Go, and brings Go's runtime.

As a program it reads a list of sets of values, and answers each with its manifests, or with why there are none.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import yaml
from tests.needs import package
from tests.repository import ROOT

CHART = ROOT / "deploy" / "helm"

Document = dict[str, Any]


def rendered(*sets: Document, name: str = "demo") -> list[list[Document] | str]:
    """For each set of values the documents that Kubernetes is given for a release, or why it is refused."""
    return [
        told if isinstance(told, str) else [one for text in told for one in yaml.safe_load_all(text) if one]
        for told in asked({"render": sets, "name": name})
    ]


def asked(what: Document) -> Any:
    """What the program says."""
    package("helm_python")
    done = subprocess.run(
        [sys.executable, "-m", "tests.helm_rendered"],
        input=json.dumps(what),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def _rendered(chart: Any, values: Document, name: str, refusal: type[Exception]) -> Sequence[str] | str:
    try:
        return [
            text
            for path, text in chart.render(values, name=name, namespace="prod").items()
            if not path.endswith(".txt")
        ]
    except refusal as error:
        return str(error)


if __name__ == "__main__":
    import helm_python

    wanted = json.load(sys.stdin)
    if "render" in wanted:
        with helm_python.Chart.load(CHART) as opened:
            json.dump(
                [_rendered(opened, one, wanted["name"], helm_python.HelmError) for one in wanted["render"]],
                sys.stdout,
            )
    else:
        json.dump(helm_python.lint(CHART, wanted["lint"]), sys.stdout)
