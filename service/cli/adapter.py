"""`loradex adapter`: LoRA adapters and their files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loradex import terminal
from loradex.library.card_option import OUR_CARDS, Cards

if TYPE_CHECKING:
    from loradex.library.adapter_store import AdapterStore

app = typer.Typer(add_completion=False, help="LoRA adapters and their files.")

Name = Annotated[str, typer.Argument(help="Name of the adapter.")]
Version = Annotated[int | None, typer.Option(help="Version; the newest if not given.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def register(
    directory: Annotated[Path, typer.Argument(help="PEFT directory of one LoRA.")],
    task: Annotated[str, typer.Option(help="Task it was trained on.")],
    name: Annotated[str | None, typer.Option(help="What to call it; the task if not given.")] = None,
    cards: Cards = OUR_CARDS,
    as_json: AsJson = False,
) -> None:
    """Inspect and hash an adapter, then make it its task's active one.

    Example: loradex adapter register .loradex/train/rte --task rte
    """
    from loradex.addresses import database_address
    from loradex.db.session import connect, translate_errors
    from loradex.errors import UnknownNameError
    from loradex.library.adapter_factors import base_model_shapes
    from loradex.library.adapter_files import inspect
    from loradex.library.adapter_roots import AdapterRoots
    from loradex.library.adapter_store import AdapterStore
    from loradex.library.cards import load_cards
    from loradex.library.example_store import ExampleStore
    from loradex.service.settings import ServiceSettings

    settings = ServiceSettings()
    known = load_cards(cards)
    if task not in known:
        raise UnknownNameError(f"no task card {task} in {cards}: write {cards / task}.toml first")
    uri = AdapterRoots.of(settings.adapter_roots, settings.home).uri(directory)
    # Where the base model's files are at hand, the factors must fit its weights too.
    model = settings.home / "cache" / "models" / settings.base_model
    facts = inspect(directory, settings.base_model, base_model_shapes(model) if model.is_dir() else None)
    with translate_errors(), connect(database_address(settings)) as connection, connection.transaction():
        ExampleStore(connection).put_tasks([known[task]])
        store = AdapterStore(connection)
        store.require_base_model(settings.base_model)
        done = store.register(facts, name or task, task, uri)
    warnings = list(facts.warnings)
    if done.uri != uri:
        warnings.append(f"these files are registered at {done.uri}, and that is where workers look for them")
    for warning in warnings:
        terminal.complain(f"warning: {directory}: {warning}")
    if as_json:
        terminal.as_json({**asdict(done), "sha256": facts.sha256, "warnings": warnings})
    else:
        what = "registered" if done.created else f"has these files already and is {done.state}"
        terminal.say(
            f"{done.name} version {done.version} {what} (content {facts.sha256[:12]}, rank {facts.rank})"
        )


@app.command("list")
def list_adapters(
    all_versions: Annotated[bool, typer.Option("--all", help="Retired versions too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the active adapters.

    Example: loradex adapter list --all
    """
    with _store() as store:
        found = store.find(active_only=not all_versions)
    if as_json:
        terminal.as_json([asdict(adapter) for adapter in found])
        return
    terminal.table(
        ("name", "version", "task", "base model", "rank", "dtype", "update norm", "state", "content hash"),
        [
            (
                a.name,
                a.version,
                a.task,
                a.base_model,
                a.rank,
                a.dtype,
                f"{a.update_norm:.2f}",
                a.state,
                a.sha256[:12],
            )
            for a in found
        ],
    )


@app.command()
def show(name: Name, version: Version = None, as_json: AsJson = False) -> None:
    """Show everything known about one version.

    Example: loradex adapter show rte --json
    """
    import json

    with _store() as store:
        adapter = store.get(name, version)
    document = asdict(adapter)
    if as_json:
        terminal.as_json(document)
        return
    card = document.pop("card")
    terminal.table(("", ""), list(document.items()))
    terminal.say(json.dumps(card, indent=2, ensure_ascii=False))


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Adapters; all if none is named.")] = None,
    as_json: AsJson = False,
) -> None:
    """Hash the files on disk again; exit code 1 if one is gone or is not what was registered.

    Example: loradex adapter verify
    """
    from loradex.library.adapter_check import check_adapter
    from loradex.library.adapter_roots import AdapterRoots
    from loradex.service.settings import ServiceSettings

    settings = ServiceSettings()
    roots = AdapterRoots.of(settings.adapter_roots, settings.home)
    with _store() as store:
        for name in names or ():
            store.get(name)
        wanted = [adapter for adapter in store.find() if not names or adapter.name in names]
    checked = [check_adapter(adapter, roots) for adapter in wanted]
    faults = [entry for entry in checked if entry.fault is not None]
    if as_json:
        terminal.as_json(
            [
                {
                    "name": e.adapter.name,
                    "version": e.adapter.version,
                    "sha256": e.adapter.sha256,
                    "fault": e.fault,
                }
                for e in checked
            ]
        )
    else:
        for entry in faults:
            terminal.say(f"{entry.adapter.name} version {entry.adapter.version}: {entry.fault}")
        terminal.say(f"{len(checked) - len(faults)} of {len(checked)} adapters are as they were registered")
    if faults:
        raise typer.Exit(1)


@app.command()
def retire(name: Name, version: Version = None) -> None:
    """Take an adapter out of every mixture to come.

    Example: loradex adapter retire rte
    """
    _set_state(name, version, "retired")


@app.command()
def activate(name: Name, version: Version = None) -> None:
    """Make a version its task's active adapter; the one before is retired.

    Example: loradex adapter activate rte --version 1
    """
    _set_state(name, version, "active")


def _set_state(name: str, version: int | None, state: str) -> None:
    with _store() as store:
        adapter = store.get(name, version)
        store.set_state(adapter.name, adapter.version, state)
    terminal.say(f"{adapter.name} version {adapter.version} is {state}")


@contextmanager
def _store() -> "Iterator[AdapterStore]":
    from loradex.addresses import database_address
    from loradex.db.session import connect, translate_errors
    from loradex.library.adapter_store import AdapterStore
    from loradex.service.settings import ServiceSettings

    with translate_errors(), connect(database_address(ServiceSettings())) as connection:
        yield AdapterStore(connection)
