"""Generating for 16 questions with 16 mixtures: against the bare base model, and against PEFT one by one."""

import dataclasses
import itertools

import torch

from loradex.benchmarks import subjects
from loradex.benchmarks.frame import compare, extra_memory, finish, options, take_turns
from loradex.worker.engine.engine import PACES
from loradex.worker.engine.recipe import Recipe
from loradex.worker.packing import pack_by_length

ROWS = 16
TOKENS = 32
BARE_BAR = 0.95
PEFT_BAR = 8.0
PEFT_ROWS = 4
"""Questions of one turn of PEFT's; they take turns, since each takes seconds."""


def main() -> None:
    chosen = options(__doc__)
    directories, source = subjects.adapters(chosen)
    engine = subjects.engine(chosen, ends=frozenset())
    engine.bank.ensure(directories)
    bare, tokenizer = subjects.base(chosen)
    peft = subjects.peft_model(chosen, directories)
    batches = {
        method: subjects.questions(subjects.mixtures(method, list(directories), ROWS, chosen.dtype), TOKENS)
        for method in ("linear", "cat")
    }
    nothing = [
        dataclasses.replace(row, recipe=Recipe("cat", 1.0, chosen.dtype, ())) for row in batches["cat"]
    ]
    tokenizer.padding_side = "left"
    padded = tokenizer([row.prompt_text for row in nothing], return_tensors="pt", padding=True).to(
        chosen.device
    )

    def bare_generate() -> object:
        return _written(bare, padded)

    turns = itertools.cycle(batches["linear"])

    def peft_one_by_one() -> None:
        for row in itertools.islice(turns, PEFT_ROWS):
            subjects.peft_merge(peft, row.recipe)
            _written(peft, tokenizer([row.prompt_text], return_tensors="pt").to(chosen.device))

    subjects.fill_bank(engine, (row.recipe for rows in batches.values() for row in rows))
    memory = extra_memory(lambda: engine.answer(batches["cat"]), chosen.device)
    sides = {
        **{method: lambda rows=rows: engine.answer(rows) for method, rows in batches.items()},  # type: ignore[misc]
        "no mixture": lambda: engine.answer(nothing),
        "bare generate": bare_generate,
        "peft": peft_one_by_one,
    }
    seconds = take_turns(sides, chosen.rounds)
    measures = []
    for method in batches:
        ours = seconds[method]
        measures += [
            compare(
                f"{method}: tokens/s against the bare base model (transformers' generate, same batch)",
                ours,
                seconds["bare generate"],
                bar=BARE_BAR,
            ),
            compare(
                f"{method}: tokens/s against our own loop without any mixture (what mixing costs)",
                ours,
                seconds["no mixture"],
                bar=None,
            ),
            compare(
                f"{method}: a question, 16 at once, against PEFT merge + generate one by one",
                ours,
                seconds["peft"],
                per=ROWS,
                other_per=PEFT_ROWS,
                bar=PEFT_BAR,
            ),
        ]
    lengths = padded["attention_mask"].sum(1).tolist()
    groups = pack_by_length(lengths, rows=ROWS, tokens=PACES[chosen.device].alone)
    computed = sum(len(group) * max(lengths[place] for place in group) for group in groups)
    notes = [
        f"{ROWS} prompts of {min(lengths)} to {max(lengths)} tokens, {TOKENS} new ones each, with merging",
        f"{100 * (1 - sum(lengths) / computed):.0f} % of our prefill is padding, in {len(groups)} passes",
        f"mixtures of {subjects.MIXED} of {source}; PEFT merges by linear, its fastest",
    ]
    finish("generate", chosen, measures, memory, notes)


@torch.inference_mode()
def _written(model: object, padded: object) -> object:
    return model.generate(  # type: ignore[attr-defined]
        **padded,  # type: ignore[arg-type]
        do_sample=False,
        max_new_tokens=TOKENS,
        min_new_tokens=TOKENS,
    )


if __name__ == "__main__":
    main()
