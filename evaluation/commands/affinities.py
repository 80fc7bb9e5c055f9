"""`loradex library affinities`: how well each adapter answers each task."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from loradex.library.card_option import OUR_CARDS, Cards


def affinities(
    *,
    data: Annotated[
        Path, typer.Option(help="Directory of TASK.train.jsonl or .csv files.", exists=True, file_okay=False)
    ],
    rows: Annotated[int, typer.Option(min=1, help="Rows a task, none of which was trained on.")] = 128,
    task: Annotated[list[str] | None, typer.Option(help="This task only; may be given again.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Measure known pairs too.")] = False,
    library: Annotated[Path | None, typer.Option(help="Keep the figures in this library, too.")] = None,
    cards: Cards = OUR_CARDS,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a pair.")] = False,
) -> None:
    """Measure how well each active adapter answers each task; the method `affinity` weighs adapters by it.

    Pairs that were measured are not measured again, so after a new adapter only its own are. It needs a stack
    (`loradex up`); the figures are in loradex.task_affinities.

    Example: loradex library affinities --data data
    """
    from loradex import terminal
    from loradex.db.session import translate_errors
    from loradex.errors import InvalidArgumentError
    from loradex.evaluation.plan import IN_DOMAIN, Plan
    from loradex.evaluation.rows import told_of_unlisted
    from loradex.evaluation.session import Session
    from loradex.library.affinities import Affinity, write_affinities
    from loradex.library.cards import chosen_cards, load_cards
    from loradex.library.manifest import read_manifest
    from loradex.terminal import measuring
    from loradex.worker.settings import WorkerSettings

    if library is not None and task:
        raise InvalidArgumentError("--library keeps the figures of all tasks; leave --task out")
    chosen = chosen_cards(load_cards(cards), task)
    manifest = None if library is None else read_manifest(library)
    plan = Plan(chosen, data, (IN_DOMAIN,), (), None, held_out=True)
    scores: dict[str, dict[str, Affinity]] = {name: {} for name in chosen}
    names = {entry.sha256: name for name, entry in manifest.adapters.items()} if manifest else {}
    with (
        translate_errors(),
        Session(WorkerSettings(), plan, None, in_process=True) as session,
    ):
        if unlisted := session.unlisted():
            terminal.complain(told_of_unlisted(unlisted))
        with measuring("affinities", len(chosen) * len(session.active_adapters())) as advance:
            for name, adapter, affinity in session.affinities(rows, again=again):
                advance(f"{name} {adapter.name}", 1)
                if adapter.sha256 in names:
                    scores[name][names[adapter.sha256]] = affinity
                if as_json:
                    line = {"task": name, "adapter": adapter.name, **affinity.model_dump()}
                    sys.stdout.write(json.dumps(line) + "\n")
    if library is not None and manifest is not None:
        write_affinities(library, manifest, scores)
