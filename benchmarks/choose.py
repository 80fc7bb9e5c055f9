"""Ranking choices: 64 rows of 3 choices, against a full forward pass for each choice."""

import dataclasses

from loradex.benchmarks import subjects
from loradex.benchmarks.frame import compare, extra_memory, finish, options, take_turns
from loradex.worker.engine.rows import Row

ROWS = 64
CHOICES = ("yes", "no, not at all", "that depends on who is asked")
BAR = 2.0


def main() -> None:
    chosen = options(__doc__)
    directories, source = subjects.adapters(chosen)
    engine = subjects.engine(chosen)
    engine.bank.ensure(directories)
    recipes = subjects.mixtures("linear", list(directories), ROWS, chosen.dtype)
    rows = [
        Row(prompt, recipe, "choose", CHOICES)
        for prompt, recipe in zip(subjects.prompts(ROWS), recipes, strict=True)
    ]
    single = [[dataclasses.replace(row, choices=(choice,)) for row in rows] for choice in CHOICES]
    subjects.fill_bank(engine, recipes)
    memory = extra_memory(lambda: engine.answer(rows), chosen.device)
    seconds = take_turns(
        {
            "ours": lambda: engine.answer(rows),
            "full passes": lambda: [engine.answer(batch) for batch in single],
        },
        chosen.rounds,
    )
    measure = compare(
        "64 rows x 3 choices, a full pass for each choice over ours",
        seconds["ours"],
        seconds["full passes"],
        bar=BAR,
    )
    notes = [
        f"choices of {[len(engine.text.answer(choice)) for choice in CHOICES]} tokens; {source}",
        "both sides batch all rows, merge by linear and run the same code; only the sharing differs",
    ]
    finish("choose", chosen, [measure], memory, notes)


if __name__ == "__main__":
    main()
