"""Runs every benchmark in a process of its own and keeps the results.

`python -m loradex.benchmarks [NAME ...]`
"""

import argparse
import json
import os
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

from loradex.benchmarks.pages import overview, page, stem

RESULTS = Path(str(files("loradex.benchmarks") / "results"))
ENGINE = ("merge", "generate", "sampling", "choose", "bank", "serve", "latency", "first_token")
"""The benchmarks of the model; the others never leave the CPU."""
NAMES = (
    *ENGINE,
    *("memory", "route", "load", "audit", "size", "limits", "streams", "overhead", "refusals", "explorer"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    chosen, passed_on = parser.parse_known_args()
    RESULTS.mkdir(exist_ok=True)
    failed = []
    for name in chosen.names or (NAMES if chosen.device == "cpu" else ENGINE):
        device = ["--device", chosen.device] if name in ENGINE else []
        result = _run(name, [*device, *passed_on])
        if result is None:
            failed.append(f"{name} broke")
            continue
        (RESULTS / f"{stem(result)}.json").write_text(json.dumps(result, indent=1) + "\n")
        (RESULTS / f"{stem(result)}.md").write_text(page(result))
        failed += [f"{name} missed: {one['what']}" for one in result["measures"] if one["holds"] is False]
    table = overview(NAMES, [one for one in _kept() if "measures" in one])
    (RESULTS / "README.md").write_text(table)
    print(table)
    if failed:
        sys.exit("\n".join(failed))


def _kept() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]


def _run(name: str, arguments: list[str]) -> dict[str, Any] | None:
    """What a benchmark printed; None if it broke, and its own words are then on the screen."""
    started = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-P", "-m", f"loradex.benchmarks.{name}", "--json", *arguments],
        # Some say what a worker says in the words of the tests.
        env=os.environ | {"PYTHONPATH": str(RESULTS.resolve().parents[1])},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - started
    print(f"{name}: {seconds:.0f} s", file=sys.stderr, flush=True)
    if ran.returncode or not ran.stdout.strip():
        return None
    return {**json.loads(ran.stdout.splitlines()[-1]), "benchmark": name, "seconds": round(seconds)}


if __name__ == "__main__":
    main()
