"""Merging: 16 rows, 16 mixtures of 4 adapters, against PEFT's `add_weighted_adapter`, per row and method."""

import itertools
from collections.abc import Iterator

from peft import PeftModel

from loradex.benchmarks import subjects
from loradex.benchmarks.frame import compare, extra_memory, finish, options, take_turns
from loradex.worker.engine.recipe import Recipe

ROWS = 16
BARS = {"linear": 200.0, "cat": 200.0, "ties": 100.0, "magnitude_prune": 100.0}
PEFT_ROWS = 2
"""Merges of one turn of PEFT's: each takes a third of a second or more, and all are alike."""


def main() -> None:
    chosen = options(__doc__)
    directories, source = subjects.adapters(chosen)
    engine = subjects.engine(chosen)
    engine.bank.ensure(directories)
    recipes = {method: subjects.mixtures(method, list(directories), ROWS, chosen.dtype) for method in BARS}
    subjects.fill_bank(engine, itertools.chain(*recipes.values()))
    memory = extra_memory(lambda: [engine.compose(batch) for batch in recipes.values()], chosen.device)
    peft = subjects.peft_model(chosen, directories)
    measures = []
    for method, batch in recipes.items():
        turns = itertools.cycle(batch)
        seconds = take_turns(
            {
                "ours": lambda batch=batch: engine.compose(batch),  # type: ignore[misc]
                "peft": lambda turns=turns: _merge_some(peft, turns),  # type: ignore[misc]
            },
            chosen.rounds,
        )
        measures.append(
            compare(
                f"{method}: one row's merge, PEFT's time over ours",
                seconds["ours"],
                seconds["peft"],
                per=ROWS,
                other_per=PEFT_ROWS,
                bar=BARS[method],
            )
        )
    notes = [
        f"{ROWS} rows, mixtures of {subjects.MIXED} of {source}; our time has the norms in it",
        "PEFT's time includes deleting the merge before, as each question needs it (about 35 ms)",
        "cat merges nothing: our time is for copying the batch's adapters side by side, each once",
        "adapters and their trims at density 0.5 are in the bank, as in any but an adapter's first batch",
    ]
    finish("merge", chosen, measures, memory, notes)


def _merge_some(model: PeftModel, recipes: Iterator[Recipe]) -> None:
    for recipe in itertools.islice(recipes, PEFT_ROWS):
        subjects.peft_merge(model, recipe)


if __name__ == "__main__":
    main()
