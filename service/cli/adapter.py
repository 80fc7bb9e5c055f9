"""`loradex adapter`: LoRA adapters and their files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from loradex import terminal
from loradex.service.cli.adapter_convert import convert
from loradex.service.cli.adapter_register import register
from loradex.service.cli.adapter_state import Name, activate, retire

if TYPE_CHECKING:
    from loradex.library.adapter_store import AdapterStore

app = typer.Typer(add_completion=False, help="LoRA adapters and their files.")

Version = Annotated[int | None, typer.Option(help="Version; the newest if not given.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


app.command()(register)
app.command()(convert)


@app.command("list")
def list_adapters(
    all_versions: Annotated[bool, typer.Option("--all", help="Retired versions too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the adapters that are active, with their share where others share their task, or staged.

    Example: loradex adapter list --all
    """
    from loradex.library.adapter_store import STATES

    with _store() as store:
        found = store.find(states=STATES if all_versions else ("active", "staged"))
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
                f"{a.state} {a.share:.4g}" if 0 < a.share < 1 else a.state,
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
    from loradex.service.settings import ServiceSettings

    settings = ServiceSettings()
    with _store() as store:
        for name in names or ():
            store.get(name)
        wanted = [adapter for adapter in store.find() if not names or adapter.name in names]
        # Workers of each base model read below roots of their own.
        announced = {
            name: store.announced_roots(name) for name in sorted({adapter.base_model for adapter in wanted})
        }
    own = settings.roots()
    roots = {name: own.joined(some) for name, some in announced.items()}
    checked = [check_adapter(adapter, roots[adapter.base_model]) for adapter in wanted]
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


app.command()(retire)
app.command()(activate)


@contextmanager
def _store() -> "Iterator[AdapterStore]":
    from loradex.addresses import database_address
    from loradex.db.session import connect, translate_errors
    from loradex.library.adapter_store import AdapterStore
    from loradex.service.settings import ServiceSettings

    with translate_errors(), connect(database_address(ServiceSettings())) as connection:
        yield AdapterStore(connection)
