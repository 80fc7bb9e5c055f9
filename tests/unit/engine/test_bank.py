"""The bank holds what was used last, within its budget, and nothing stale."""

import copy
import json
import shutil
import sys
import threading
from pathlib import Path

import pytest
import torch
from tests.fix_models import TinyAdapter, Zoo, byte_tokenizer, save_adapter
from tests.unit.engine.rows import mixed_rows

from loradex.errors import AdapterChangedError, AdapterRefusedError, InvalidArgumentError
from loradex.library.adapter_files import content_hash
from loradex.worker.engine.bank import AdapterBank, Key
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.merging import trim
from loradex.worker.engine.modules import shapes_of


def bank_of(zoo: Zoo, slots: int, host_budget: int = 0) -> AdapterBank:
    """A bank with room for so many adapters of the zoo's even ones."""
    bank = AdapterBank(shapes_of(zoo.model), torch.device("cpu"), torch.float32, 1, host_budget)
    bank.ensure({adapter.sha256: adapter.directory for adapter in zoo.even})
    budget = slots * bank.layout.slot_bytes(4)
    sized = AdapterBank(shapes_of(zoo.model), torch.device("cpu"), torch.float32, budget, host_budget)
    sized.ensure({adapter.sha256: adapter.directory for adapter in zoo.even})
    return sized


def test_the_least_recently_used_goes(zoo: Zoo) -> None:
    bank = bank_of(zoo, 2)
    first, second, third = (Key(adapter.sha256) for adapter in zoo.even[:3])
    bank.acquire([first, second])
    bank.acquire([first])
    bank.acquire([third])
    assert set(bank.resident) == {first, third}
    assert (bank.counts.hits, bank.counts.misses, bank.counts.evictions) == (1, 3, 1)
    assert bank.capacity == 2
    assert bank.nbytes <= 3 * bank.layout.slot_bytes(4)


def test_an_evicted_adapter_comes_back_whole(zoo: Zoo) -> None:
    bank = bank_of(zoo, 1)
    before = {}
    for _ in range(2):
        for adapter in zoo.even:
            slot = bank.acquire([Key(adapter.sha256)])[Key(adapter.sha256)]
            held = [stack[:, slot].clone() for stack in bank.stacks.values()] + [
                bank.scaling[:, slot].clone()
            ]
            for old, new in zip(before.setdefault(adapter.sha256, held), held, strict=True):
                assert torch.equal(old, new)


def test_more_adapters_than_fit_at_once_are_refused(zoo: Zoo) -> None:
    bank = bank_of(zoo, 2)
    with pytest.raises(InvalidArgumentError, match="raise its byte budget"):
        bank.acquire(Key(adapter.sha256) for adapter in zoo.even[:3])


def test_trims_are_made_once_an_adapter_and_density(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    bank = bank_of(zoo, 4)
    densities: list[float] = []
    monkeypatch.setattr(
        "loradex.worker.engine.bank.trim",
        lambda tensor, density: (densities.append(density), trim(tensor, density))[1],
    )
    key = Key(zoo.even[0].sha256, 0.5)
    for _ in range(3):
        bank.acquire([key])
    assert len(densities) == 2 * len(bank.ranks(key.sha256))


def test_files_are_read_ahead_while_entries_come_and_go(zoo: Zoo, tmp_path: Path) -> None:
    bank = bank_of(zoo, 100)
    keys = [Key(zoo.even[0].sha256, density / 100) for density in range(100)]
    bank.acquire(keys)
    done = threading.Event()

    def use() -> None:
        while not done.is_set():
            bank.acquire(keys)

    using = threading.Thread(target=use)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        using.start()
        for _ in range(300):
            bank.fetch({"of another": tmp_path})
    finally:
        sys.setswitchinterval(before)
        done.set()
        using.join()


def test_changed_files_are_never_served(zoo: Zoo, tmp_path: Path) -> None:
    directory = tmp_path / "copy"
    shutil.copytree(zoo.even[0].directory, directory)
    bank = AdapterBank(shapes_of(zoo.model), torch.device("cpu"), torch.float32, 1 << 20, 0)
    old = content_hash(directory)
    bank.ensure({old: directory})
    shutil.copy(zoo.even[1].directory / "adapter_model.safetensors", directory / "adapter_model.safetensors")
    with pytest.raises(AdapterChangedError):
        bank.acquire([Key(old)])
    new = content_hash(directory)
    bank.ensure({new: directory})
    assert Key(new) in bank.acquire([Key(new)])
    with pytest.raises(AdapterChangedError):
        bank.ensure({"f" * 64: directory})


def test_the_host_tier_spares_the_files(zoo: Zoo, tmp_path: Path) -> None:
    directory = tmp_path / "copy"
    shutil.copytree(zoo.even[0].directory, directory)
    key = Key(content_hash(directory))
    other = zoo.even[1]
    for host_budget, survives in ((1 << 20, True), (0, False)):
        bank = bank_of(zoo, 1, host_budget)
        bank.ensure({key.sha256: directory})
        bank.acquire([key])
        bank.acquire([Key(other.sha256)])
        moved = directory.rename(tmp_path / "gone")
        if survives:
            assert key in bank.acquire([key])
        else:
            with pytest.raises(AdapterRefusedError):
                bank.acquire([key])
        moved.rename(directory)


def test_a_larger_rank_and_new_modules_widen_the_bank(zoo: Zoo, tmp_path: Path) -> None:
    small = save_adapter(zoo.model, tmp_path / "small", 11, r=2, lora_alpha=2, target_modules=["q_proj"])
    large = save_adapter(
        zoo.model, tmp_path / "large", 12, r=9, lora_alpha=2, target_modules=["down_proj", "v_proj"]
    )
    bank = AdapterBank(shapes_of(zoo.model), torch.device("cpu"), torch.float32, 1 << 20, 0)
    bank.ensure({small.sha256: small.directory})
    bank.acquire([Key(small.sha256)])
    narrow = bank.layout
    bank.ensure({large.sha256: large.directory})
    both = bank.acquire([Key(small.sha256), Key(large.sha256)])
    assert (narrow.rank, bank.layout.rank) == (2, 9)
    assert len(bank.layout.modules) == len(narrow.modules) + 4
    width, plane = bank.layout.places[bank.layout.modules.index("model.layers.1.mlp.down_proj"), "A"]
    assert not bank.stacks[width][plane, both[Key(small.sha256)]].any()
    assert bank.stacks[width][plane, both[Key(large.sha256)]].any()


def test_what_was_used_last_outlives_a_larger_rank(zoo: Zoo, tmp_path: Path) -> None:
    """It is moved, not read again, and stands there as if it had been placed there."""
    large = save_adapter(zoo.model, tmp_path / "large", 12, r=9, lora_alpha=2, target_modules=["down_proj"])
    bank, fresh = bank_of(zoo, 4), bank_of(zoo, 4)
    keys = [Key(adapter.sha256) for adapter in zoo.even]
    bank.acquire(keys)
    bank.acquire(keys[1:2])
    for one in (bank, fresh):
        one.ensure({large.sha256: large.directory})
    assert bank.capacity == 1
    assert (bank.resident, bank.counts.evictions) == ((keys[1],), 3)
    slots = bank.acquire(keys[1:2]), fresh.acquire(keys[1:2])
    assert (bank.counts.hits, bank.counts.misses) == (2, 4)
    for width, stack in bank.stacks.items():
        assert torch.equal(stack[:, slots[0][keys[1]]], fresh.stacks[width][:, slots[1][keys[1]]])
    assert torch.equal(bank.scaling[:, slots[0][keys[1]]], fresh.scaling[:, slots[1][keys[1]]])
    assert Key(large.sha256) in bank.acquire([Key(large.sha256)])


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"use_dora": True}, "has no magnitude"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"alora_invocation_tokens": []}, "alora_invocation_tokens"),
        ({"rank_pattern": {"q_proj": 5}}, "another rank"),
        ({"modules_to_save": ["score"]}, "modules_to_save"),
    ],
)
def test_what_cannot_be_composed_exactly_is_refused(
    config: dict[str, object], reason: str, zoo: Zoo, tmp_path: Path
) -> None:
    directory = tmp_path / "odd"
    shutil.copytree(zoo.even[0].directory, directory)
    path = directory / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    bank = AdapterBank(shapes_of(zoo.model), torch.device("cpu"), torch.float32, 1 << 20, 0)
    with pytest.raises(AdapterRefusedError, match=reason):
        bank.ensure({content_hash(directory): directory})


def test_an_adapter_of_another_model_is_refused(zoo: Zoo, zoos: object) -> None:
    other: TinyAdapter = zoos("gpt2").even[0]  # type: ignore[operator]
    bank = AdapterBank(shapes_of(zoo.model), torch.device("cpu"), torch.float32, 1 << 20, 0)
    with pytest.raises(AdapterRefusedError, match="not a linear module"):
        bank.ensure({other.sha256: other.directory})


def test_a_small_bank_answers_a_large_batch(zoo: Zoo) -> None:
    rows = mixed_rows(zoo, 20, seed=9)
    roomy, tight = zoo.engine(), zoo.engine(bank_bytes=1)
    slots = max(len(row.recipe.components) for row in rows)
    tight = zoo.engine(bank_bytes=slots * tight.bank.layout.slot_bytes(4))
    assert tight.bank.capacity == slots
    said = [
        [getattr(answer, "token_ids", None) for answer in engine.answer(rows)] for engine in (roomy, tight)
    ]
    assert said[0] == said[1]
    assert tight.bank.counts.evictions > 0


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings:UserWarning")
def test_whole_modules_have_the_bank_s_memory_once_more(zoo: Zoo, tmp_path: Path) -> None:
    """Two heads do not fit together; one after the other they do, and one alone must."""
    heads = [
        save_adapter(
            zoo.model,
            tmp_path / f"k{seed}",
            seed,
            r=2,
            target_modules=["q_proj"],
            modules_to_save=["lm_head"],
        )
        for seed in (1, 2)
    ]
    plain = zoo.even[2]
    directories = {one.sha256: one.directory for one in (*heads, plain)}
    keys = [Key(one.sha256) for one in (*heads, plain)]
    needed = 4 * zoo.model.lm_head.weight.numel()
    bank = Engine(copy.deepcopy(zoo.model), byte_tokenizer(), bank_bytes=needed * 3 // 2).bank
    bank.ensure(directories)
    for key in (keys[0], keys[1], keys[0]):
        bank.acquire([key, keys[2]])
        assert bank.vectors(key)["lm_head", "whole"].nbytes == needed
        assert keys[2] in bank.resident
    with pytest.raises(InvalidArgumentError, match=f"need {2 * needed} bytes at once"):
        bank.acquire(keys)
    tight = Engine(copy.deepcopy(zoo.model), byte_tokenizer(), bank_bytes=needed - 1).bank
    with pytest.raises(AdapterRefusedError, match=f"need {needed} bytes, and have {needed - 1}"):
        tight.ensure(directories)
