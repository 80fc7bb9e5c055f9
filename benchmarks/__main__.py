"""Runs every benchmark in a process of its own and keeps the results: `python -m benchmarks [NAME ...]`."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
NAMES = ("merge", "generate", "choose", "serve", "bank")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES, metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    chosen, passed_on = parser.parse_known_args()
    RESULTS.mkdir(exist_ok=True)
    for name in chosen.names:
        document = _run(name, ["--device", chosen.device, *passed_on])
        (RESULTS / f"{name}-{chosen.device}.json").write_text(json.dumps(document, indent=1) + "\n")
    results = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    (RESULTS / "README.md").write_text(table(results))
    missed = [one["what"] for result in results for one in result["measures"] if one["holds"] is False]
    print(table(results))
    sys.exit(1 if missed else 0)


def table(results: list[dict[str, Any]]) -> str:
    """All results as Markdown: a row a measure, then where each benchmark ran."""
    lines = [
        "# Benchmark results",
        "",
        "Written by `make bench`; the ratio is how many times better Loradex is.",
        "",
    ]
    lines += ["| benchmark | ratio | bar | | what | ours | the other |", "|---|---|---|---|---|---|---|"]
    for result in results:
        for one in result["measures"]:
            bar = "" if one["bar"] is None else f"≥ {one['bar']:g}"
            verdict = {True: "holds", False: "**missed**", None: ""}[one["holds"]]
            ours, theirs = (f"{one[side]:g} ms" if side in one else "" for side in ("ours_ms", "theirs_ms"))
            name = f"{result['name']} ({result['machine']['device']})"
            lines.append(
                f"| {name} | {one['ratio']:g} | {bar} | {verdict} | {one['what']} | {ours} | {theirs} |"
            )
    for result in results:
        lines += ["", f"## {result['name']} ({result['machine']['device']}), {result['date']}", ""]
        described = {**result["machine"], **result["versions"]}
        lines.append(", ".join(f"{key} {value}" for key, value in described.items()) + ".")
        if result["extra_memory_bytes"] is not None:
            extra = result["extra_memory_bytes"] / (1 << 20)
            lines.append(f"Peak memory beyond base model and bank: {extra:.0f} MiB.")
        lines += ["", *(f"- {note}" for note in result["notes"])]
        for one in result["measures"]:
            figures = {
                key: value
                for key, value in one.items()
                if key not in {"ratio", "bar", "holds", "what", "ours_ms", "theirs_ms"}
                and not key.endswith("_all")
            }
            lines += [f"- {key}: {value}" for key, value in figures.items()]
    return "\n".join(lines) + "\n"


def _run(name: str, arguments: list[str]) -> dict[str, Any]:
    print(f"{name} ...", file=sys.stderr, flush=True)
    ran = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--json", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    document: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return document


if __name__ == "__main__":
    main()
