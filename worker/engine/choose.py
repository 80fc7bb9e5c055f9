"""Scores choices by log-likelihood; a prompt is computed once, whatever the number of its choices."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from loradex.worker.engine.cache import Store, StoreView, padding_mask
from loradex.worker.engine.forward import Forward
from loradex.worker.engine.questions import Question
from loradex.worker.engine.rows import Normalization

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
    """Adds up the log-likelihoods of choices behind prompts that are read already.

    All choices of a row follow its prompt in one sequence, each seeing the prompt and itself only (a tree in
    the attention mask, positions counted from the prompt's end), so neither the prompt's keys and values nor
    the row's factors are repeated. Where a model cannot be told what a token sees, each choice has a pass of
    its own behind the same keys and values of the prompt. A choice's last token is only ever a target, so
    one-token choices cost no second pass.

    Args:
        forward: The model.
    """

    def __init__(self, forward: Forward) -> None:
        self._forward = forward

    def parts(self, questions: Sequence[Question]) -> list["Part"]:
        """How the tokens after each choice's first are read: so many at a time that their logits can be held."""
        extra = [sum(len(choice) - 1 for choice in question.choices) for question in questions]
        if not max(extra):
            return []
        step = max(1, LOGIT_TOKENS // max(extra))
        parts = []
        for first in range(0, len(questions), step):
            rows = slice(first, min(first + step, len(questions)))
            parts += [Part(rows, choices) for choices in self._runs(questions[rows])]
        return parts

    def _runs(self, questions: Sequence[Question]) -> list[slice]:
        """Runs of choices that are read at once."""
        most = max(len(question.choices) for question in questions)
        if not self._forward.architecture.branches:
            return [slice(one, one + 1) for one in range(most)]
        if len(questions) > 1:
            return [slice(0, most)]
        runs, first, tokens = [], 0, 0
        for place, choice in enumerate(questions[0].choices):
            if tokens and tokens + len(choice) - 1 > LOGIT_TOKENS:
                runs.append(slice(first, place))
                first, tokens = place, 0
            tokens += len(choice) - 1
        return [*runs, slice(first, most)]

    def gains(
        self, questions: Sequence[Question], part: "Part", store: Store, columns: int
    ) -> Iterator[tuple[int, int, float]]:
        """What each choice of a part gains by its tokens after the first, as (row, choice, natural log).

        The questions' prompts are in their rows of the store and end before column `columns`; the updates in
        force are those of the part's rows.
        """
        rows = range(*part.rows.indices(len(questions)))
        trees = [_Tree.of(questions[row], part.choices) for row in rows]
        if not any(tree.tokens for tree in trees):
            return
        lengths = torch.tensor([len(questions[row].ids) for row in rows], device=self._forward.device)
        found = self._read(trees, lengths, StoreView(store, part.rows, 0, columns), columns).tolist()
        for place, (row, tree) in enumerate(zip(rows, trees, strict=True)):
            for owner, gain in zip(tree.owners, found[place], strict=False):
                yield row, owner, gain

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
class Part:
    """Some rows of a group, and some of their choices."""

    rows: slice
    choices: slice


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
