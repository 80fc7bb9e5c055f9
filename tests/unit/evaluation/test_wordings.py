"""Tasks that nobody trained for, in several wordings."""

from pathlib import Path

import pytest

from loradex.errors import TaskCardError
from loradex.evaluation.questions import question_of
from loradex.evaluation.wordings import load_wordings, wording_of
from loradex.library.examples import Example

CARD = """
name = "{name}"
family = "talk"
metric = "accuracy"

[wordings.flan]
prompt = {prompt}
choices.kind = "options"
"""


def test_every_unseen_task_is_asked_in_three_wordings_one_of_which_lists_its_options() -> None:
    cards = load_wordings()
    tasks = {card.name for card in cards.values()}
    assert len(tasks) == 12
    assert set(cards) == {f"{task}.{wording}" for task in tasks for wording in ("card", "flan", "chat")}
    for name, card in cards.items():
        assert (wording_of(name) == "flan") == ("OPTIONS:" in card.prompt)
        if card.choices is not None and card.choices.kind == "labels" and wording_of(name) == "flan":
            for word in card.choices.words.values():
                assert f"- {word}" in card.prompt
    assert wording_of("snli") == ""


def test_an_example_s_own_options_are_listed(tmp_path: Path) -> None:
    (tmp_path / "riddle.toml").write_text(CARD.format(name="riddle", prompt='"{ask}\\nOPTIONS:\\n{options}"'))
    (card,) = load_wordings(tmp_path).values()
    fields = {"id": "1", "task": "riddle", "family": "talk", "choices": ["a cat", "a dog"], "label": 1}
    example = Example(fields={"ask": "Who barks?"}, answers=["a dog"], **fields)  # type: ignore[arg-type]
    question = question_of(example, card, len)
    assert question.prompt == "Who barks?\nOPTIONS:\n- a cat\n- a dog"
    told = example.model_copy(update={"fields": {"ask": "Who?", "options": "either"}})
    assert question_of(told, card, len).prompt == "Who?\nOPTIONS:\neither"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "not a task in wordings"),
        ('name = "riddle"\nfamily = "talk"\nmetric = "accuracy"\nwordings = {}\n', "not a task in wordings"),
        (CARD.format(name="other", prompt='"{ask}"'), "name and file must agree"),
        (CARD.format(name="riddle", prompt='"no field"'), "not a task in wordings"),
    ],
)
def test_a_file_that_is_none_is_refused_by_its_name(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "riddle.toml").write_text(text)
    with pytest.raises(TaskCardError, match=message):
        load_wordings(tmp_path)


def test_a_directory_without_tasks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskCardError, match="no task in wordings"):
        load_wordings(tmp_path)
