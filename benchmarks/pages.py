"""Results as Markdown: a page a benchmark, and one table over all of them."""

import ast
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

HEAD = ("| what | ours | the other | ratio | bar | |", "|---|---|---|---|---|---|")
TOLD = {"ratio", "bar", "holds", "what", "ours_ms", "theirs_ms"}
"""What a row of the table says; a measure's other figures stand below it."""


def overview(names: Sequence[str], results: Sequence[Mapping[str, Any]]) -> str:
    """The measures of all results in one table, and what each of the benchmarks of these names is and took."""
    lines = [
        "# Benchmark results",
        "",
        "Written by `make bench`; the ratio is how many times better Loradex is. The pages beside this one",
        "say where and how each was measured; the JSON files have every turn of both sides.",
        "",
        f"| benchmark {HEAD[0]}",
        f"|---{HEAD[1]}",
    ]
    lines += [f"| [{stem(one)}]({stem(one)}.md) {row}" for one in results for row in _rows(one)]
    return "\n".join([*lines, "", *_running(names, results)]) + "\n"


def _running(names: Sequence[str], results: Sequence[Mapping[str, Any]]) -> list[str]:
    """What `make bench` runs, and how long each took where a result says so."""
    took = {
        one["benchmark"]: one["seconds"]
        for one in results
        if "seconds" in one and one["machine"]["device"] == "cpu"
    }
    known = [took[name] for name in names if name in took]
    lines = [
        "## What `make bench` runs",
        "",
        "These, one after the other, each in a process of its own. `python -m loradex.benchmarks NAME --help` says how",
        "to run less of one: `--rounds`, `--questions` and the like. Seconds are of the last run of each.",
        "",
        "| benchmark | what | seconds |",
        "|---|---|---|",
        *(f"| {name} | {_told(name)} | {took.get(name, '')} |" for name in names),
    ]
    return [*lines, f"| together | {len(known)} of {len(names)} | {sum(known)} |"] if known else lines


def _told(name: str) -> str:
    """The first line of a benchmark's docstring."""
    source = (files("loradex.benchmarks") / f"{name}.py").read_text()
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def page(result: Mapping[str, Any]) -> str:
    """One result: its measures, how they were taken, every other figure, and the machine."""
    machine = result["machine"]
    lines = [f"# {result['name']} on {machine['device']}, {result['date']}", "", *HEAD, *_rows(result), ""]
    lines += [f"- {note}" for note in result["notes"]]
    if result["extra_memory_bytes"] is not None:
        lines.append(f"- peak memory beyond base model and bank: {_mib(result['extra_memory_bytes'])}")
    for one in result["measures"]:
        figures = {key: value for key, value in one.items() if key not in TOLD and not key.endswith("_all")}
        if figures:
            lines += ["", f"{one['what']}:", ""]
            lines += [f"- {key}: {value}" for key, value in figures.items()]
    where = [*machine.items(), *result["versions"].items()]
    told = (f"{key} {_mib(value) if key == 'memory_bytes' else value}" for key, value in where)
    return "\n".join([*lines, "", ", ".join(told) + "."]) + "\n"


def stem(result: Mapping[str, Any]) -> str:
    """The name of a result's files, without what comes after the dot."""
    device: str = result["machine"]["device"]
    return result["name"] if device == "cpu" else f"{result['name']}-{device}"


def _rows(result: Mapping[str, Any]) -> list[str]:
    rows = []
    for one in result["measures"]:
        bar = "" if one["bar"] is None else f"≥ {one['bar']:g}"
        verdict = {True: "holds", False: "**missed**", None: ""}[one["holds"]]
        sides = " | ".join(f"{one[side]:g} ms" if side in one else "" for side in ("ours_ms", "theirs_ms"))
        rows.append(f"| {one['what']} | {sides} | {one['ratio']:g} | {bar} | {verdict} |")
    return rows


def _mib(count: int) -> str:
    return f"{count / (1 << 20):.0f} MiB"
