"""What every benchmark shares: sides that take turns, medians, and a result that says where it is from."""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch

PACKAGES = ("torch", "transformers", "peft", "numpy")


@dataclass(frozen=True)
class Options:
    """How a benchmark is run.

    Attributes:
        rounds: How often each side has its turn.
        count: Questions, mixtures or whatever it counts; 0: nothing.
    """

    json: bool
    rounds: int
    threads: int
    device: str
    dtype: str
    count: int = 0


@dataclass(frozen=True)
class Measure:
    """One figure: how many times better we are than the other side, its bar if one is set, and both sides."""

    ratio: float
    bar: float | None
    what: str
    sides: Mapping[str, Any]

    @property
    def holds(self) -> bool | None:
        return None if self.bar is None else self.ratio >= self.bar


@dataclass(frozen=True)
class Result:
    """What one benchmark measured, and where."""

    name: str
    measures: list[Measure]
    extra_memory_bytes: int | None
    notes: list[str]
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def document(self) -> dict[str, Any]:
        measures = [
            {
                "ratio": measure.ratio,
                "bar": measure.bar,
                "holds": measure.holds,
                "what": measure.what,
                **measure.sides,
            }
            for measure in self.measures
        ]
        return {**asdict(self), "measures": measures}


def options(description: str, rounds: int = 5, *, counted: tuple[str, int] | None = None) -> Options:
    """What the command line says; `counted` is the name of a count, such as `questions`, and its default."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--rounds", type=int, default=rounds, help="turns of each side (default %(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    if counted is not None:
        name, default = counted
        parser.add_argument(
            f"--{name}",
            dest="count",
            metavar="COUNT",
            type=int,
            default=default,
            help="(default %(default)s)",
        )
    chosen = Options(**vars(parser.parse_args()))
    torch.set_num_threads(chosen.threads)
    return chosen


@dataclass
class Turns:
    """What each turn of one side took: seconds by the clock, and seconds of this process's own CPU time."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def take_turns(sides: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Turns]:
    """Times of each side in each round; one turn each beforehand is not counted.

    The order is reversed from round to round, so that neither side always runs on what the other left warm.
    """
    turns = {name: Turns() for name in sides}
    for turn in range(rounds + 1):
        for name in sides if turn % 2 else list(sides)[::-1]:
            start, used = time.perf_counter(), time.process_time()
            sides[name]()
            _finish()
            if turn:
                turns[name].wall.append(time.perf_counter() - start)
                turns[name].cpu.append(time.process_time() - used)
    return turns


def compare(
    what: str, ours: Turns, theirs: Turns, *, per: float = 1.0, other_per: float = 1.0, bar: float | None
) -> Measure:
    """Their median time over ours; `per` is the pieces of work one turn did, so unequal amounts compare.

    The ratio is by the clock. That of CPU time stands beside it: on a machine that others use, it moves less.
    """
    mine, other = statistics.median(ours.wall) / per, statistics.median(theirs.wall) / other_per
    return Measure(
        ratio=round(other / mine, 3),
        bar=bar,
        what=what,
        sides={
            "ours_ms": round(1000 * mine, 3),
            "theirs_ms": round(1000 * other, 3),
            "cpu_time_ratio": round(
                (statistics.median(theirs.cpu) / other_per) / (statistics.median(ours.cpu) / per), 3
            ),
            "ours_ms_all": [round(1000 * one / per, 3) for one in ours.wall],
            "theirs_ms_all": [round(1000 * one / other_per, 3) for one in theirs.wall],
        },
    )


def extra_memory(work: Callable[[], object], device: str) -> int | None:
    """Bytes at the peak of `work` beyond what is held before it; None where the system does not tell."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = int(torch.cuda.memory_allocated())
        work()
        _finish()
        return int(torch.cuda.max_memory_allocated()) - before
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():
        work()
        return None
    reset.write_text("5")
    before = psutil.Process().memory_info().rss
    work()
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return max(0, 1024 * int(peak.split()[1]) - int(before))


def finish(
    name: str, options: Options, measures: list[Measure], extra_memory_bytes: int | None, notes: list[str]
) -> None:
    """Prints the result: one JSON object, or a line a measure."""
    result = Result(name, measures, extra_memory_bytes, notes, machine(options), _versions())
    if options.json:
        print(json.dumps(result.document()))
        return
    for measure in measures:
        bar = "" if measure.bar is None else f" (bar {measure.bar}: {'holds' if measure.holds else 'MISSED'})"
        print(f"{measure.ratio:>10} x  {measure.what}{bar}")
        print(*(f"{'':>10}    {key} {value}" for key, value in measure.sides.items()), sep="\n")
    if extra_memory_bytes is not None:
        print(f"{'':>10}    {extra_memory_bytes / (1 << 20):.0f} MiB at the peak beyond base model and bank")
    for note in notes:
        print(f"{'':>10}    {note}")


def machine(options: Options) -> dict[str, Any]:
    cores = psutil.cpu_count(logical=True)
    described = {
        "processor": _processor(),
        "cores": cores,
        "load_1m": round(psutil.getloadavg()[0], 2),
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.machine()}",
        "device": options.device,
        "dtype": options.dtype,
        "threads": options.threads,
        "rounds": options.rounds,
    }
    if options.device == "cuda":
        described["gpu"] = torch.cuda.get_device_name()
    return described


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}}
