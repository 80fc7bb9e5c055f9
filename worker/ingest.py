"""The `ingest` program: example files into the database, with their vectors."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from db.embedded.addresses import database_address
from db.errors import LoradexError
from db.session import connect, translated
from library.cards import load_cards
from library.ingest import Advance, FileReport, Ingest, check_files
from library.vectors import VectorCache
from worker.settings import WorkerSettings


class RateColumn(ProgressColumn):
    """Examples a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f}/s" if task.speed else "")


def ingest(
    settings: WorkerSettings, files: Sequence[Path], task: str | None, cards: Path, *, as_json: bool
) -> int:
    """Add the files and say what was done; the exit code."""
    try:
        reports = _ingest(settings, files, task, cards)
    except LoradexError as error:
        sys.stderr.write(f"loradex: {error}\n")
        return error.exit_code
    if as_json:
        sys.stdout.write(
            json.dumps([asdict(report) | {"file": str(report.file)} for report in reports]) + "\n"
        )
        return 0
    for report in reports:
        completed = f", {report.completed} completed" if report.completed else ""
        sys.stdout.write(
            f"{report.file.name}: {report.added} added, {report.present} there already{completed}\n"
        )
    return 0


def _ingest(
    settings: WorkerSettings, files: Sequence[Path], task: str | None, cards: Path
) -> list[FileReport]:
    known = load_cards(cards)
    checked = check_files(files, known, task)
    # Seconds that a bad file need not wait for.
    from worker.encoders import encoder_at, encoder_facts  # noqa: PLC0415

    directory, facts = encoder_facts(settings)
    encoder = encoder_at(directory)

    with (
        translated(),
        connect(database_address(settings)) as connection,
        VectorCache.of(settings.home, facts.name, facts.revision) as vectors,
        progress(sum(len(rows) for rows in checked.values())) as advance,
    ):
        adding = Ingest(connection, known, facts, encoder, vectors)
        return list(adding.add_all(checked, advance))


@contextmanager
def progress(total: int) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TextColumn("remaining"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("examples", total=total)
        yield lambda done: progress.advance(bar, done)
        progress.update(bar, completed=total)
