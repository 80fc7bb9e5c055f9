"""`loradex eval` on a stocked database, a tiny model and a worker that runs."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path

import pytest
from psycopg.types.json import Jsonb

from loradex.db.session import connect
from loradex.errors import EvaluationFailedError, InvalidArgumentError, UnknownNameError
from loradex.evaluation.cells import Cell, read_cells
from loradex.evaluation.commands.tune import tune
from loradex.evaluation.defaults import change_default, read_defaults
from loradex.evaluation.methods import ALL, JOB_METHODS, METHODS, chosen_methods
from loradex.evaluation.plan import IN_DOMAIN, OOD, SEMI_OOD, TRAINED, Options, Plan
from loradex.evaluation.rows import drawn, read_rows, row_hash
from loradex.evaluation.session import Session
from loradex.evaluation.side_by_side import NAME
from loradex.library.cards import TaskCard
from loradex.service.cli import run
from loradex.worker.engine.engine import Engine
from loradex.worker.settings import WorkerSettings


def a_plan(exam: Path, cards: dict[str, TaskCard], **changes: object) -> Plan:
    fields = {
        "cards": cards,
        "data": exam / "data",
        "settings": TRAINED,
        "methods": ("base", "own", "cat"),
        "limit": None,
    }
    return Plan(**(fields | changes))  # type: ignore[arg-type]


def measure(
    settings: WorkerSettings,
    plan: Plan,
    record: Path | None = None,
    *,
    in_process: bool = True,
    processes: int = 1,
) -> list[Cell]:
    with Session(settings, plan, record, in_process=in_process) as session:
        return list(session.cells(lambda _name, _done: None, processes))


def figures(cells: Sequence[Cell]) -> list[Cell]:
    """The cells without what a clock says and who asked, and as rounded as sums of unequal order are."""
    return [
        replace(
            cell,
            seconds=0.0,
            origin=replace(cell.origin, mode=None),
            mixture={name: round(weight, 4) for name, weight in cell.mixture.items()},
            tasks={name: round(mass, 4) for name, mass in cell.tasks.items()},
            own_mass=cell.own_mass and round(cell.own_mass, 4),
            family_mass=cell.family_mass and round(cell.family_mass, 4),
        )
        for cell in cells
    ]


def by_case(cells: Sequence[Cell]) -> dict[tuple[str, str, str], Cell]:
    return {(cell.setting, cell.method, cell.task): cell for cell in cells}


def test_in_process_and_as_jobs_agree(
    exam: Path, exam_cards: dict[str, TaskCard], exam_settings: WorkerSettings
) -> None:
    plan = a_plan(exam, exam_cards, methods=JOB_METHODS, generated=True, limit=2)
    here = measure(exam_settings, plan, exam_settings.home / "a.jsonl")
    there = measure(exam_settings, plan, exam_settings.home / "b.jsonl", in_process=False)
    assert figures(here) == figures(there)


def test_what_is_excluded_takes_no_part(
    exam: Path, exam_cards: dict[str, TaskCard], exam_settings: WorkerSettings
) -> None:
    cells = by_case(measure(exam_settings, a_plan(exam, exam_cards, methods=METHODS)))
    for method in METHODS:
        if method in {"base", "own"}:
            continue
        for task in exam_cards:
            own = f"tiny-{task}"
            assert own not in cells[SEMI_OOD, method, task].mixture
            assert own not in cells[OOD, method, task].mixture
            assert sum(cells[OOD, method, task].mixture.values()) == pytest.approx(1, abs=1e-4)
            assert task not in cells[OOD, method, task].tasks
    for task in exam_cards:
        assert cells[IN_DOMAIN, "own", task].mixture == {f"tiny-{task}": 1.0}
        assert cells[IN_DOMAIN, "base", task].mixture == {}
        assert cells[SEMI_OOD, "cat", task].tasks == cells[IN_DOMAIN, "cat", task].tasks
        assert cells[IN_DOMAIN, "cat", task].own_mass == pytest.approx(
            cells[IN_DOMAIN, "cat", task].tasks[task], abs=1e-4
        )


def test_routing_leaves_nothing_behind(
    exam: Path, exam_cards: dict[str, TaskCard], exam_settings: WorkerSettings
) -> None:
    url = exam_settings.database_url.get_secret_value()  # type: ignore[union-attr]
    with connect(url) as connection:
        count = (
            "select (select count(*) from loradex.jobs), (select count(*) from loradex.example_embeddings)"
        )
        before = connection.execute(count).fetchone()
        measure(exam_settings, a_plan(exam, exam_cards, methods=("cat", "centroid"), held_out=True))
        assert connection.execute(count).fetchone() == before


def test_held_out_rows_are_out_of_the_index(
    exam: Path, exam_cards: dict[str, TaskCard], exam_settings: WorkerSettings
) -> None:
    """All stocked examples of a task are asked, so none of them is left to vote."""
    one = {"weather": exam_cards["weather"]}
    plan = a_plan(exam, one, settings=(IN_DOMAIN,), methods=("cat",), held_out=True)
    (cell,) = measure(exam_settings, plan)
    assert cell.n == 4
    assert set(cell.tasks) == {"kitchen", "garden"}


def test_a_row_that_is_asked_hides_no_row_of_another_task_that_has_its_id(
    exam: Path, exam_cards: dict[str, TaskCard], exam_settings: WorkerSettings, tmp_path: Path
) -> None:
    """Weather's rows are asked under ids of the kitchen's, which are unique within a task alone."""
    lines = (exam / "data" / "weather.train.jsonl").read_text().replace('"weather-', '"kitchen-')
    (tmp_path / "weather.train.jsonl").write_text(lines)
    one = {"weather": exam_cards["weather"]}
    plan = a_plan(exam, one, data=tmp_path, settings=(IN_DOMAIN,), methods=("cat",), held_out=True)
    (cell,) = measure(exam_settings, plan)
    assert "kitchen" in cell.tasks


def asked(settings: WorkerSettings, plan: Plan, task: str) -> list[str]:
    """Ids of the rows that the task is asked."""
    with Session(settings, plan, None, in_process=True) as session:
        return [row.id for row in session.asked(plan.cards[task])]


def test_of_a_file_in_order_of_its_labels_held_out_rows_are_drawn_and_test_rows_are_the_first(
    exam: Path, exam_cards: dict[str, TaskCard], exam_settings: WorkerSettings, tmp_path: Path
) -> None:
    for kind in ("train", "test"):
        rows = [
            f"{label}-{row},does {row} stand?,wrong|right,{label}" for label in (0, 1) for row in range(20)
        ]
        (tmp_path / f"weather.{kind}.csv").write_text("\n".join(["id,text,choices,label", *rows]) + "\n")
    plan = a_plan(exam, exam_cards, data=tmp_path, limit=10)
    some = asked(exam_settings, replace(plan, held_out=True), "weather")
    assert {row[0] for row in some} == {"0", "1"}
    assert some == asked(exam_settings, replace(plan, held_out=True), "weather")
    assert asked(exam_settings, plan, "weather") == [f"0-{row}" for row in range(10)]


def test_held_out_rows_are_not_those_that_made_the_affinities(
    exam: Path,
    exam_cards: dict[str, TaskCard],
    exam_settings: WorkerSettings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Affinities of two rows of a task's four: two others are left to ask, and of a third it is said."""
    data = ["--data", str(exam / "data"), "--cards", str(exam / "cards"), "--task", "kitchen"]
    assert run(["library", "affinities", *data, "--rows", "2", "--again"]) == 0
    one = {"kitchen": exam_cards["kitchen"]}
    plan = a_plan(exam, one, settings=(IN_DOMAIN,), methods=("cat",), held_out=True, limit=2)
    measured = {row.id for row in drawn(read_rows(exam / "data" / "kitchen.train.jsonl", one["kitchen"]), 2)}
    assert not measured & set(asked(exam_settings, plan, "kitchen"))
    assert len(measured & set(asked(exam_settings, replace(plan, limit=3), "kitchen"))) == 1
    for rows, told in ((2, False), (3, True)):
        capsys.readouterr()
        tune(
            data=exam / "data",
            task=["kitchen"],
            rows=rows,
            setting=IN_DOMAIN,
            store=False,
            cards=exam / "cards",
        )
        said = " ".join(capsys.readouterr().err.split())
        assert ("affinities were not measured on: kitchen (1 of 3); there" in said) == told


@contextmanager
def trained_on(settings: WorkerSettings, task: str, rows: Mapping[str, str]) -> Iterator[None]:
    """The card of a task's adapter says that it was trained on these rows; id → hash."""
    change = "update loradex.adapters set card = %s where task = %s returning 1"
    with connect(settings.database_url.get_secret_value()) as connection:  # type: ignore[union-attr]
        connection.execute("set session_replication_role = replica")
        ((before,),) = connection.execute("select card from loradex.adapters where task = %s", (task,))
        card = {**(before or {}), "started_from": {"data": {"training": dict(rows)}}}
        connection.execute(change, (Jsonb(card), task))
        try:
            yield
        finally:
            connection.execute(change, (None if before is None else Jsonb(before), task))


def renamed(exam: Path, directory: Path) -> Path:
    """The kitchen's training rows under other ids than those in the database and in cards."""
    text = (exam / "data" / "kitchen.train.jsonl").read_text().replace('"kitchen-', '"renamed-')
    (directory / "kitchen.train.jsonl").write_text(text)
    return directory


def test_a_row_that_was_trained_on_is_known_by_its_text_too(
    exam: Path, exam_cards: dict[str, TaskCard], exam_settings: WorkerSettings, tmp_path: Path
) -> None:
    card = exam_cards["kitchen"]
    rows = read_rows(exam / "data" / "kitchen.train.jsonl", card)
    hashes = [row_hash(row, card) or "" for row in rows]
    plan = a_plan(exam, {"kitchen": card}, data=renamed(exam, tmp_path), held_out=True)
    assert len(asked(exam_settings, plan, "kitchen")) == len(rows)
    with trained_on(
        exam_settings, "kitchen", {"anything": hashes[0][:16], rows[1].id: "0" * 16, "short": ""}
    ):
        left = {name.removeprefix("renamed") for name in asked(exam_settings, plan, "kitchen")}
        by_id = asked(exam_settings, replace(plan, data=exam / "data"), "kitchen")
    assert left == {row.id.removeprefix("kitchen") for row in rows[1:]}
    assert set(by_id) == {row.id for row in rows[2:]}


def test_a_row_that_is_asked_is_out_of_the_index_by_whatever_id_it_lies_there(
    exam: Path, exam_cards: dict[str, TaskCard], exam_settings: WorkerSettings, tmp_path: Path
) -> None:
    """All stocked examples of the kitchen are asked, as the database has them but for their ids."""
    url = exam_settings.database_url.get_secret_value()  # type: ignore[union-attr]
    with connect(url) as connection:
        stocked = dict(
            connection.execute(
                "select prompt, target from loradex.examples where task = 'kitchen'"
            ).fetchall()
        )
    lines = [json.loads(line) for line in (exam / "data" / "kitchen.train.jsonl").read_text().splitlines()]
    (tmp_path / "kitchen.train.jsonl").write_text(
        "".join(
            json.dumps(line | {"id": f"renamed-{number}", "answers": [stocked[line["fields"]["text"]]]})
            + "\n"
            for number, line in enumerate(lines)
        )
    )
    open_card = exam_cards["garden"].model_copy(update={"name": "kitchen"})
    plan = a_plan(exam, {"kitchen": open_card}, data=tmp_path, settings=(IN_DOMAIN,), methods=("cat",))
    (cell,) = measure(exam_settings, replace(plan, held_out=True))
    assert "kitchen" not in cell.tasks


def test_adapters_whose_rows_nobody_knows_are_named_once(
    exam: Path, exam_settings: WorkerSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "cards that do not say which rows their adapter was trained on: "
    with trained_on(exam_settings, "kitchen", {"a": "b"}):
        data = ["--data", str(exam / "data"), "--cards", str(exam / "cards"), "--task", "garden"]
        assert run(["library", "affinities", *data, "--rows", "1"]) == 0
        told = " ".join(capsys.readouterr().err.split())
        assert f"{said}tiny-garden, tiny-weather; it may have seen" in told
        assert run(["eval", *data, "--sweep", "--method", "cat", "--limit", "1", "--json"]) == 0
        assert " ".join(capsys.readouterr().err.split()).count(said) == 1


def test_a_task_without_a_row_for_affinities_is_named_before_a_model_is_loaded(
    exam: Path,
    exam_cards: dict[str, TaskCard],
    exam_settings: WorkerSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [row.id for row in read_rows(exam / "data" / "weather.train.jsonl", exam_cards["weather"])]
    plan = a_plan(exam, exam_cards, held_out=True, settings=(IN_DOMAIN,), methods=())
    monkeypatch.setattr(Engine, "load", None)
    with (
        trained_on(exam_settings, "weather", dict.fromkeys(rows, "0" * 16)),
        Session(exam_settings, plan, None, in_process=True) as session,
        pytest.raises(
            InvalidArgumentError, match=r"weather: no row to measure affinities on in .*weather\.train"
        ),
    ):
        list(session.affinities(2, again=True))


def test_a_method_that_reads_no_option_is_not_tuned(exam: Path, exam_settings: WorkerSettings) -> None:
    url = exam_settings.database_url.get_secret_value()  # type: ignore[union-attr]
    with connect(url) as connection:
        before = read_defaults(connection)[0]
        change_default(connection, "method", "base")
        try:
            with pytest.raises(
                InvalidArgumentError, match="the default method is base, which reads neither k"
            ):
                tune(data=exam / "data", rows=3, setting=IN_DOMAIN, cards=exam / "cards")
        finally:
            change_default(connection, "method", before)


@pytest.mark.parametrize(
    ("held_out", "why"), [(True, "trained on each of them"), (False, "in its test file; add")]
)
def test_a_task_without_a_row_to_ask_is_named(
    exam: Path,
    exam_cards: dict[str, TaskCard],
    exam_settings: WorkerSettings,
    tmp_path: Path,
    held_out: bool,
    why: str,
) -> None:
    for kind in ("train", "test"):
        (tmp_path / f"weather.{kind}.jsonl").write_text("")
    plan = a_plan(
        exam, {"weather": exam_cards["weather"]}, data=tmp_path, methods=("cat",), held_out=held_out
    )
    with pytest.raises(InvalidArgumentError, match=f"weather: no row to ask .*{why}"):
        measure(exam_settings, plan)


def test_options_reach_postgres(
    exam: Path, exam_cards: dict[str, TaskCard], exam_settings: WorkerSettings
) -> None:
    options = (Options(k=1), Options(k=12, top_p=1.0))
    plan = a_plan(exam, exam_cards, settings=(IN_DOMAIN,), methods=("cat",), options=options)
    cells = measure(exam_settings, plan)
    assert {cell.nucleus for cell in cells if cell.options == {"k": 1}} == {1.0}
    assert {cell.nucleus for cell in cells if "top_p" in cell.options} == {3.0}


def test_what_is_on_record_is_not_measured_again(
    exam: Path, exam_cards: dict[str, TaskCard], exam_settings: WorkerSettings, tmp_path: Path
) -> None:
    record = tmp_path / "cells.jsonl"
    plan = a_plan(exam, exam_cards, limit=3)
    first = measure(exam_settings, plan, record)
    assert measure(exam_settings, replace(plan, data=tmp_path / "nowhere"), record) == first
    with record.open("a") as stream:
        stream.write('{"setting": "in-dom')
    assert measure(exam_settings, replace(plan, data=tmp_path / "nowhere"), record) == first
    with pytest.raises(InvalidArgumentError, match=r"garden\.test\.jsonl: no such file"):
        measure(exam_settings, replace(plan, data=tmp_path / "nowhere", limit=2), record)


def test_what_was_measured_of_another_default_card_or_row_is_measured_anew(
    exam: Path, exam_cards: dict[str, TaskCard], exam_settings: WorkerSettings, tmp_path: Path
) -> None:
    record, data = tmp_path / "cells.jsonl", tmp_path / "data"
    shutil.copytree(exam / "data", data)
    plan = a_plan(exam, exam_cards, data=data, settings=(IN_DOMAIN,), methods=("base", "cat", "centroid"))

    def measured(some: Plan) -> set[tuple[str, str]]:
        """Method and task of what came onto the record."""
        before = len(read_cells(record)) if record.exists() else 0
        measure(exam_settings, some, record)
        return {(cell.method, cell.task) for cell in read_cells(record)[before:]}

    def all_of(*tasks: str) -> set[tuple[str, str]]:
        return {(method, task) for method in plan.methods for task in tasks}

    assert measured(plan) == all_of(*exam_cards)
    assert measured(plan) == set()
    with connect(exam_settings.database_url.get_secret_value()) as connection:  # type: ignore[union-attr]
        k = read_defaults(connection)[1].k or 0
        change_default(connection, "k", 2)
        try:
            assert measured(plan) == {("cat", task) for task in exam_cards}
        finally:
            change_default(connection, "k", k)
    assert measured(plan) == set()

    weather = exam_cards["weather"].model_copy(update={"prompt": "Weather: {text}"})
    assert measured(replace(plan, cards=exam_cards | {"weather": weather})) == all_of("weather")
    file = data / "kitchen.test.jsonl"
    file.write_text(file.read_text().replace("Really?", "Truly?"))
    assert measured(plan) == all_of("kitchen")
    with Session(exam_settings, plan, record, in_process=False) as session:
        told = session.record.told_of_others()
    assert f"{len(read_cells(record))} figures there do not count" in told
    assert "unlike ways to ask (in-process, as-jobs)" in told


def test_two_processes_measure_what_one_does_and_go_on_where_it_stopped(
    exam: Path, exam_cards: dict[str, TaskCard], exam_settings: WorkerSettings, tmp_path: Path
) -> None:
    record = tmp_path / "cells.jsonl"
    plan = a_plan(exam, exam_cards, methods=("base", "own", "cat", "affinity"), limit=3)
    alone = measure(exam_settings, plan, tmp_path / "alone.jsonl")
    cut = replace(plan, cards={"garden": exam_cards["garden"]}, methods=("base", "cat"))
    measure(exam_settings, cut, record)
    for _ in range(2):
        both = measure(exam_settings, plan, record, processes=2)
        assert by_case(figures(both)) == by_case(figures(alone))
        assert len(record.read_text().splitlines()) == len(alone) == len(both)
    # A process that measures one task knows the families of all.
    for cells in (alone, both):
        assert any(
            cell.family_mass > cell.own_mass + 0.01
            for cell in cells
            if cell.family_mass is not None and cell.own_mass is not None
        )


def test_a_killed_process_ends_the_run_and_loses_no_cell(
    exam: Path, exam_cards: dict[str, TaskCard], exam_settings: WorkerSettings, tmp_path: Path
) -> None:
    record = tmp_path / "cells.jsonl"
    plan = a_plan(exam, exam_cards, settings=(IN_DOMAIN,), methods=("base", "cat"), limit=3)

    def kill(_name: str, _done: float) -> None:
        for child in active_children():
            if child.name.startswith(NAME):
                child.kill()

    cells = []
    with (
        Session(exam_settings, plan, record, in_process=True) as session,
        pytest.raises(EvaluationFailedError, match="fewer --processes"),
    ):
        cells.extend(session.cells(kill, 2))
    assert len(cells) < len(measure(exam_settings, plan, record, processes=2))


def test_what_one_process_cannot_do_is_said(
    exam: Path, exam_cards: dict[str, TaskCard], exam_settings: WorkerSettings, tmp_path: Path
) -> None:
    plan = a_plan(exam, exam_cards, data=tmp_path)
    with pytest.raises(EvaluationFailedError, match=r"test\.jsonl: no such file"):
        measure(exam_settings, plan, processes=2)


def test_a_record_that_is_none_is_refused(
    exam: Path, exam_cards: dict[str, TaskCard], exam_settings: WorkerSettings, tmp_path: Path
) -> None:
    (tmp_path / "record").write_text('{"setting": 1}\n{}\n')
    with pytest.raises(InvalidArgumentError, match="line 1: not a cell"):
        measure(exam_settings, a_plan(exam, exam_cards), tmp_path / "record")


def test_a_task_without_adapter_has_no_own(
    exam: Path, exam_cards: dict[str, TaskCard], exam_settings: WorkerSettings
) -> None:
    stranger = {"fishing": exam_cards["weather"].model_copy(update={"name": "fishing"})}
    row = json.loads((exam / "data" / "weather.test.jsonl").read_text().splitlines()[0])
    (exam_settings.home / "fishing.test.jsonl").write_text(json.dumps(row | {"task": "fishing"}) + "\n")
    plan = a_plan(exam, stranger, data=exam_settings.home, methods=("own",))
    with pytest.raises(UnknownNameError, match="no active adapter for the task fishing"):
        measure(exam_settings, plan)


def test_cells_land_in_postgres_once(
    exam: Path, exam_cards: dict[str, TaskCard], exam_settings: WorkerSettings
) -> None:
    plan = a_plan(exam, exam_cards, limit=1)
    with Session(exam_settings, plan, None, in_process=True) as session:
        cells = list(session.cells(lambda _name, _done: None))
        run = session.keep(cells)
        assert session.keep(cells) == run
    with connect(exam_settings.database_url.get_secret_value()) as connection:  # type: ignore[union-attr]
        rows = connection.execute(
            "select count(*), min(n), count(distinct task) from loradex.evaluations where run = %s", (run,)
        ).fetchone()
    assert rows == (len(cells), 1, 3)


def test_what_was_measured_anew_stands_beside_the_old_figure_in_postgres(
    exam: Path, exam_cards: dict[str, TaskCard], exam_settings: WorkerSettings
) -> None:
    one = {"weather": exam_cards["weather"]}
    plan = a_plan(exam, one, settings=(IN_DOMAIN,), methods=("base",))
    with Session(exam_settings, plan, None, in_process=True) as session:
        (cell,) = session.cells(lambda _name, _done: None)
        unlike = replace(cell, right="1000" if cell.score != 0.25 else "1110")
        for some in (cell, unlike, unlike):
            run = session.keep([some])
    with connect(exam_settings.database_url.get_secret_value()) as connection:  # type: ignore[union-attr]
        rows = connection.execute(
            "select score, settings ->> 'card', settings ->> 'asked' from loradex.evaluations "
            "where run = %s and method = 'base' and task = 'weather' and n = 4 order by id desc limit 2",
            (run,),
        ).fetchall()
    assert rows == [(unlike.score, cell.card, cell.asked), (cell.score, cell.card, cell.asked)]


def test_the_command_prints_a_table_and_writes_a_report(
    exam: Path, exam_settings: WorkerSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    report = exam_settings.home / "report"
    arguments = ["--data", str(exam / "data"), "--cards", str(exam / "cards"), "--report", str(report)]
    arguments += ["--limit", "2", "--processes", "1"]

    settings, methods = "in-domain,semi-ood,ood", "base,own,cat,ties,centroid"
    assert run(["eval", *arguments, "--setting", settings, "--method", methods]) == 0
    assert "centroid" in capsys.readouterr().out
    assert run(["eval", *arguments, "--sweep", "--method", "cat", "--json"]) == 0
    swept = capsys.readouterr().out.splitlines()
    assert {tuple(json.loads(line)["options"]) for line in swept} == {("k",), ("top_p",), ("temperature",)}
    page = (report / "evaluation.md").read_text()
    for part in ("## in-domain", "## semi-ood", "## ood", "Best merged method", "sweep.png"):
        assert part in page
    for picture in ("mixture-ood.png", "tasks-in-domain.png", "sweep.png"):
        assert (report / picture).read_bytes().startswith(b"\x89PNG")

    (report / "evaluation.md").unlink()
    assert run(["eval", "--report", str(report)]) == 0
    assert (report / "evaluation.md").read_text() == page
    assert run(["eval"]) == 2
    assert "--data" in capsys.readouterr().err


def test_unseen_tasks_are_asked_in_every_wording(
    exam: Path, exam_settings: WorkerSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    """A task that the database has never heard of: without an adapter, an example or a row of its own."""
    cards, data, report = (exam_settings.home / name for name in ("unseen", "rows", "report"))
    for folder in (cards, data):
        folder.mkdir()
    for line in (exam / "data" / "weather.test.jsonl").read_text().splitlines():
        with (data / "fishing.test.jsonl").open("a") as stream:
            stream.write(json.dumps(json.loads(line) | {"task": "fishing"}) + "\n")
    wording = '\n[wordings.{name}]\nprompt = "{prompt}"\n[wordings.{name}.choices]\nkind = "options"\n'
    (cards / "fishing.toml").write_text(
        'name = "fishing"\nfamily = "home"\nmetric = "accuracy"\n'
        + wording.format(name="card", prompt="{text}")
        + wording.format(name="flan", prompt="{text}\\nOPTIONS:\\n{options}")
    )
    arguments = ["eval", "--data", str(data), "--cards", str(cards), "--setting", "unseen"]
    arguments += ["--task", "fishing"]
    arguments += ["--method", "base,own,affinity_calibrated_cat", "--processes", "1", "--report", str(report)]

    assert run([*arguments, "--json"]) == 0
    cells = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {(cell["setting"], cell["method"], cell["task"]) for cell in cells} == {
        ("unseen", method, f"fishing.{wording}")
        for method in ("base", "affinity_calibrated_cat")
        for wording in ("card", "flan")
    }
    mixed = [cell for cell in cells if cell["method"] != "base"]
    assert all(cell["n"] == 4 and cell["own_mass"] == 0 and cell["family_mass"] > 0 for cell in mixed)
    assert run(arguments) == 0
    assert "beyond" in capsys.readouterr().out
    page = (report / "evaluation.md").read_text()
    assert "| flan | affinity_calibrated_cat | 1 | 4 |" in page
    assert "### Beyond noise, unseen" in page
    assert run([*arguments, "--sweep"]) == 2
    assert "measure them by themselves" in " ".join(capsys.readouterr().err.split())


def test_affinities_are_measured_once_kept_and_used(
    exam: Path,
    exam_cards: dict[str, TaskCard],
    exam_settings: WorkerSettings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["library", "affinities", "--data", str(exam / "data"), "--cards", str(exam / "cards")]
    url = exam_settings.database_url.get_secret_value()  # type: ignore[union-attr]
    with connect(url) as connection:
        # What other tests measured.
        connection.execute("delete from loradex.task_affinities")
    assert run([*arguments, "--rows", "2", "--task", "garden", "--json"]) == 0
    one = capsys.readouterr().out.splitlines()
    kept = """
        select f.task, a.name, score, n, measured_at
        from loradex.task_affinities f join loradex.adapters a on a.id = f.adapter_id order by 1, 2"""
    with connect(url) as connection:
        rows = [row for row in connection.execute(kept).fetchall() if row[0] == "garden"]
        printed = [tuple(json.loads(line).values()) for line in one]
        assert [row[:4] for row in rows] == printed
        assert {row[:2] for row in rows} == {("garden", f"tiny-{task}") for task in exam_cards}
        assert all(0 <= row[2] <= 1 and row[3] == 2 for row in rows)
        assert run(arguments) == 0
        more = connection.execute(kept).fetchall()
    assert len(more) == 9
    assert set(rows) < set(more), "a pair that is known is not measured again"
    (cell, *_) = measure(exam_settings, a_plan(exam, exam_cards, methods=("affinity",), limit=1))
    assert sum(cell.mixture.values()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("text", ["best", "", "cat,best"])
def test_an_unknown_method_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(UnknownNameError, match=r"no method '(best)?'; use base, own, top1"):
        chosen_methods(text)
    assert chosen_methods("all") == ALL
    assert chosen_methods(" cat, own,cat") == ("cat", "own")


def test_tuning_changes_a_default_only_for_what_is_beyond_noise(
    exam: Path, exam_settings: WorkerSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    """A library of three tiny tasks says nothing beyond noise, so its defaults stay, and the rows are evidence."""
    url = exam_settings.database_url.get_secret_value()  # type: ignore[union-attr]
    with connect(url) as connection:
        before = read_defaults(connection)
        tune(data=exam / "data", rows=3, setting=IN_DOMAIN, cards=exam / "cards", as_json=True)
        told = capsys.readouterr()
        trials = [json.loads(line) for line in told.out.splitlines()]
        assert {trial["name"] for trial in trials} == {"k", "top_p", "temperature", "choice_prior"}
        assert not any(trial["adopted"] for trial in trials)
        assert read_defaults(connection) == before
        said = " ".join(told.err.split())
        missing = connection.execute("select 9 - count(*) from loradex.task_affinities").fetchone()
        assert missing is not None
        assert (f"{missing[0]} pairs of task and adapter have no affinity" in said) == (missing[0] > 0)
        assert "no value is ahead beyond noise, so the defaults stay" in said
        evidence = told.err.split("evidence: run ")[1].split()[0]
        kept = connection.execute(
            "select count(distinct settings - '{card,asked}'::text[]), count(distinct task) "
            "from loradex.evaluations where run = %s",
            (evidence,),
        ).fetchone()
        assert kept == (12, 3)
        change_default(connection, "k", 64)
        assert read_defaults(connection)[1].k == 64
        change_default(connection, "k", before[1].k or 0)
