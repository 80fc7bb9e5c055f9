"""Resident memory of a worker with the real model over thousands of questions of mixed length."""

import argparse
import random
import statistics
import time

import psutil
import torch
from tests.worker_process import WorkerProcess

from loradex.benchmarks.frame import Measure, Options, finish
from loradex.benchmarks.stack import BANK_BYTES, serving
from loradex.service.client import Client, Job

QUESTIONS = 5000
MINUTES = 60.0
AT_ONCE = 24
BATCH_BYTES = 1 << 30
FLAT = 1.05
SAMPLE_EVERY = 20
WAIT_SECONDS = 600.0
QUARTERS = 4
WORDS = ("river", "lamp", "under", "seven", "gates", "trade", "old", "maps", "bell", "snow", "glass", "tide")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    parser.add_argument("--questions", type=int, default=QUESTIONS, help="(default %(default)s)")
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help="no more is asked after so long (default %(default)g)"
    )
    asked = parser.parse_args()
    chosen = Options(json=asked.json, rounds=1, threads=asked.threads, device="cpu", dtype="float32")
    with serving(chosen, BATCH_BYTES=str(BATCH_BYTES)) as (client, worker):
        ready, used, started = _resident(worker), _computed(worker), time.monotonic()
        samples = _ask(client, worker, asked.questions, started + 60 * asked.minutes)
        seconds, computed = time.monotonic() - started, _computed(worker) - used
    questions = samples[-1][0] + 1
    second, last = (_mean(samples, questions, quarter) for quarter in (1, QUARTERS - 1))
    peak = max(used for _, used in samples)
    finish(
        "memory",
        chosen,
        [
            Measure(
                ratio=round(FLAT * second / last, 3),
                bar=1.0,
                what=f"resident memory of the worker, {FLAT:g} times that of the second quarter over that of the last",
                sides={
                    "second_mib": _mib(second),
                    "last_mib": _mib(last),
                    "seconds": round(seconds),
                    "worker_cpu_seconds": round(computed),
                },
            ),
            Measure(
                ratio=round((ready + BANK_BYTES + BATCH_BYTES) / peak, 3),
                bar=1.0,
                what="memory of the worker when it is ready, its bank and its room for rows over its peak",
                sides={
                    "ready_mib": _mib(ready),
                    "bank_mib": _mib(BANK_BYTES),
                    "rows_mib": _mib(BATCH_BYTES),
                    "peak_mib": _mib(peak),
                },
            ),
        ],
        None,
        [
            f"{questions} of {asked.questions} questions of 2 to 1,200 words, {AT_ONCE} at once",
            "a third ranks choices, the others write",
        ],
    )


def _ask(client: Client, worker: WorkerProcess, questions: int, deadline: float) -> list[tuple[int, int]]:
    """Questions done, and bytes resident then; none is asked after the deadline of the monotonic clock."""
    numbers = random.Random(0)  # noqa: S311 - the same questions every time
    samples, waiting = [], list[Job]()
    asked = 0
    for number in range(questions):
        if time.monotonic() > deadline:
            break
        asked = number + 1
        words = min(1200, int(2 + numbers.expovariate(1 / 60)))
        prompt = f"{number}: " + " ".join(numbers.choice(WORDS) for _ in range(words))
        told = (
            {
                "choices": [
                    numbers.choice(WORDS) * numbers.randint(1, 12) + str(one)
                    for one in range(numbers.randint(2, 12))
                ]
            }
            if number % 3 == 0
            else {"max_new_tokens": numbers.randint(1, 24)}
        )
        waiting.append(client.enqueue(prompt, **told))
        if len(waiting) == AT_ONCE:
            waiting.pop(0).wait(WAIT_SECONDS)
        if number % min(SAMPLE_EVERY, max(1, questions // 40)) == 0:
            samples.append((number, _resident(worker)))
    for job in waiting:
        job.wait(WAIT_SECONDS)
    time.sleep(1)
    return [*samples, (asked - 1, _resident(worker))]


def _process(worker: WorkerProcess) -> psutil.Process:
    if worker.process is None or worker.process.pid is None:
        raise RuntimeError("the worker runs")
    return psutil.Process(worker.process.pid)


def _computed(worker: WorkerProcess) -> float:
    """Seconds of the processor since the worker began, of all its threads."""
    return float(sum(_process(worker).cpu_times()[:2]))


def _resident(worker: WorkerProcess) -> int:
    return int(_process(worker).memory_info().rss)


def _mib(used: float) -> float:
    return round(used / 2**20, 1)


def _mean(samples: list[tuple[int, int]], questions: int, quarter: int) -> float:
    return statistics.fmean(used for done, used in samples if QUARTERS * done // questions == quarter)


if __name__ == "__main__":
    main()
