"""aLoRA counts from its invocation tokens on, however a prompt is read, and beside adapters that always count."""

import copy
from collections.abc import Sequence

import pytest
import torch
from tests.fix_models import TinyAdapter, Zoo, byte_tokenizer, save_adapter
from tests.peft_mixed import PeftMixed

from loradex.errors import InvalidArgumentError
from loradex.worker.engine.compose import Composer, check
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.invocation import last_place
from loradex.worker.engine.plain_lora import plain_lora
from loradex.worker.engine.recipe import Component, Recipe
from loradex.worker.engine.rows import Row
from loradex.worker.engine.stream import Pace

MARKS = ("##", "=>")
WEIGHTS = (0.75, -0.5, 1.0)
PROMPTS = (
    "tin ## drum => lark",
    "=> pale gates where foxes trade ## old maps ## and go on",
    "no mark at all",
    "## bell",
)


@pytest.fixture(scope="module")
def invoked(zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> tuple[TinyAdapter, ...]:
    """Two adapters that are switched on by marks of their own, and one that always counts."""
    root, text = tmp_path_factory.mktemp("invoked"), zoo.engine().text
    return (
        *(
            save_adapter(
                zoo.model,
                root / f"k{seed}",
                seed,
                r=seed + 1,
                target_modules=["q_proj", "v_proj", "up_proj"],
                alora_invocation_tokens=list(text.prompt(mark)),
            )
            for seed, mark in enumerate(MARKS, 1)
        ),
        zoo.all[5],
    )


def counted(mixed: PeftMixed, engine: Engine, prompt: Sequence[int], more: int) -> PeftMixed:
    """The exact sum for one prompt that `more` tokens follow at once."""
    for place, mark in enumerate(MARKS):
        start = last_place(prompt, list(engine.text.prompt(mark)))
        mixed.offsets[place] = 0 if start is None else len(prompt) - start + more
    return mixed


@torch.inference_mode()
@pytest.mark.parametrize("pace", [5, 4096])
def test_texts_and_choices_are_those_of_peft(zoo: Zoo, invoked: tuple[TinyAdapter, ...], pace: int) -> None:
    """Prompts that are read at once, padded, and in pieces that begin before and behind a mark."""
    engine = Engine(
        copy.deepcopy(zoo.model),
        byte_tokenizer(),
        bank_bytes=8 << 20,
        ends=frozenset(),
        pace=Pace(beside=pace, alone=pace),
    )
    engine.bank.ensure({one.sha256: one.directory for one in (*invoked, *zoo.even)})
    parts = tuple(Component(one.sha256, weight) for one, weight in zip(invoked, WEIGHTS, strict=True))
    recipe = Recipe("cat", 1.0, "float32", parts)
    plain = Recipe("cat", 1.0, "float32", (Component(zoo.even[1].sha256, 0.5),))
    choices = ("maps", "a bell")
    rows = [
        *(Row(prompt, recipe, max_new_tokens=6) for prompt in PROMPTS),
        Row(PROMPTS[0], plain, max_new_tokens=6),
        *(Row(prompt, recipe, "choose", choices, "none") for prompt in PROMPTS),
    ]
    answers = engine.answer(rows)
    mixed, other = PeftMixed(zoo.model, invoked, WEIGHTS), PeftMixed(zoo.model, [zoo.even[1]], [0.5])
    for row, answer in zip(rows, answers, strict=True):
        prompt = engine.text.prompt(row.prompt_text)
        model = (other if row.recipe is plain else counted(mixed, engine, prompt, 0)).model
        if row.kind != "choose":
            ids = torch.tensor([prompt])
            made = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False, eos_token_id=None
            )
            assert answer.token_ids == tuple(made[0, len(prompt) :].tolist())
            continue
        for choice, score in zip(choices, answer.scores, strict=True):
            ids = engine.text.answer(choice)
            model = counted(mixed, engine, prompt, len(ids)).model
            likely = model(input_ids=torch.tensor([[*prompt, *ids]])).logits[0].log_softmax(-1)
            summed = sum(float(likely[len(prompt) - 1 + place, token]) for place, token in enumerate(ids))
            assert score == pytest.approx(summed, rel=1e-5)


def test_it_is_mixed_by_cat_alone_and_not_handed_over_as_a_plain_lora(
    zoo: Zoo, invoked: tuple[TinyAdapter, ...]
) -> None:
    engine = zoo.engine()
    engine.bank.ensure({one.sha256: one.directory for one in invoked})
    alone = Recipe("ties", 0.5, "float32", (Component(invoked[0].sha256, 1.0),))
    check(engine.bank, alone)
    parts = (*alone.components, Component(zoo.even[0].sha256, 1.0))
    with pytest.raises(InvalidArgumentError, match="use cat"):
        check(engine.bank, Recipe("linear", 1.0, "float32", parts))
    with pytest.raises(InvalidArgumentError, match="LORADEX_ENGINE=torch answers with it"):
        plain_lora(Composer(engine.bank, 1 << 20), engine.bank, alone)


@pytest.mark.parametrize(
    ("prompt", "tokens", "place"),
    [
        ((1, 2, 3, 1, 2), (1, 2), 3),
        ((1, 2), (1, 2), 0),
        ((1, 1, 2), (1, 2), 1),
        ((2,), (1, 2), None),
        ((), (1,), None),
    ],
)
def test_the_last_place_counts(prompt: tuple[int, ...], tokens: tuple[int, ...], place: int | None) -> None:
    assert last_place(prompt, tokens) == place
