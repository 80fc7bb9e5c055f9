"""Mixed jobs through client, Redis, worker and Postgres, against a loop of PEFT merge and generate."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from loradex.benchmarks import subjects
from loradex.benchmarks.frame import Measure, Options, compare, finish, options, take_turns
from loradex.benchmarks.stack import serving
from loradex.service.client import Answer, Client
from loradex.worker.engine.recipe import Component, Recipe

JOBS = 200
LOOPED = 12
"""Jobs of one turn of the loop: as many as there are pairs of a method and a kind, so the mix is the same."""
TOKENS = 24
SPEED_BAR = 8.0
OVERHEAD_MS = 15.0
METHODS = ("linear", "cat", "ties", "magnitude_prune")
CHOICES = ("yes", "no", "maybe")
FRAME_END = "\nAnswer:"
WAIT_SECONDS = 600.0


@dataclass(frozen=True)
class Asked:
    """One job of the mix: every third ranks choices, the methods take turns."""

    prompt: str
    method: str
    choices: tuple[str, ...] | None

    def settings(self) -> dict[str, Any]:
        settled: dict[str, Any] = {"prompt": self.prompt, "method": self.method}
        if self.choices is not None:
            return settled | {"choices": list(self.choices)}
        return settled | {"max_new_tokens": TOKENS}


def main() -> None:
    chosen = options(__doc__, counted=("questions", JOBS))
    each = max(LOOPED, -(-chosen.count // chosen.rounds))
    asked = _mix(each * (chosen.rounds + 1))
    slices = [asked[start : start + each] for start in range(0, len(asked), each)]
    directories, source = subjects.adapters(chosen)
    with serving(chosen) as (client, _):
        overheads = [_overhead(client, one) for one in _mix(chosen.count)]
        # The loop is given what Postgres chose, so both sides compute the same mixtures.
        answers = {
            one.prompt: job.wait(WAIT_SECONDS)
            for one, job in zip(asked, _enqueue(client, asked), strict=True)
        }
        loop = Loop(chosen, directories)
        turn = {"ours": 0, "loop": 0}

        def ours() -> None:
            for job in _enqueue(client, slices[turn["ours"]]):
                job.wait(WAIT_SECONDS)
            turn["ours"] += 1

        def theirs() -> None:
            for one in slices[turn["loop"]][:LOOPED]:
                loop.answer(one, answers[one.prompt])
            turn["loop"] += 1

        turns = take_turns({"ours": ours, "loop": theirs}, chosen.rounds)
    p50 = statistics.median(overheads)
    speed = compare(
        f"{chosen.count} mixed jobs through the whole path against PEFT merge + generate in a loop, per job",
        turns["ours"],
        turns["loop"],
        per=each,
        other_per=LOOPED,
        bar=SPEED_BAR,
    )
    # Our side computes in another process, whose CPU time is not in ours.
    told = {key: value for key, value in speed.sides.items() if key != "cpu_time_ratio"}
    measures = [
        replace(speed, sides=told),
        Measure(
            ratio=round(OVERHEAD_MS / p50, 3),
            bar=1.0,
            what=f"queue and SQL per job, a question at a time, p50 against {OVERHEAD_MS:g} ms",
            sides={
                "ours_ms": round(p50, 3),
                "theirs_ms": OVERHEAD_MS,
                "p95_ms": round(statistics.quantiles(overheads, n=20)[-1], 3),
            },
        ),
    ]
    notes = [
        f"{chosen.count} questions are asked one at a time, the first after the start among them",
        f"{each} jobs are asked at once, {chosen.rounds} times, after as many that are not counted",
        f"the loop answers {LOOPED} of them each time",
        f"a third ranks {len(CHOICES)} choices, the others write up to {TOKENS} tokens",
        f"methods {', '.join(METHODS)}; {source}; the loop gets each job's mixture as Postgres chose it",
        "the loop has one process; the path has client, Postgres, Valkey and worker on the same cores",
    ]
    finish("serve", chosen, measures, None, notes)


class Loop:
    """What one would write without Loradex: merge for the question, answer it, next."""

    def __init__(self, chosen: Options, directories: dict[str, Path]) -> None:
        self._model = subjects.peft_model(chosen, directories)
        _, self._tokenizer = subjects.base(chosen)
        self._dtype = chosen.dtype
        self._device = chosen.device

    @torch.inference_mode()
    def answer(self, asked: Asked, answer: Answer) -> object:
        """Answer with the mixture of `answer`."""
        parts = tuple(Component(part["sha256"], part["weight"]) for part in answer.mixture)
        subjects.peft_merge(self._model, Recipe(asked.method, 0.5, self._dtype, parts))
        framed = asked.prompt + FRAME_END
        if asked.choices is None:
            return self._model.generate(**self._read(framed), do_sample=False, max_new_tokens=TOKENS)
        start = self._read(framed)["input_ids"].shape[1]
        return [self._score(f"{framed} {choice}", start) for choice in asked.choices]

    def _score(self, text: str, start: int) -> float:
        ids = self._read(text)["input_ids"]
        likelihoods = self._model(input_ids=ids).logits[0, start - 1 : -1].log_softmax(-1)
        return float(likelihoods.gather(1, ids[0, start:, None]).mean())

    def _read(self, text: str) -> Any:
        return self._tokenizer(text, return_tensors="pt").to(self._device)


def _overhead(client: Client, asked: Asked) -> float:
    """Milliseconds between asking and answer in which neither encoder nor engine computed."""
    started = time.perf_counter()
    (job,) = _enqueue(client, [asked])
    answer = job.wait(WAIT_SECONDS)
    spent = 1000 * (time.perf_counter() - started)
    return float(spent - answer.timings["embed"] - answer.timings["compose"])


def _enqueue(client: Client, asked: Sequence[Asked]) -> list[Any]:
    return client.enqueue_many(one.settings() for one in asked)


def _mix(count: int) -> list[Asked]:
    return [
        Asked(
            f"{prompt.removesuffix(FRAME_END)} (question {number})",
            METHODS[number % len(METHODS)],
            CHOICES if number % 3 == 0 else None,
        )
        for number, prompt in enumerate(subjects.prompts(count))
    ]


if __name__ == "__main__":
    main()
