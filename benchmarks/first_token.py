"""The time to the first piece of a streamed text through the whole path, against the engine alone."""

import statistics
import time

from loradex.benchmarks import subjects
from loradex.benchmarks.frame import Measure, finish, options
from loradex.benchmarks.stack import serving
from loradex.service.client import Client
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.protocol import Wrote
from loradex.worker.engine.recipe import Component, Recipe
from loradex.worker.engine.rows import Row

QUESTIONS = 40
TOKENS = 8
TIMES = 1.2
PATH_MS = 15.0


def main() -> None:
    chosen = options(__doc__)
    directories, source = subjects.adapters(chosen)
    engine = subjects.engine(chosen)
    engine.bank.ensure(directories)
    prompts = [
        f"{prompt.removesuffix(chr(10) + 'Answer:')} (stream {number})"
        for number, prompt in enumerate(subjects.prompts(QUESTIONS + 1))
    ]
    ours, alone = [], []
    with serving(chosen) as (client, _):
        for number, prompt in enumerate(prompts):
            seconds, recipe = _streamed(client, prompt, chosen.dtype)
            in_process = _first(engine, Row(f"{prompt}\nAnswer:", recipe, max_new_tokens=TOKENS))
            if number:  # the first warms both sides up
                ours.append(1000 * seconds)
                alone.append(1000 * in_process)
    through, engine_ms = statistics.median(ours), statistics.median(alone)
    allowed = TIMES * engine_ms + PATH_MS
    finish(
        "first_token",
        chosen,
        [
            Measure(
                ratio=round(allowed / through, 3),
                bar=1.0,
                what=f"first piece of a lone question, p50: {TIMES:g} of the engine's time + {PATH_MS:g} ms, over it",
                sides={
                    "ours_ms": round(through, 2),
                    "theirs_ms": round(engine_ms, 2),
                    "p95_ms": round(statistics.quantiles(ours, n=20)[-1], 2),
                },
            )
        ],
        None,
        [
            f"{QUESTIONS} questions, one at a time, in turns with the same mixture in a process of its own; {source}"
        ],
    )


def _streamed(client: Client, prompt: str, dtype: str) -> tuple[float, Recipe]:
    """Seconds from asking to the first piece, and the mixture that answered."""
    start = time.perf_counter()
    stream = client.stream(prompt, max_new_tokens=TOKENS, method="cat")
    next(stream)
    seconds = time.perf_counter() - start
    for _ in stream:
        pass
    if stream.answer is None:
        raise RuntimeError("a stream ends with its answer")
    parts = tuple(Component(part["sha256"], part["weight"]) for part in stream.answer.mixture)
    return seconds, Recipe("cat", 0.5, dtype, parts)


def _first(engine: Engine, row: Row) -> float:
    start = time.perf_counter()
    engine.add("row", row)
    while not any(isinstance(event, Wrote) for event in engine.step()):
        pass
    seconds = time.perf_counter() - start
    engine.abort("row")
    return seconds


if __name__ == "__main__":
    main()
