"""A device that breaks for good: no row is at fault, and nothing goes on."""

import pytest
import torch
from tests.fix_models import Zoo
from tests.unit.engine.rows import BARE, mixed_rows

from loradex.errors import DeviceBrokenError, InvalidArgumentError
from loradex.worker.engine import device
from loradex.worker.engine.device import require_alive, watched
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.memory import is_out_of_memory
from loradex.worker.engine.rows import Row, RowResult
from loradex.worker.isolation import run_isolated

CPU = torch.device("cpu")
ILLEGAL = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
DRIVER_FULL = torch.AcceleratorError("CUDA error: out of memory")


@pytest.fixture
def engine(zoo: Zoo) -> Engine:
    return zoo.engine(ends=frozenset())


@pytest.mark.parametrize("stage", ["prompts", "branches", "step"])
def test_a_device_that_breaks_fails_no_row(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def breaks(*_: object) -> None:
        raise ILLEGAL

    monkeypatch.setattr(engine._forward, stage, breaks)
    with pytest.raises(DeviceBrokenError, match="AcceleratorError"):
        engine.answer([Row("fox", BARE), Row("fox", BARE, "choose", ("a tin", "a drum"))])


def test_what_composing_and_reading_adapters_meet_is_told_too(
    zoo: Zoo, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise ILLEGAL

    [row] = [row for row in mixed_rows(zoo, 2, seed=3) if row.kind == "generate"]
    engine.add(0, row)
    monkeypatch.setattr(engine._composer, "compose", breaks)
    with pytest.raises(DeviceBrokenError):
        engine.step()
    monkeypatch.setattr(engine.bank, "ranks", breaks)
    with pytest.raises(DeviceBrokenError):
        engine.add(1, row, {zoo.even[0].sha256: zoo.even[0].directory})


def test_memory_of_the_driver_that_runs_out_breaks_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [Row(f"fox {number}", BARE, max_new_tokens=4) for number in range(4)]
    step = engine._forward.step

    def tight(tokens: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
        if len(tokens) > 2:
            raise DRIVER_FULL
        return step(tokens, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(engine._forward, "step", tight)
    assert is_out_of_memory(DRIVER_FULL)
    assert all(isinstance(answer, RowResult) for answer in engine.answer(rows))


def test_after_any_error_a_device_is_asked_whether_it_still_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda:0")
    monkeypatch.setattr(device, "_computes", lambda asked: asked != gpu)
    require_alive(CPU, RuntimeError("no such kernel"))
    with pytest.raises(DeviceBrokenError, match=r"cuda:0 .* since RuntimeError"):
        require_alive(gpu, RuntimeError("no such kernel"))
    # What was raised on purpose says nothing of the device.
    with pytest.raises(InvalidArgumentError), watched(gpu):
        raise InvalidArgumentError("it is empty")


def test_the_probe_tells_a_device_that_is_full_from_one_that_is_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu, told = torch.device("cuda:0"), [DRIVER_FULL, ILLEGAL]

    def ones(*_: object, **__: object) -> None:
        raise told.pop(0)

    monkeypatch.setattr(torch, "ones", ones)
    require_alive(gpu, RuntimeError("no such kernel"))
    with pytest.raises(DeviceBrokenError):
        require_alive(gpu, RuntimeError("no such kernel"))
    assert not told


def test_a_batch_beside_which_the_device_breaks_is_not_tried_row_by_row() -> None:
    calls = []

    def breaks(items: object) -> list[int]:
        calls.append(items)
        raise DeviceBrokenError("cuda:0 computes nothing more")

    with pytest.raises(DeviceBrokenError):
        run_isolated(breaks, [1, 2])
    assert len(calls) == 1
