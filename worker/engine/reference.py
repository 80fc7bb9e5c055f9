"""What the plain model says to a few tokens, asked before it is wrapped; the engine must say the same."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from loradex.errors import ModelRefusedError
from loradex.worker.engine.architecture import Architecture
from loradex.worker.engine.cache import Store, StoreView, padding_mask
from loradex.worker.engine.choose import Chooser
from loradex.worker.engine.forward import Forward
from loradex.worker.engine.layout import Layout, Shape
from loradex.worker.engine.modules import device_of, linear_modules
from loradex.worker.engine.questions import Question
from loradex.worker.engine.recipe import Recipe
from loradex.worker.engine.rows import Row
from loradex.worker.engine.shared import SharedFactors
from loradex.worker.engine.updates import RowFactors, UpdateSwitch

TOKENS: Final = 5
PROMPTS: Final = (2, 3)
"""Tokens of each row's prompt; the rest of its tokens is its choice."""
TOLERANCE: Final = {torch.float32: 1e-3}
ROUGH_TOLERANCE: Final = 0.5
"""By how much logits may differ in the short dtypes, as a share; rounding alone makes 0.11 of SmolLM2's."""
NOBODY: Final = Row("", Recipe("cat", 1.0, "float32", ()))


class Reference:
    """Two rows of equal length, each with a random mixture, in one plain pass: no padding, no cache, no wrapper.

    Args:
        model: A causal language model whose modules are its own still.
        architecture: How it reads.
        rough: Whether its modules round what they read, whatever it computes in.

    Attributes:
        token_bytes: Bytes of keys and values that one token of a row takes.
    """

    def __init__(self, model: Any, architecture: Architecture, *, rough: bool = False) -> None:
        self._model = model
        self._tolerance = ROUGH_TOLERANCE if rough else TOLERANCE.get(model.dtype, ROUGH_TOLERANCE)
        self._architecture = architecture
        self._dtype: torch.dtype = model.dtype
        self._numbers = torch.Generator().manual_seed(0)
        vocabulary = model.get_input_embeddings().weight.shape[0]
        ids = torch.randint(min(1000, vocabulary), (len(PROMPTS), TOKENS), generator=self._numbers)
        self._ids: list[tuple[int, ...]] = [tuple(row) for row in ids.tolist()]
        self._factors: dict[str, tuple[Tensor, Tensor]] = {}
        self._logits = torch.empty(0)
        self.token_bytes = 0

    @torch.inference_mode()
    def ask(self) -> None:
        """Asks the plain model.

        Raises:
            ModelRefusedError: It breaks, or what it says is NaN or infinite.
        """
        model, family = self._model, self._architecture.family
        hooks = [
            model.get_submodule(name).register_forward_hook(partial(self._change, name))
            for name in linear_modules(model)
        ]
        try:
            self._logits = model(input_ids=torch.tensor(self._ids, device=device_of(model))).logits.float()
        except Exception as error:
            raise ModelRefusedError(
                f"{family} cannot be answered with: transformers' own first answer ended in "
                f"{type(error).__name__}: {error}"
            ) from error
        finally:
            for hook in hooks:
                hook.remove()
        if not torch.isfinite(self._logits).all():
            raise ModelRefusedError(
                f"{family} answers a few tokens with NaN or infinity in {self._dtype}; load it "
                "in float32 (LORADEX_DTYPE), or look whether its files are whole"
            )

    def _change(self, name: str, _: nn.Module, given: Any, out: Any) -> Tensor | None:
        """What a module answers with a random update of rank 1 for each row."""
        x: Tensor = given[0]
        if not isinstance(out, Tensor) or x.dim() != 3 or len(x) != len(PROMPTS):  # noqa: PLR2004
            return None  # a router, or an expert that is given tokens without their rows
        if name not in self._factors:
            a = torch.randn(len(x), 1, x.shape[-1], generator=self._numbers) / x.shape[-1] ** 0.5
            b = torch.randn(len(x), 1, out.shape[-1], generator=self._numbers) / 20
            self._factors[name] = (a.to(x.device, x.dtype), b.to(x.device, x.dtype))
        a, b = self._factors[name]
        return out + torch.bmm(torch.bmm(x, a.transpose(1, 2)), b).to(out.dtype)

    @torch.inference_mode()
    def require(self, shapes: Mapping[str, Shape], forward: Forward, switch: UpdateSwitch) -> None:
        """Asks the engine's parts the same; from then on `token_bytes` is known.

        Raises:
            ModelRefusedError: They break, or say something else.
        """
        family = self._architecture.family
        try:
            difference = self._difference(shapes, forward, switch)
        except Exception as error:
            raise ModelRefusedError(
                f"{family} cannot be answered with: a first question ended in {type(error).__name__}: {error}"
            ) from error
        finally:
            switch.current = None
        if not difference <= self._tolerance:
            raise ModelRefusedError(
                f"{family} is not answered exactly: a first question with a mixture differs by "
                f"{difference:.1%} from what transformers says; use a base model of another family"
            )

    def _difference(self, shapes: Mapping[str, Shape], forward: Forward, switch: UpdateSwitch) -> float:
        """How much logits and likelihoods differ at most, as a share.

        Those after the prompts and after one token more, with merged factors, and those of the rows' own tokens
        beside another choice, with shared factors.
        """
        layout = Layout(1, {name: shape for name, shape in shapes.items() if name in self._factors})
        planes = {
            width: torch.stack([self._factors[layout.modules[index]][side == "B"] for index, side in planes])
            for width, planes in layout.planes.items()
        }
        device, rows, columns = forward.device, slice(0, len(PROMPTS)), max(PROMPTS)
        lengths = torch.tensor(PROMPTS, device=device)
        questions = [
            Question(row, NOBODY, ids[:length], (self._ids[row - 1][:2], ids[length:]))
            for row, (ids, length) in enumerate(zip(self._ids, PROMPTS, strict=True))
        ]
        store = Store(self._architecture.layers, len(PROMPTS), columns + TOKENS)

        switch.current = RowFactors(layout, planes)
        first = forward.prompts([question.ids for question in questions], StoreView(store, rows, 0))
        following = torch.tensor([question.choices[1][0] for question in questions], device=device)
        mask = pad(padding_mask(lengths, columns), (0, 1), value=True)
        second = forward.step(following, mask, lengths, StoreView(store, rows, 0, columns))
        places = torch.arange(len(PROMPTS), device=device).unsqueeze(1)
        ones = torch.ones(len(layout.modules), len(PROMPTS), 1, device=device)
        switch.current = SharedFactors(layout, planes, range(len(PROMPTS)), places, ones)
        rest = [[0.0, 0.0] for _ in questions]
        chooser = Chooser(forward)
        for part in chooser.parts(questions):
            for row, choice, gain in chooser.gains(questions, part, store, columns):
                rest[row][choice] += gain
        self.token_bytes = store.token_bytes

        likely = self._logits.log_softmax(-1)
        differences = []
        for row, (ids, length) in enumerate(zip(self._ids, PROMPTS, strict=True)):
            differences += [
                _apart(ours[row].float(), self._logits[row, place])
                for ours, place in ((first, length - 1), (second, length))
            ]
            wanted = sum(float(likely[row, place - 1, ids[place]]) for place in range(length + 1, TOKENS))
            differences.append(abs(rest[row][1] - wanted) / max(1.0, abs(wanted)))
        # NaN would be lost in a maximum.
        return max(differences) if all(map(math.isfinite, differences)) else math.inf


def _apart(ours: Tensor, theirs: Tensor) -> float:
    """How far logits are apart, as a share of how much they vary."""
    return float((ours - theirs).norm() / (theirs - theirs.mean()).norm())
