"""The forms in which people have examples, each turned into ours; the task card fills in what a row leaves out.

The rules are on the page library/README.md: what counts as the prompt, as the answer, as a choice. Keys that are
neither ours nor fields of the card are left alone.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from loradex.library.cards import TaskCard
from loradex.library.examples import Example, outside

ANSWERS: Final = ("completion", "answer", "response", "output", "target")
"""How a row names its answer where it has no `label` and no `answers`; the first that is there counts."""
ID_DIGITS: Final = 16
LABEL_DIGITS: Final = 9
UNNAMED: Final = "unnamed"
"""Id of a row without one, until its content gives it one."""


def content_id(example: Example) -> str:
    """An id for a row without one: the same for the same row, wherever it stands in its file."""
    content = repr((sorted(example.fields.items()), example.choices, example.answers))
    return f"{example.task}-{hashlib.sha256(content.encode()).hexdigest()[:ID_DIGITS]}"


class FormError(ValueError):
    """A row cannot be brought into our form; the text says why."""


def in_our_form(row: Mapping[str, Any], card: TaskCard) -> dict[str, Any]:
    """The row with all of our keys, for `Example` to check.

    Raises:
        FormError: Prompt, answer or choices are missing, or do not fit the card.
    """
    told = _chat(row) if "messages" in row else dict(row)
    fields = _fields(told, card)
    choices = _choices(told, card)
    answer = next((told[name] for name in ANSWERS if isinstance(told.get(name), str)), None)
    label, answers = told.get("label"), told.get("answers")
    if isinstance(answers, str):
        answers = [answers]
    if choices is not None:
        label = _label(
            label if label is not None else answer if answer is not None else answers, choices, card
        )
        answers = answers or _chosen(choices, label)
        if isinstance(choices, list) and type(label) is int and not 0 <= label < len(choices):
            raise FormError(outside(label, len(choices)))
    elif answers is None and answer is not None:
        answers = [answer]
    made = {
        "id": UNNAMED if told.get("id") is None else told["id"],
        "task": card.name,
        "family": told.get("family") or card.family,
        "fields": fields,
        "choices": choices,
        "label": label if choices is not None else None,
        "answers": answers,
    }
    if made["answers"] is None and choices is None:
        raise FormError(f"no answer: give answers, {', '.join(ANSWERS)} or messages")
    return made


def _fields(row: Mapping[str, Any], card: TaskCard) -> Any:
    """`fields`, or the card's fields as keys of the row, or `prompt` where the card has one field."""
    if "fields" in row:
        return row["fields"]
    names = card.field_names
    if all(name in row for name in names):
        return {name: row[name] for name in sorted(names)}
    if "prompt" in row and len(names) == 1:
        return {next(iter(names)): row["prompt"]}
    missing = sorted(name for name in names if name not in row)
    raise FormError(f"no {' and no '.join(missing)}: the prompt of task {card.name} is made of it")


def _choices(row: Mapping[str, Any], card: TaskCard) -> Any:
    """The row's own; else the card's labels, in its order."""
    if card.choices is None:
        return row.get("choices") or None
    given = row.get("choices")
    if given is None and card.choices.kind == "labels":
        return list(card.choices.words)
    if given is None:
        raise FormError(f"no choices: each example of task {card.name} has its own")
    return given


def _label(said: Any, choices: Any, card: TaskCard) -> Any:
    """Place of the right choice: said by its number, its text, or the word the card has for it."""
    if said is None:
        raise FormError(f"no label: say which choice is right, by label or {', '.join(ANSWERS)}")
    if isinstance(said, list) and said:
        said = said[0]
    if not isinstance(said, str) or not isinstance(choices, list):
        return said
    words = card.choices.words if card.choices is not None else {}
    wanted = said.strip()
    for place, choice in enumerate(choices):
        if isinstance(choice, str) and wanted in {choice.strip(), words.get(choice)}:
            return place
    if wanted.isdecimal() and len(wanted) <= LABEL_DIGITS:
        return int(wanted)
    raise FormError(f"{wanted[:100]!r} is not one of its choices: {', '.join(map(str, choices))[:300]}")


def _chat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Prompt and completion of a chat: the last message is the answer, those before it are the prompt."""
    messages = row["messages"]
    if not isinstance(messages, Sequence) or isinstance(messages, str) or len(messages) < 2:  # noqa: PLR2004
        raise FormError("messages: a question and an answer are needed, each with role and content")
    texts = []
    for message in messages:
        if not isinstance(message, Mapping) or not isinstance(message.get("content"), str):
            raise FormError("messages: each needs a role and a content that is text")
        texts.append(message["content"])
    if messages[-1].get("role") != "assistant":
        raise FormError("messages: the last one must be the assistant's")
    return {**row, "prompt": "\n\n".join(texts[:-1]), "completion": texts[-1]}


def _chosen(choices: Any, label: Any) -> Any:
    fits = isinstance(choices, list) and type(label) is int and 0 <= label < len(choices)
    return [choices[label]] if fits else None
