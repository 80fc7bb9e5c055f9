"""What is used of vLLM, as types: its package is an extra, and most machines do not have it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor


class Likely(Protocol):
    """How likely vLLM says a token was."""

    @property
    def logprob(self) -> float:
        """Natural log."""

    @property
    def rank(self) -> int | None:
        """1 for the likeliest token."""


class Piece(Protocol):
    """What one request wrote in one step."""

    @property
    def token_ids(self) -> Sequence[int]: ...
    @property
    def logprobs(self) -> Sequence[Mapping[int, Likely]] | None: ...


class Said(Protocol):
    """What is heard of one request after one step."""

    @property
    def request_id(self) -> str: ...
    @property
    def outputs(self) -> Sequence[Piece]: ...
    @property
    def prompt_logprobs(self) -> Sequence[Mapping[int, Likely] | None] | None: ...
    @property
    def num_cached_tokens(self) -> int | None: ...
    @property
    def finished(self) -> bool: ...


class LLMEngine(Protocol):
    """vLLM's engine, whose scheduler and model are in this process."""

    def add_request(
        self, request_id: str, prompt: Any, params: Any, *, lora_request: Any = None, priority: int = 0
    ) -> object: ...
    def abort_request(self, request_ids: list[str]) -> None: ...
    def step(self) -> Sequence[Said]: ...


Take = Callable[[str], Mapping[str, tuple[Tensor, Tensor]]]
"""Gives A and B of each module of the LoRA of that name."""
