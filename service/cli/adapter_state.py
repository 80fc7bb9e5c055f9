"""`loradex adapter activate` and `retire`: which adapters answer a task."""

from typing import Annotated

import typer

from loradex import terminal

Name = Annotated[str, typer.Argument(help="Name of the adapter.")]


def retire(
    name: Name,
    version: Annotated[int | None, typer.Option(help="Version; the active one if not given.")] = None,
) -> None:
    """Take an adapter out of every mixture to come; its share goes to the others of its task.

    Example: loradex adapter retire rte
    """
    _set_state(name, version, "retired", 1.0)


def activate(
    name: Name,
    version: Annotated[int | None, typer.Option(help="Version; the newest if not given.")] = None,
    share: Annotated[
        float, typer.Option(help="Its part of the task's questions; less than 1 keeps the others active.")
    ] = 1.0,
) -> None:
    """Let a version answer its task; the one before is retired, unless the share leaves it a part.

    Example: loradex adapter activate rte --version 2 --share 0.1
    """
    _set_state(name, version, "active", share)


def _set_state(name: str, version: int | None, state: str, share: float) -> None:
    from loradex.addresses import database_address
    from loradex.db.session import connect, translate_errors
    from loradex.library.adapter_serving import account, serving
    from loradex.library.adapter_store import AdapterStore
    from loradex.service.settings import ServiceSettings

    with (
        translate_errors(),
        connect(database_address(ServiceSettings())) as connection,
        connection.transaction(),
    ):
        store = AdapterStore(connection)
        known = store.get(name, version)
        before = serving(connection, known.base_model, known.task)
        changed = store.set_state(name, version, state, share)
        after = serving(connection, known.base_model, known.task)
    terminal.say(f"{changed.name} version {changed.version} is {changed.state}")
    terminal.say(account(known.task, before, after))
