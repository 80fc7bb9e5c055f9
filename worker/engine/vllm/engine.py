"""vLLM as an engine: its scheduler, memory and kernels, and our mixtures as its LoRAs."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import torch

from loradex.errors import InvalidArgumentError, LoradexError
from loradex.library.model_files import ModelFiles
from loradex.worker.engine.asking import Asking
from loradex.worker.engine.bank import AdapterBank
from loradex.worker.engine.compose import Composer
from loradex.worker.engine.device import watched
from loradex.worker.engine.memory import Budgets
from loradex.worker.engine.protocol import Event, Failed, Ticket, Usage
from loradex.worker.engine.rows import Row
from loradex.worker.engine.vllm.held import HeldTexts, hold_texts
from loradex.worker.engine.vllm.inhand import Ranked, Request, Written
from loradex.worker.engine.vllm.joint import LLMEngine
from loradex.worker.engine.vllm.limits import require_possible
from loradex.worker.engine.vllm.mixtures import Mixtures
from loradex.worker.engine.vllm.shelf import Shelf
from loradex.worker.engine.vllm.slots import Slots
from loradex.worker.isolation import Failure

CHUNK_BYTES: Final = 1 << 20
"""Adapters are mixed on the host, where vLLM takes its LoRAs from."""


class VllmEngine:
    """A base model in vLLM, and the bank its mixtures come from. One thread at a time may use it.

    A step of vLLM that breaks is raised: it does not say which row broke it. What is made of it afterwards, and
    mixtures that cannot be composed any more, fail their own rows alone.

    Args:
        llm: vLLM's engine.
        asking: Makes questions of rows.
        ends: Tokens that end a text.
        context_length: Tokens that the model reads, which are registered; a row may have fewer (`max_model_len`).
        device: Where the model lives.
        files: What its directory was when it was read.
        modules: The modules that vLLM adds LoRAs to.
        slots: The LoRAs that it was laid out for.
        budgets: Bytes of the host for adapters, and as many for mixtures; of the device for keys and values.
        quantization: How its weights are quantised; None: they are not.
        shelf: Where mixtures are written for a vLLM in several processes; None: they are handed over in memory.
    """

    attention = "vllm"
    device_map: str | None = None

    def __init__(
        self,
        llm: LLMEngine,
        asking: Asking,
        *,
        ends: frozenset[int],
        context_length: int,
        device: torch.device,
        files: ModelFiles,
        modules: frozenset[str],
        slots: Slots,
        budgets: Budgets,
        quantization: str | None = None,
        shelf: Shelf | None = None,
    ) -> None:
        self.bank: AdapterBank = asking.bank
        self.context_length = context_length
        self.device = device
        self.dtype = asking.dtype
        self.files = files
        self.quantization = quantization
        self.mixtures = Mixtures(
            Composer(self.bank, CHUNK_BYTES),
            self.bank,
            modules,
            slots.rank,
            room_bytes=budgets.bank,
            number_bare=device.type == "cpu",
            shelf=shelf,
        )
        self.slots = slots
        self._llm = llm
        self._held = HeldTexts(ends, asking.vocabulary)
        hold_texts(llm, self._held)
        self._asking = asking
        self._ends = ends
        self.budgets = budgets
        self._rows: dict[Ticket, Written | Ranked] = {}
        self._owners: dict[str, Written | Ranked] = {}
        self._last = 0

    def count_tokens(self, row: Row) -> int:
        """Tokens of the row's prompt."""
        return len(self._asking.text.prompt(row.prompt_text))

    def fetch(self, adapters: Mapping[str, Path], row: Row) -> None:
        """Reads adapters that a row is about to name, and what its text is held to. For any thread."""
        self.bank.fetch(adapters)
        if self._asking.grammars is not None:
            with suppress(LoradexError):  # It is raised when the row is added.
                self._asking.grammars.of(row)

    def add(self, ticket: Ticket, row: Row, adapters: Mapping[str, Path] | None = None) -> None:
        """Takes a row in hand, and composes its mixture unless a row before had it.

        Raises:
            InvalidArgumentError: It is not a question that can be answered, or vLLM has no such setting.
            PromptTooLongError: The model does not read as many tokens.
            ConstraintRefusedError: No text of this model can be held to what it says.
            AdapterChangedError, AdapterRefusedError, UnknownNameError: An adapter cannot be read.
        """
        if adapters:
            self.bank.ensure(adapters)
        question = self._asking.question(ticket, row)
        require_possible(question, self._asking.architecture.context)
        mixed = self.mixtures.hold(row.recipe)
        kind = Ranked if question.choices else Written
        one = kind(question, mixed, self._ends, self._asking.text)
        try:
            self._ask(one, one.requests())
        except BaseException:
            self._owners = {name: owner for name, owner in self._owners.items() if owner is not one}
            self._llm.abort_request(one.names)
            self.mixtures.let_go(mixed)
            raise
        self._rows[ticket] = one

    def step(self) -> Sequence[Event]:
        """One step of vLLM's own loop, and what came of it."""
        if not self._rows:
            return []
        with watched(self.device):
            heard = self._llm.step()
        events: list[Event] = []
        for name, failure in self.mixtures.fallen().items():
            lost = [ticket for ticket, one in self._rows.items() if one.mixed.name == name]
            events += [self._fail(ticket, failure) for ticket in lost]
        for said in heard:
            one = self._owners.get(said.request_id)
            if one is None:
                continue
            if said.finished:
                del self._owners[said.request_id]
            try:
                told = one.hear(said)
                self._ask(one, one.requests())
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the fault of this row alone
                events.append(self._fail(one.question.ticket, Failure.of(error)))
                continue
            events += told
            if one.done:
                self.abort(one.question.ticket)
        return events

    def _fail(self, ticket: Ticket, failure: Failure) -> Failed:
        self.abort(ticket)
        return Failed(ticket, failure)

    def abort(self, ticket: Ticket) -> None:
        """Lets a row go."""
        one = self._rows.pop(ticket, None)
        if one is None:
            return
        running = [name for name, owner in self._owners.items() if owner is one]
        for name in running:
            del self._owners[name]
        if running:
            self._llm.abort_request(running)
        self.mixtures.let_go(one.mixed)

    def usage(self) -> Usage:
        """What is in hand now; vLLM's own scheduler says what it computes."""
        scheduler = self._scheduler()
        waits = tuple(ticket for ticket, one in self._rows.items() if not one.begun)
        return Usage(
            running=len(self._rows) - len(waits),
            waits=waits,
            used_bytes=int(scheduler.kv_cache_manager.usage * self.budgets.rows),
            room_bytes=self.budgets.rows,
        )

    def _scheduler(self) -> Any:
        llm: Any = self._llm
        return llm.engine_core.engine_core.scheduler

    def _ask(self, one: Written | Ranked, requests: Sequence[Request]) -> None:
        from vllm import SamplingParams  # noqa: PLC0415 - an extra
        from vllm.lora.request import LoRARequest  # noqa: PLC0415
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams  # noqa: PLC0415

        mixed = one.mixed
        lora = (
            None
            if mixed.number is None
            else LoRARequest(mixed.name, mixed.number, self.mixtures.place(mixed))
        )
        for request in requests:
            self._last += 1
            name = str(self._last)
            self._owners[name] = one
            one.names.append(name)
            try:
                kind = RequestOutputKind[request.parameters["output_kind"]]
                held = None
                if (grammar := one.question.grammar) is not None:
                    self._held.put(name, grammar)
                    held = StructuredOutputsParams(grammar=name)
                parameters = SamplingParams(
                    **{**request.parameters, "output_kind": kind}, structured_outputs=held
                )
                self._llm.add_request(
                    name,
                    {"prompt_token_ids": list(request.ids)},
                    parameters,
                    lora_request=lora,
                    # The lowest goes first.
                    priority=-int(one.question.row.urgent),
                )
            except ValueError as error:
                self._held.forget(name)
                raise InvalidArgumentError(f"vLLM refuses it: {error}") from error
