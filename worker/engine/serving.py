"""What the worker's program needs of an engine, beside what answers need."""

from typing import Protocol

import torch

from loradex.library.model_files import ModelFiles
from loradex.worker.engine.bank import AdapterBank
from loradex.worker.engine.memory import Budgets
from loradex.worker.engine.protocol import AnswerEngine


class ServingEngine(AnswerEngine, Protocol):
    """An engine as a worker serves with it.

    Attributes:
        files: What the base model's directory was when it was read.
        device: Where the model lives.
        dtype: Numbers it computes in.
        attention: Whose attention it computes with.
        quantization: How its weights are quantised; None: they are not.
        device_map: How many of its parts lie on which device; None: all on one.
        bank: Its adapters.
        budgets: Bytes that adapters and rows have.
        context_length: Tokens a prompt and its answer may have together.
    """

    @property
    def files(self) -> ModelFiles: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def dtype(self) -> str: ...
    @property
    def attention(self) -> str: ...
    @property
    def quantization(self) -> str | None: ...
    @property
    def device_map(self) -> str | None: ...
    @property
    def budgets(self) -> Budgets: ...
    @property
    def bank(self) -> AdapterBank: ...
    @property
    def context_length(self) -> int: ...
