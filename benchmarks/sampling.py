"""Writing 16 sampled texts against writing 16 greedy ones, in the same batch of the same engine."""

import dataclasses

from loradex.benchmarks import subjects
from loradex.benchmarks.frame import Measure, compare, extra_memory, finish, options, take_turns

ROWS = 16
TOKENS = 32
BAR = 0.95
NUCLEUS = (1.0, 0.9)


def main() -> None:
    chosen = options(__doc__)
    directories, source = subjects.adapters(chosen)
    engine = subjects.engine(chosen, ends=frozenset())
    greedy = subjects.questions(subjects.mixtures("cat", list(directories), ROWS, chosen.dtype), TOKENS)
    sampled = {
        top_p: [
            dataclasses.replace(row, sampling_temperature=1.0, sampling_top_p=top_p, seed=place)
            for place, row in enumerate(greedy)
        ]
        for top_p in NUCLEUS
    }
    engine.bank.ensure(directories)
    subjects.fill_bank(engine, (row.recipe for row in greedy))
    memory = extra_memory(lambda: engine.answer(sampled[1.0]), chosen.device)
    seconds = take_turns(
        {
            "greedy": lambda: engine.answer(greedy),
            **{str(top_p): lambda rows=rows: engine.answer(rows) for top_p, rows in sampled.items()},  # type: ignore[misc]
        },
        chosen.rounds,
    )
    measures: list[Measure] = [
        compare(
            f"temperature 1, top_p {top_p}: tokens/s against greedy",
            seconds[str(top_p)],
            seconds["greedy"],
            bar=BAR,
        )
        for top_p in NUCLEUS
    ]
    notes = [f"{ROWS} rows, {TOKENS} new tokens each, cat mixtures of {subjects.MIXED} of {source}"]
    finish("sampling", chosen, measures, memory, notes)


if __name__ == "__main__":
    main()
