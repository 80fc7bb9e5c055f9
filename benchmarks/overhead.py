"""A question over the HTTP API with OpenAI's client, against the same question with the Python client."""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from openai import OpenAI
from tests.fix_api import made_key

from loradex.benchmarks.frame import Measure, Options, finish
from loradex.benchmarks.stack import serving
from loradex.benchmarks.streams import served
from loradex.service.client import Client

TARGET_P50_MS, TARGET_P99_MS = 5.0, 15.0
UNCOUNTED = 10
CHOICES = ["yes", "no"]
WAIT_SECONDS = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--questions", type=int, default=200, help="(default %(default)s)")
    asked = parser.parse_args()
    chosen = Options(json=asked.json, rounds=1, threads=1, device="cpu", dtype="float32")
    with serving(chosen) as (client, worker):
        url, redis = worker.settings["DATABASE_URL"], worker.settings["REDIS_URL"]
        _, key = made_key(url, "alice")
        home = Path(tempfile.mkdtemp(prefix="loradex-overhead-", dir=worker.home))
        with (
            served(url, redis, home) as (port, _),
            OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key, max_retries=0) as http,
        ):
            direct, over_http = _times(client, http, asked.questions)
    finish("overhead", chosen, _measures(direct, over_http), None, _notes(asked.questions))


def _times(client: Client, http: OpenAI, questions: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each question, asked both ways, which take turns to be the first."""

    def directly(prompt: str) -> None:
        client.ask(prompt, choices=CHOICES, timeout=WAIT_SECONDS)

    def over_http(prompt: str) -> None:
        http.completions.create(
            model="loradex", prompt=prompt, extra_body={"loradex": {"choices": CHOICES}}, timeout=WAIT_SECONDS
        )

    sides: list[tuple[Callable[[str], None], list[float]]] = [(directly, []), (over_http, [])]
    for number in range(questions + UNCOUNTED):
        prompt = f"Is {number} even?"
        # Who asks first has the adapters fetched and the mixture made for whoever comes after, in a second or less.
        directly(prompt)
        for ask, times in sides if number % 2 else sides[::-1]:
            started = time.perf_counter()
            ask(prompt)
            if number >= UNCOUNTED:
                times.append(1000 * (time.perf_counter() - started))
    return sides[0][1], sides[1][1]


def _measures(direct: list[float], over_http: list[float]) -> list[Measure]:
    more = [ours - theirs for theirs, ours in zip(direct, over_http, strict=True)]
    measures = []
    for share, name, target in ((50, "p50", TARGET_P50_MS), (99, "p99", TARGET_P99_MS)):
        theirs, ours = _percentile(direct, share), _percentile(over_http, share)
        measures.append(
            Measure(
                ratio=round(theirs / ours, 3),
                bar=None,
                what=f"a question over HTTP against one with the Python client, {name}; {target:g} ms more are meant",
                sides={
                    "ours_ms": round(ours, 2),
                    "theirs_ms": round(theirs, 2),
                    "more_ms": round(ours - theirs, 2),
                    "more_of_one_question_ms": round(_percentile(more, share), 2),
                },
            )
        )
    return measures


def _percentile(times: list[float], share: int) -> float:
    return statistics.quantiles(times, n=100)[share - 1]


def _notes(questions: int) -> list[str]:
    return [
        f"{questions} questions are asked both ways, one at a time, after {UNCOUNTED} that are not counted",
        "each was asked once before, uncounted, so that neither way makes a mixture that the other finds made",
        "more of one question: over HTTP less with the client, of the same question, of all questions",
        "each ranks two choices; the time is all of it, from the call to the answer",
        "`loradex serve`, Postgres, Valkey and the worker are processes of the same machine",
    ]


if __name__ == "__main__":
    main()
