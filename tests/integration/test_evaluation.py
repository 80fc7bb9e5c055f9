"""`loradex eval` over a tiny model and an adapter it has just been given."""

import json
from pathlib import Path

import pytest

from db.errors import ExampleFileError, InvalidArgumentError, UnknownNameError
from evaluation.methods import Adapters, method_of
from evaluation.questions import Question, read_questions
from evaluation.report import lines, markdown
from evaluation.run import Plan, Record, evaluate
from library.cards import load_cards
from tests.fix_models import byte_tokenizer, save_adapter, tiny_model
from tests.fix_training import colours, echoes
from worker.engine.engine import Engine

FRAME = "{prompt}\nAnswer:"


@pytest.fixture
def tests_of_both(workshop: Path) -> Path:
    for name, make in (("colours", colours), ("echoes", echoes)):
        rows = "".join(json.dumps(make(number)) + "\n" for number in range(100, 112))
        (workshop / "data" / f"{name}.test.jsonl").write_text(rows)
    model = tiny_model("llama")
    for seed, task in enumerate(("colours", "echoes")):
        save_adapter(
            model, workshop / "adapters" / task, seed, r=2, lora_alpha=40, target_modules=["v_proj", "o_proj"]
        )
    return workshop


def plan(workshop: Path, **changes: object) -> Plan:
    fields = {
        "cards": load_cards(workshop / "cards"),
        "data": workshop / "data",
        "methods": ("base", "own"),
        "limit": None,
        "frame": FRAME,
    }
    return Plan(**(fields | changes))  # type: ignore[arg-type]


def engine() -> Engine:
    return Engine(tiny_model("llama"), byte_tokenizer(), bank_bytes=8 << 20)


def silent(_name: str, _asked: int, _rows: int) -> None:
    pass


def test_every_task_and_method_has_a_cell_and_own_is_not_base(tests_of_both: Path) -> None:
    adapters = Adapters.below(tests_of_both / "adapters")
    subject = engine()
    cells = list(evaluate(plan(tests_of_both), subject, adapters, Record(None), silent))
    assert [(cell.task, cell.method, cell.n) for cell in cells] == [
        ("colours", "base", 12),
        ("colours", "own", 12),
        ("echoes", "base", 12),
        ("echoes", "own", 12),
    ]
    assert cells[1].adapter == adapters.of_task["colours"]
    question = next(iter(_questions(tests_of_both, subject)))
    rows = [
        question.row(FRAME, method_of(name, "float32", adapters).recipe(question)) for name in ("base", "own")
    ]
    base, own = subject.answer(rows)
    assert base.scores != own.scores  # type: ignore[union-attr]


def _questions(workshop: Path, subject: Engine) -> list[Question]:
    card = load_cards(workshop / "cards")["colours"]
    return read_questions(workshop / "data", card, lambda text: len(subject.text.prompt(text)), 3)


def test_what_is_on_record_is_not_measured_again(tests_of_both: Path) -> None:
    adapters = Adapters.below(tests_of_both / "adapters")
    record = tests_of_both / "cells.jsonl"
    first = list(evaluate(plan(tests_of_both, limit=5), engine(), adapters, Record(record), silent))
    for file in (tests_of_both / "data").glob("*.test.jsonl"):
        file.unlink()
    again = list(evaluate(plan(tests_of_both, limit=5), engine(), adapters, Record(record), silent))
    assert again == first
    with pytest.raises(InvalidArgumentError, match=r"colours\.test\.jsonl: no such file"):
        list(evaluate(plan(tests_of_both, limit=6), engine(), adapters, Record(record), silent))


def test_a_bad_row_an_unknown_method_and_a_missing_adapter_are_refused(tests_of_both: Path) -> None:
    adapters = Adapters.below(tests_of_both / "adapters")
    with pytest.raises(UnknownNameError, match="no method 'best'"):
        list(evaluate(plan(tests_of_both, methods=("best",)), engine(), adapters, Record(None), silent))
    with pytest.raises(UnknownNameError, match="no adapter for the task colours"):
        list(
            evaluate(plan(tests_of_both, methods=("own",)), engine(), Adapters({}, {}), Record(None), silent)
        )
    (tests_of_both / "data" / "colours.test.jsonl").write_text("[]\n")
    with pytest.raises(ExampleFileError, match=r"colours\.test\.jsonl:1"):
        list(evaluate(plan(tests_of_both), engine(), adapters, Record(None), silent))


def test_the_table_has_a_line_a_task_and_the_mean(tests_of_both: Path) -> None:
    adapters = Adapters.below(tests_of_both / "adapters")
    cells = list(evaluate(plan(tests_of_both), engine(), adapters, Record(None), silent))
    table = lines(cells, ("base", "own"))
    assert [row[0] for row in table] == ["colours", "echoes", "mean of 2"]
    assert float(table[-1][2]) == pytest.approx(50 * (cells[0].score + cells[2].score), abs=0.06)
    assert markdown(cells, ("base", "own")).splitlines()[0] == "| task | n | base | own |"
