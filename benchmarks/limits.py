"""What a call to `enqueue_jobs` costs the backend: memory of what is accepted and of what is refused, and time."""

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.types.json import Jsonb
from tests.call_costs import ACCEPTED, BYTES_PER_BYTE, peak_of

from loradex.benchmarks.answers import database
from loradex.benchmarks.frame import Measure, Options, finish
from loradex.db.session import connect
from loradex.service.client.calls import ENQUEUE

BAR_SECONDS = 1.5
BAR_REFUSED_MB = 300
MB = 1_000_000
JOBS = 10_000
REFUSED = 100 * MB
SETTINGS = Options(json=True, rounds=1, threads=1, device="cpu", dtype="float32")
WAYS = {
    "as our client sends it, and psycopg any string": ENQUEUE,
    "as a parameter of type text": "select loradex.enqueue_jobs(%s::text)",
    "as a parameter of type jsonb": "select loradex.enqueue_jobs(%s::jsonb)",
}
"""How a document of `REFUSED` bytes may come to the backend."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    asked = parser.parse_args()
    with database() as url:
        measures = [_linear(url), _quick(url), *(_refused(url, way, call) for way, call in WAYS.items())]
    notes = [
        "memory is the growth of the backend's VmHWM over the call, in a session of its own whose plans are made",
        "what Postgres reads before it asks any function is beyond ours: a plan holds a text twice, jsonb is parsed",
    ]
    finish("limits", Options(**{**SETTINGS.__dict__, "json": asked.json}), measures, None, notes)


def _linear(url: str) -> Measure:
    """The most memory per byte, over documents of every shape."""
    per_byte: dict[str, float] = {}
    for kind, jobs in ACCEPTED.items():
        document = json.dumps(jobs)
        for form, given in (("text", document), ("jsonb", Jsonb(jobs))):
            with _session(url) as connection:
                before = peak_of(connection)
                connection.execute(ENQUEUE.encode(), (given,))
                per_byte[f"{kind}, {form}"] = round((peak_of(connection) - before) / len(document), 2)
    return Measure(
        ratio=round(BYTES_PER_BYTE / max(per_byte.values()), 3),
        bar=1.0,
        what=f"memory of the backend per byte accepted, the worst of {len(per_byte)}, against {BYTES_PER_BYTE}",
        sides={"bytes_per_byte": per_byte},
    )


def _quick(url: str) -> Measure:
    """Seconds of one call with as many jobs as it may have."""
    document = json.dumps([{"prompt": f"Question {place}: is it enqueued yet?"} for place in range(JOBS)])
    seconds = []
    for _ in range(3):
        with _session(url) as connection:
            start = time.perf_counter()
            connection.execute(ENQUEUE.encode(), (document,))
            seconds.append(round(time.perf_counter() - start, 3))
    middle = sorted(seconds)[1]
    return Measure(
        ratio=round(BAR_SECONDS / middle, 3),
        bar=1.0,
        what=f"one call of {JOBS} jobs against {BAR_SECONDS} s",
        sides={"ours_ms": round(middle * 1000, 1), "other_ms": BAR_SECONDS * 1000, "seconds": seconds},
    )


def _refused(url: str, way: str, call: str) -> Measure:
    """Memory of the backend for a document that is far too large."""
    document = json.dumps([{"prompt": "x" * REFUSED}])
    with _session(url) as connection:
        before = peak_of(connection)
        try:
            connection.execute(call.encode(), (document,))
        except psycopg.Error as refusal:
            sqlstate = refusal.sqlstate
        else:
            raise AssertionError("a document of 100 MB was accepted")
        took = (peak_of(connection) - before) / MB
    return Measure(
        ratio=round(BAR_REFUSED_MB / took, 3),
        bar=1.0,
        what=f"a refused document of {REFUSED // MB} MB {way}, against {BAR_REFUSED_MB} MB",
        sides={"megabytes": round(took, 1), "refused_with": sqlstate},
    )


@contextmanager
def _session(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A session of its own whose plans are made; nothing it enqueues stays."""
    with connect(url) as connection, connection.transaction(force_rollback=True):
        for form in (json.dumps, Jsonb):
            connection.execute(ENQUEUE.encode(), (form([{"prompt": "warm", "choices": ["a", "b"]}]),))
        yield connection


if __name__ == "__main__":
    main()
