"""A question over the HTTP API, with OpenAI's client and with a bare one, against one with the Python client."""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPConnection
from pathlib import Path
from select import select

from openai import OpenAI
from tests.fix_api import made_key

from loradex.benchmarks.frame import Measure, Options, finish
from loradex.benchmarks.stack import serving
from loradex.benchmarks.streams import served
from loradex.service.client import Client

BARS = ((50, 5.0), (99, 15.0))
"""Percentiles, and the milliseconds that a question over HTTP may take more."""

OK = 200
UNCOUNTED = 10
CHOICES = ["yes", "no"]
WAIT_SECONDS = 60.0
CLIENT, BARE, OPENAI = "the Python client", "a bare HTTP client", "OpenAI's client"
Ask = Callable[[str], object]


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
            sides = {CLIENT: _directly(client), BARE: _bare(port, key), OPENAI: _openai(http)}
            times = _times(sides, asked.questions)
    measures = [_measure(times, name, *bar) for name in (BARE, OPENAI) for bar in BARS]
    finish("overhead", chosen, measures, None, _notes(asked.questions))


def _directly(client: Client) -> Ask:
    return lambda prompt: client.ask(prompt, choices=CHOICES, timeout=WAIT_SECONDS)


def _bare(port: int, key: str) -> Ask:
    """Python's own, over one connection; what comes is read as JSON and no more."""
    connection = HTTPConnection("127.0.0.1", port, timeout=WAIT_SECONDS)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}

    def ask(prompt: str) -> object:
        body = {"model": "loradex", "prompt": prompt, "loradex": {"choices": CHOICES}}
        # The server closes what was idle for 5 s; OpenAI's client sees that by itself.
        if connection.sock is not None and select([connection.sock], [], [], 0)[0]:
            connection.close()
        connection.request("POST", "/v1/completions", json.dumps(body), headers)
        response = connection.getresponse()
        told = json.loads(response.read())
        if response.status != OK:
            raise AssertionError(told)
        return told

    return ask


def _openai(http: OpenAI) -> Ask:
    return lambda prompt: http.completions.create(
        model="loradex", prompt=prompt, extra_body={"loradex": {"choices": CHOICES}}, timeout=WAIT_SECONDS
    )


def _times(sides: Mapping[str, Ask], questions: int) -> dict[str, list[float]]:
    """Milliseconds of each question, asked each way; ways take turns to be the first."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(questions + UNCOUNTED):
        prompt = f"Is {number} even?"
        # Who asks first has the adapters fetched and the mixture made for whoever comes after, in a second or less.
        sides[CLIENT](prompt)
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            started = time.perf_counter()
            sides[name](prompt)
            if number >= UNCOUNTED:
                times[name].append(1000 * (time.perf_counter() - started))
    return times


def _measure(times: Mapping[str, Sequence[float]], name: str, share: int, target: float) -> Measure:
    theirs, ours = _percentile(times[CLIENT], share), _percentile(times[name], share)
    more = [mine - one for one, mine in zip(times[CLIENT], times[name], strict=True)]
    return Measure(
        ratio=round(theirs / ours, 3),
        bar=None,
        what=f"a question with {name} against one with the Python client, p{share}; {target:g} ms more are meant",
        sides={
            "ours_ms": round(ours, 2),
            "theirs_ms": round(theirs, 2),
            "more_ms": round(ours - theirs, 2),
            "more_of_one_question_ms": round(_percentile(more, share), 2),
        },
    )


def _percentile(times: Sequence[float], share: int) -> float:
    return statistics.quantiles(times, n=100)[share - 1]


def _notes(questions: int) -> list[str]:
    return [
        f"{questions} questions are asked in all three ways, one at a time, after {UNCOUNTED} that are not counted",
        "each was asked once before, uncounted, so that no way makes a mixture that another finds made",
        "more of one question: over HTTP less with the Python client, of the same question, of all questions",
        "the bare client is Python's http.client and json: what it takes more is the server's share, and little else",
        "each ranks two choices; the time is all of it, from the call to the answer",
        "`loradex serve`, Postgres, Valkey and the worker are processes of the same machine",
    ]


if __name__ == "__main__":
    main()
