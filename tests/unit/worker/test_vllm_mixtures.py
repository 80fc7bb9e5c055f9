"""Mixtures are composed once, lie in memory up to a limit, and fall alone."""

from pathlib import Path

import pytest
import torch
from tests.fix_models import Zoo
from tests.unit.engine.rows import BARE

from loradex.errors import LoradexError
from loradex.worker.engine.bank import AdapterBank
from loradex.worker.engine.compose import Composer
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.recipe import Component, Recipe
from loradex.worker.engine.vllm.mixtures import Mixtures
from loradex.worker.engine.vllm.shelf import Shelf

ROOM = 1 << 20


def mixtures(bank: AdapterBank, *, room: int = ROOM, shelf: Shelf | None = None) -> Mixtures:
    return Mixtures(
        Composer(bank, 1 << 20), bank, bank.sizes, 64, room_bytes=room, number_bare=True, shelf=shelf
    )


def recipe(zoo: Zoo, place: int, weight: float = 0.5) -> Recipe:
    return Recipe("cat", 1.0, "float32", (Component(zoo.all[place].sha256, weight),))


def test_what_waits_lies_in_memory_up_to_the_limit_and_is_the_same_composed_anew(
    engine: Engine, zoo: Zoo
) -> None:
    recipes = [recipe(zoo, place, weight) for place in range(3) for weight in (0.25, 0.5)]
    free = mixtures(engine.bank)
    held = [free.hold(one) for one in recipes]
    one = free.kept_bytes // len(recipes)
    short = mixtures(engine.bank, room=2 * one)
    for place, wanted in enumerate(recipes):
        assert short.hold(wanted).number == held[place].number
        assert short.kept_bytes <= 2 * one
    assert 0 < short.kept_bytes < free.kept_bytes
    for wanted in recipes:
        kept, anew = free.take(wanted.hash), short.take(wanted.hash)
        assert kept.keys() == anew.keys()
        for module in kept:
            assert all(torch.equal(a, b) for a, b in zip(kept[module], anew[module], strict=True))
    assert free.kept_bytes == short.kept_bytes == 0


def test_a_mixture_whose_adapter_is_gone_falls_alone_and_is_another_one_afterwards(zoo: Zoo) -> None:
    engine = zoo.engine()
    made = mixtures(engine.bank, room=0)
    lost, kept = recipe(zoo, 0), recipe(zoo, 1)
    before, beside = made.hold(lost), made.hold(kept)
    # As if its adapter was gone when vLLM asks for it.
    made._recipes[lost.hash] = Recipe("cat", 1.0, "float32", (Component("1" * 64, 1.0),))
    (factors,) = made.take(lost.hash).values()
    assert all(not one.any() for one in factors)
    assert any(a.any() and b.any() for a, b in made.take(kept.hash).values())
    assert {name: failure.code for name, failure in made.fallen().items()} == {lost.hash: "unknown_name"}
    assert made.fallen() == {}
    made.take(lost.hash)
    made.let_go(before)
    # Nobody has it any more whom that concerns.
    assert made.fallen() == {}
    after = made.hold(lost)
    assert after.number not in {before.number, beside.number}
    assert made.place(after) != made.place(before)
    assert any(a.any() and b.any() for a, b in made.take(lost.hash).values())


def test_a_mixture_that_cannot_be_written_for_another_process_is_refused_and_not_left_empty(zoo: Zoo) -> None:
    shelf = Shelf()
    made = mixtures(zoo.engine().bank, room=0, shelf=shelf)
    mixed = made.hold(recipe(zoo, 0))
    made._recipes[mixed.name] = Recipe("cat", 1.0, "float32", (Component("1" * 64, 1.0),))
    with pytest.raises(LoradexError):
        made.place(mixed)
    assert shelf.place(mixed.name) is None
    assert made.fallen() == {}


def test_a_directory_that_was_not_written_whole_is_not_taken_for_a_mixture(
    engine: Engine, zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf()
    made = mixtures(engine.bank, shelf=shelf)
    mixed = made.hold(recipe(zoo, 0))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("loradex.worker.engine.vllm.shelf.save_file", full)
        with pytest.raises(OSError, match="No space"):
            made.place(mixed)
    assert shelf.place(mixed.name) is None
    written = Path(made.place(mixed))
    assert {one.name for one in written.iterdir()} == {"adapter_model.safetensors", "adapter_config.json"}


def test_the_bare_model_takes_no_room(engine: Engine) -> None:
    made = mixtures(engine.bank, room=0)
    assert made.hold(BARE).number is not None
    assert made.kept_bytes == 0
