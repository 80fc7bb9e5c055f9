"""`loradex tune`: the routing's defaults for the library at hand."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loradex.library.card_option import OUR_CARDS, Cards

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loradex.evaluation.cells import Cell
    from loradex.evaluation.plan import Options


def tune(
    *,
    data: Annotated[
        Path, typer.Option(help="Directory of TASK.train.jsonl or .csv files.", exists=True, file_okay=False)
    ],
    rows: Annotated[int, typer.Option(min=2, help="Rows a task, none of which was trained on.")] = 48,
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

    Those rows are out of the index while they are asked. A value becomes the default only where it is ahead of the
    one that stands beyond noise; the rows that say so are in loradex.evaluations. It needs a stack and the role of an
    administrator.

    Example: loradex tune --data data --rows 32
    """
    from loradex import terminal
    from loradex.addresses import database_address
    from loradex.db.session import connect
    from loradex.evaluation.defaults import change_default, read_defaults
    from loradex.evaluation.methods import chosen_names
    from loradex.evaluation.pages import keep_freed_pages
    from loradex.evaluation.plan import TRAINED, Plan, cases
    from loradex.evaluation.session import Session
    from loradex.evaluation.tuning import tune as tuned
    from loradex.library.cards import load_cards
    from loradex.terminal import measuring
    from loradex.worker.settings import WorkerSettings

    keep_freed_pages()
    settings = WorkerSettings()
    chosen = chosen_names("setting", setting, TRAINED)
    known = load_cards(cards)
    with connect(database_address(settings)) as connection:
        method, start, prior = read_defaults(connection)

        def measure(options: "Sequence[Options]") -> "list[Cell]":
            plan = Plan(known, data, chosen, (method,), rows, options, held_out=True)
            with (
                Session(settings, plan, record, in_process=True) as session,
                measuring("tuning", len(known) * len(cases(plan))) as advance,
            ):
                cells = list(session.cells(advance))
                run = session.keep(cells)
            sys.stderr.write(f"evidence: run {run} in loradex.evaluations\n")
            return cells

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
                if trial.adopted and store:
                    change_default(connection, trial.name, trial.value)
