"""`loradex tune`: the routing's defaults for the library at hand."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loradex.library.card_option import OUR_CARDS, Cards

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loradex.evaluation.cells import Cell
    from loradex.evaluation.plan import Options, Plan
    from loradex.evaluation.tuning import Value
    from loradex.worker.settings import WorkerSettings


def tune(
    *,
    data: Annotated[
        Path, typer.Option(help="Directory of TASK.train.jsonl or .csv files.", exists=True, file_okay=False)
    ],
    task: Annotated[list[str] | None, typer.Option(help="This task only; may be given again.")] = None,
    rows: Annotated[
        int,
        typer.Option(
            min=2,
            help="Rows a task, drawn from those that no adapter was trained on nor affinity measured on.",
        ),
    ] = 48,
    setting: Annotated[
        str, typer.Option(help="What is available: in-domain, semi-ood, ood, separated by commas.")
    ] = "in-domain,ood",
    store: Annotated[
        bool, typer.Option("--store/--dry-run", help="Change the defaults, or only say what would change.")
    ] = True,
    cards: Cards = OUR_CARDS,
    record: Annotated[
        Path | None, typer.Option(help="File that keeps what was measured; the same command goes on there.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a value tried.")] = False,
) -> None:
    """Choose k, top_p, temperature and choice_prior of the default method by rows that no adapter was trained on.

    Those rows are out of the index while they are asked; none was used to measure affinities, as far as there are
    enough, and it says where there are not. A value becomes the default only where it is ahead of the
    one that stands beyond noise; the rows that say so are in loradex.evaluations. It needs a stack and the role of an
    administrator.

    Example: loradex tune --data data --rows 32
    """
    from loradex import terminal
    from loradex.addresses import database_address
    from loradex.db.session import connect
    from loradex.errors import InvalidArgumentError
    from loradex.evaluation.defaults import change_default, read_defaults
    from loradex.evaluation.methods import chosen_names, defaults_read_by
    from loradex.evaluation.pages import keep_freed_pages
    from loradex.evaluation.plan import TRAINED, Plan, cases
    from loradex.evaluation.session import Session
    from loradex.evaluation.tuning import tune as tuned
    from loradex.library.cards import chosen_cards, load_cards
    from loradex.terminal import measuring
    from loradex.worker.settings import WorkerSettings

    keep_freed_pages()
    settings = WorkerSettings()
    chosen = chosen_names("setting", setting, TRAINED)
    known = chosen_cards(load_cards(cards), task)
    adopted: dict[str, Value] = {}
    with connect(database_address(settings)) as connection:
        method, start, prior = read_defaults(connection)
        if not defaults_read_by(method):
            raise InvalidArgumentError(
                f"the default method is {method}, which reads neither k nor top_p nor temperature: nothing is there to "
                "choose; make another one the default first, `loradex settings set method affinity_calibrated_cat`"
            )

        def measure(options: "Sequence[Options]") -> "list[Cell]":
            plan = Plan(known, data, chosen, (method,), rows, options, held_out=True)
            with (
                Session(settings, plan, record, in_process=True) as session,
                measuring("tuning", len(known) * len(cases(plan))) as advance,
            ):
                if told := session.record.told_of_others():
                    terminal.complain(told)
                cells = list(session.cells(advance))
                run = session.keep(cells)
            sys.stderr.write(f"evidence: run {run} in loradex.evaluations\n")
            return cells

        _warn(Plan(known, data, chosen, (), rows, held_out=True), settings)
        for trials in tuned(measure, start, prior):
            if as_json:
                sys.stdout.writelines(json.dumps(asdict(trial)) + "\n" for trial in trials)
            else:
                terminal.table(
                    ("setting", "value", "points", "p", "adopted"),
                    [
                        (
                            trial.name,
                            str(trial.value),
                            f"{trial.points.value:+.1f} ({trial.points.low:+.1f} to {trial.points.high:+.1f})",
                            f"{trial.p:.3f}",
                            "yes" if trial.adopted else "",
                        )
                        for trial in trials
                    ],
                    f"{method}, against what stands",
                )
            for trial in trials:
                if trial.adopted:
                    adopted[trial.name] = trial.value
                    if store:
                        change_default(connection, trial.name, trial.value)
    terminal.complain(_told(adopted, store=store))


def _warn(plan: "Plan", settings: "WorkerSettings") -> None:
    """Say so where the default method has nothing to weigh by yet, and where it weighs by the very rows it is asked."""
    from loradex import terminal
    from loradex.evaluation.rows import told_of_shared, told_of_unlisted
    from loradex.evaluation.session import Session

    with Session(settings, plan, None, in_process=True, writing=False) as session:
        missing, common, unlisted = session.unmeasured(), session.shared_rows(), session.unlisted()
    if missing:
        terminal.complain(
            f"{missing} pairs of task and adapter have no affinity, which the default method weighs by; "
            "`loradex library affinities` measures them, best before this"
        )
    if common:
        terminal.complain(told_of_shared(common))
    if unlisted:
        terminal.complain(told_of_unlisted(unlisted))


def _told(adopted: "Mapping[str, Value]", *, store: bool) -> str:
    """What came of it, in a sentence."""
    if not adopted:
        return "no value is ahead beyond noise, so the defaults stay; more --rows may tell more"
    values = ", ".join(f"{name} {value}" for name, value in adopted.items())
    return f"the defaults {'are now' if store else 'would become'} {values}"
