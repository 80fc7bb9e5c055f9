"""Adapters that count from some tokens of the prompt on (aLoRA): where that is, and what is read before it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from loradex.worker.engine.shared import SharedFactors
from loradex.worker.engine.updates import Updates, UpdateSum


def invoked(updates: Updates | None, prompts: Sequence[Sequence[int]]) -> Updates | None:
    """The updates of rows with these prompts, which know where each adapter begins to count.

    That is the first of its invocation tokens, where the prompt has them last. Where it has none, the adapter does
    not count in this row, as in PEFT.
    """
    return _each(updates, lambda one: _started(one, prompts))


def reading(updates: Updates | None, at: Tensor) -> Updates | None:
    """The updates while prompts are read; `at` are the tokens' numbers `[rows, tokens]`, below 0 of what pads."""
    return _each(updates, lambda one: _read_at(one, at))


def last_place(prompt: Sequence[int], tokens: Sequence[int]) -> int | None:
    """Where the tokens begin in the prompt for the last time."""
    for place in range(len(prompt) - len(tokens), -1, -1):
        if tuple(prompt[place : place + len(tokens)]) == tuple(tokens):
            return place
    return None


def _each(updates: Updates | None, change: Callable[[SharedFactors], SharedFactors]) -> Updates | None:
    match updates:
        case SharedFactors(invoked_by=invoked_by) if invoked_by:
            return change(updates)
        case UpdateSum(parts=parts):
            return UpdateSum([made for part in parts if (made := _each(part, change)) is not None])
        case _:
            return updates


def _started(shared: SharedFactors, prompts: Sequence[Sequence[int]]) -> SharedFactors:
    starts = torch.zeros(len(prompts), len(shared.names), dtype=torch.long)
    coefficients = shared.coefficients.clone()
    for row, (prompt, places) in enumerate(zip(prompts, shared.places.tolist(), strict=True)):
        for column, place in enumerate(places):
            tokens = shared.invoked_by.get(shared.names[place])
            if tokens is None:
                continue
            start = last_place(prompt, tokens)
            if start is None:
                coefficients[:, row, column] = 0
            else:
                starts[row, place] = start
    return SharedFactors(
        shared.layout,
        shared.planes,
        shared.names,
        shared.places,
        coefficients,
        invoked_by=shared.invoked_by,
        starts=starts.to(shared.places.device),
    )


def _read_at(shared: SharedFactors, at: Tensor) -> SharedFactors:
    return SharedFactors(
        shared.layout,
        shared.planes,
        shared.names,
        shared.places,
        shared.coefficients,
        invoked_by=shared.invoked_by,
        starts=shared.starts,
        at=at,
    )
