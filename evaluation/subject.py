"""One task as it is asked, and the jobs its questions are."""

from collections.abc import Sequence
from dataclasses import dataclass

from loradex.errors import UnknownNameError
from loradex.evaluation.plan import UNSEEN, Case
from loradex.evaluation.questions import Question
from loradex.library.cards import TaskCard
from loradex.library.vectors import Vectors
from loradex.service.client.request import NOTHING_OF_THE_MODEL, Request


@dataclass(frozen=True)
class Subject:
    """One task as it is asked.

    Attributes:
        card: The task.
        questions: Its rows.
        vectors: Of their prompts, float32 `[dimensions]` each.
        adapters: Names of the task's active adapters; the first is its own.
    """

    card: TaskCard
    questions: Sequence[Question]
    vectors: Sequence[Vectors]
    adapters: Sequence[str]

    def exclusions(self, case: Case) -> dict[str, tuple[str, ...]]:
        """What these questions may not use in the case's setting."""
        return case.exclusions(self.card.name, self.adapters)

    def requests(self, case: Case, *, written: bool) -> list[Request]:
        """A job for each question; with `written` the model writes, though there are choices.

        What is written is the likeliest text, whatever the base model's own defaults are.

        Raises:
            UnknownNameError: `own` is asked and the task has no adapter.
        """
        fixed = case.options.given() | self.exclusions(case) | {"method": case.method}
        if case.setting != UNSEEN:
            fixed["expected_task"] = self.card.name
        if case.method == "own":
            if not self.adapters:
                raise UnknownNameError(
                    f"no active adapter for the task {self.card.name}; train one with `loradex train`"
                )
            fixed["adapter"] = self.adapters[0]
        return [
            Request.of(
                fixed
                | {"prompt": question.prompt}
                | (
                    {"choices": question.choices, "normalization": question.normalization}
                    if question.choices and not written
                    else {"max_new_tokens": question.max_new_tokens, **NOTHING_OF_THE_MODEL}
                )
            )
            for question in self.questions
        ]
