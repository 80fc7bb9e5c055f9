"""How long short choices wait while long texts are always being written, against the same choices alone."""

import random
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from loradex.benchmarks import subjects
from loradex.benchmarks.frame import Measure, finish, options
from loradex.benchmarks.stack import serving
from loradex.service.client import Client

CHOICES = ("yes", "no", "maybe")
ARRIVALS = 150
PAUSE_SECONDS = 1.0
"""The mean time between two choices."""

TEXTS = 8
TEXT_TOKENS = 256
WAIT_SECONDS = 600.0
P50_BAR, P99_BAR = 2.0, 4.0


def main() -> None:
    chosen = options(__doc__)
    with serving(chosen) as (client, _):
        alone = _arrivals(client, seed=1)
        with _writing(client) as written:
            beside = _arrivals(client, seed=2)
    finish(
        "latency",
        chosen,
        [
            _measure("p50", statistics.median(alone), statistics.median(beside), P50_BAR),
            _measure("p99", _p99(alone), _p99(beside), P99_BAR),
        ],
        None,
        [
            f"{ARRIVALS} choices of {len(CHOICES)}, one every {PAUSE_SECONDS:g} s (Poisson), alone and beside texts",
            f"{TEXTS} texts of {TEXT_TOKENS} tokens at any time",
            f"{len(written)} texts were written to the end meanwhile",
            "from `ask` to the answer in the client's hand; the whole path, one worker",
        ],
    )


def _measure(what: str, alone: float, beside: float, most: float) -> Measure:
    return Measure(
        ratio=round(most * alone / beside, 3),
        bar=1.0,
        what=f"{what} of a choice beside {TEXTS} texts: {most:g} times the time alone, over the time",
        sides={
            "ours_ms": round(1000 * beside, 1),
            "theirs_ms": round(1000 * alone, 1),
            "times": round(beside / alone, 2),
        },
    )


def _arrivals(client: Client, seed: int) -> list[float]:
    """Seconds each choice took; each is asked when it arrives, whether those before are answered or not."""
    numbers = random.Random(seed)  # noqa: S311 - the same arrivals every time
    seconds: list[float] = []
    client.ask(_question(-1), choices=CHOICES)

    def ask(number: int) -> None:
        start = time.perf_counter()
        client.ask(_question(number), choices=CHOICES, timeout=WAIT_SECONDS)
        seconds.append(time.perf_counter() - start)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(ARRIVALS)]
    for thread in threads:
        time.sleep(numbers.expovariate(1 / PAUSE_SECONDS))
        thread.start()
    for thread in threads:
        thread.join()
    if len(seconds) != ARRIVALS:
        # The slowest would be missing.
        raise RuntimeError(f"{ARRIVALS - len(seconds)} of {ARRIVALS} choices were not answered")
    return seconds


def _question(number: int) -> str:
    return f"{subjects.prompts(8)[number % 8].removesuffix(chr(10) + 'Answer:')} (choice {number})"


@contextmanager
def _writing(client: Client) -> Iterator[list[str]]:
    """So many long texts are written at any time; those that ended."""
    over = threading.Event()
    ended: list[str] = []

    def write(number: int) -> None:
        turn = 0
        while not over.is_set():
            turn += 1
            answer = client.ask(
                f"Tell a long story, number {number}, part {turn}.",
                max_new_tokens=TEXT_TOKENS,
                min_tokens=TEXT_TOKENS,
                timeout=WAIT_SECONDS,
            )
            ended.append(answer.text or "")

    threads = [threading.Thread(target=write, args=(number,), daemon=True) for number in range(TEXTS)]
    for thread in threads:
        thread.start()
    time.sleep(5)
    try:
        yield ended
        if not all(thread.is_alive() for thread in threads):
            raise RuntimeError("a text could not be written: choices had less beside them than is said")
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _p99(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100)[-1]


if __name__ == "__main__":
    main()
