"""Scores choices by log-likelihood; a prompt is computed once, whatever the number of its choices."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from loradex.worker.engine.cache import Store, StoreView, padding_mask
from loradex.worker.engine.forward import Forward
from loradex.worker.engine.questions import Question, slices_by_length
from loradex.worker.engine.rows import Normalization
from loradex.worker.engine.updates import Updates, UpdateSwitch

LOGIT_TOKENS = 512
"""Choice tokens whose logits are held at once; a vocabulary of 50,000 makes that 100 MB in float32."""


LOGSUMEXP_TOKENS = 128
"""Tokens whose logits are summed up at a time."""


@dataclass(frozen=True)
class Scored:
    """Log-likelihood of each choice (natural log, sum over its tokens), and milliseconds by stage."""

    likelihoods: tuple[float, ...]
    timings: dict[str, float]


def normalised(likelihood: float, choice: str, tokens: int, normalization: Normalization) -> float:
    """The score of a choice: its log-likelihood, or that a token, or that a UTF-8 byte."""
    match normalization:
        case "none":
            return likelihood
        case "tokens":
            return likelihood / tokens
        case "bytes":
            return likelihood / len(choice.encode())


class Chooser:
    """Scores the choices of a whole batch.

    All choices of a row follow its prompt in one sequence, each seeing the prompt and itself only (a tree in
    the attention mask, positions counted from the prompt's end), so neither the prompt's keys and values nor
    the row's factors are repeated. Where a model cannot be told what a token sees, each choice has a pass of
    its own behind the same keys and values of the prompt. A choice's last token is only ever a target, so
    one-token choices cost no second pass.

    Args:
        forward: The model.
        switch: Where the wrapped modules find the updates of the rows in hand.
        prefill_tokens: Tokens of one prefill at most, padding included.
    """

    def __init__(self, forward: Forward, switch: UpdateSwitch, prefill_tokens: int) -> None:
        self._forward = forward
        self._switch = switch
        self._prefill_tokens = prefill_tokens

    def score(self, questions: Sequence[Question], updates: Updates | None) -> list[Scored | None]:
        """Scores of questions sorted by length; `updates` has their rows in the same order.

        A group of questions that nobody wants is left out: None.
        """
        scored: list[Scored | None] = []
        for group in slices_by_length(questions, self._prefill_tokens):
            if all(question.unwanted() for question in questions[group]):
                scored += [None] * len(questions[group])
                continue
            scored += self._group(questions[group], updates.rows(group) if updates is not None else None)
        return scored

    def _group(self, questions: Sequence[Question], updates: Updates | None) -> list[Scored]:
        start = time.perf_counter()
        extra = [sum(len(choice) - 1 for choice in question.choices) for question in questions]
        longest = max(len(question.ids) for question in questions)
        store = (
            Store(self._forward.architecture.layers, len(questions), longest + max(extra))
            if max(extra)
            else None
        )
        self._switch.current = updates
        view = StoreView(store, slice(0, len(questions)), 0) if store is not None else None
        logits = self._forward.prompts([question.ids for question in questions], view).float()
        heads = logits - logits.logsumexp(-1, keepdim=True)
        likelihoods = [
            [float(head) for head in heads[row][torch.tensor([choice[0] for choice in question.choices])]]
            for row, question in enumerate(questions)
        ]
        prefilled = time.perf_counter()
        if store is not None:
            step = max(1, LOGIT_TOKENS // max(extra))
            for first in range(0, len(questions), step):
                rows = slice(first, first + step)
                self._switch.current = updates.rows(rows) if updates is not None else None
                self.add_rest(questions[rows], store, rows, longest, likelihoods[rows])
        timings = {"prefill": 1000 * (prefilled - start), "choices": 1000 * (time.perf_counter() - prefilled)}
        return [Scored(tuple(row), timings) for row in likelihoods]

    def add_rest(
        self,
        questions: Sequence[Question],
        store: Store,
        rows: slice,
        columns: int,
        likelihoods: list[list[float]],
    ) -> None:
        """Adds the log-likelihoods of the tokens after each choice's first to those in `likelihoods`.

        The questions' prompts are in these rows of the store and end before column `columns`; the updates in
        force are these rows'.
        """
        rows = slice(rows.start, rows.start + len(questions))
        most = max(len(question.choices) for question in questions)
        together = self._forward.architecture.branches
        for choices in (slice(0, most),) if together else (slice(one, one + 1) for one in range(most)):
            trees = [_Tree.of(question, choices) for question in questions]
            if not any(tree.tokens for tree in trees):
                continue
            lengths = torch.tensor([len(question.ids) for question in questions], device=self._forward.device)
            gains = self._read(trees, lengths, StoreView(store, rows, 0, columns), columns).tolist()
            for row, tree in enumerate(trees):
                for owner, gain in zip(tree.owners, gains[row], strict=False):
                    likelihoods[row][owner] += gain

    def _read(self, trees: Sequence["_Tree"], lengths: Tensor, view: StoreView, columns: int) -> Tensor:
        """Log-likelihoods `[rows, tokens]` of what follows each token of the trees."""
        width = max(len(tree.tokens) for tree in trees)

        def padded(values: list[list[int]], fill: int) -> Tensor:
            return torch.tensor([row + [fill] * (width - len(row)) for row in values], device=lengths.device)

        tokens = padded([tree.tokens for tree in trees], 0)
        owners = padded([tree.owners for tree in trees], -1)
        depths = padded([tree.depths for tree in trees], 0)
        positions = lengths.unsqueeze(1) + depths
        prompt = padding_mask(lengths, columns)
        if self._forward.architecture.branches:
            same = owners.unsqueeze(2) == owners.unsqueeze(1)
            before = depths.unsqueeze(2) >= depths.unsqueeze(1)
            sees = torch.cat([prompt.unsqueeze(1).expand(-1, width, -1), same & before], dim=2)
            logits = self._forward.branches(tokens, sees, positions, prompt.cumsum(1) - 1, view)
        else:
            logits = self._forward.further(tokens, torch.cat([prompt, owners >= 0], dim=1), positions, view)
        return _log_likelihoods(logits.float(), padded([tree.targets for tree in trees], 0))


def _log_likelihoods(logits: Tensor, targets: Tensor) -> Tensor:
    """How likely each target `[rows, tokens]` is, natural log, by `logits` `[rows, tokens, vocabulary]`.

    The logits are used up: a part at a time is worked on where it lies, since fresh memory for all of them
    costs more than the arithmetic.
    """
    flat, wanted = logits.flatten(0, 1), targets.flatten().unsqueeze(1)
    parts = [slice(first, first + LOGSUMEXP_TOKENS) for first in range(0, len(flat), LOGSUMEXP_TOKENS)]
    found = [flat[part].gather(1, wanted[part]).squeeze(1) - _logsumexp(flat[part]) for part in parts]
    return torch.cat(found).view(targets.shape)


def _logsumexp(logits: Tensor) -> Tensor:
    top = logits.amax(-1)
    return top + logits.sub_(top.unsqueeze(-1)).exp_().sum(-1).log()


@dataclass(frozen=True)
class _Tree:
    """Choices of one row end to end, without their last tokens: what to read, and what should follow."""

    tokens: list[int]
    targets: list[int]
    owners: list[int]
    depths: list[int]

    @classmethod
    def of(cls, question: Question, choices: slice) -> "_Tree":
        steps = [
            (choice[depth], choice[depth + 1], owner, depth)
            for owner, choice in list(enumerate(question.choices))[choices]
            for depth in range(len(choice) - 1)
        ]
        return cls(*([step[part] for step in steps] for part in range(4)))
