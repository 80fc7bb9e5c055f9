"""Command groups that know their commands by name and one line, and import a command when it is called."""

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from loradex.program import PROGRAM

PLUGINS = "loradex.commands"
"""Entry points of other rooms' commands: `train`, or `library build` for a command of a group."""


class Entry(NamedTuple):
    """A command in the table.

    Attributes:
        target: `module:attribute`; the attribute is a function, or a `typer.Typer` with commands of its own.
        help: What `loradex --help` says about it.
    """

    target: str
    help: str


class LazyGroup(TyperGroup):
    """Shows the commands of `table` and those that are plugged in; subclass it to say which."""

    table: ClassVar[dict[str, Entry]] = {}

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        for name, entry in self.table.items():
            self.add_command(
                TyperCommand(name=name, help=entry.help, short_help=entry.help, rich_markup_mode=None)
            )
        for name, point in plugins().items():
            self.add_command(_command(point.load(), name))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and name in self.table:
            command = load(name, self.table[name])
        inner = rest[:1] if rest and rest[0] in getattr(command, "commands", ()) else []
        PROGRAM.set(" ".join(["loradex", name or "", *inner]))
        return name, command, rest


def plugins(group: str | None = None) -> dict[str, EntryPoint]:
    """Commands that are plugged into a group, by name; without a group those of `loradex` itself."""
    found = {}
    for point in entry_points(group=PLUGINS):
        place, _, name = point.name.rpartition(" ")
        if place == (group or ""):
            found[name] = point
    return found


def load(name: str, entry: Entry) -> Any:
    """The command itself, imported now, with what is plugged into it."""
    module, _, attribute = entry.target.partition(":")
    found = getattr(import_module(module), attribute)
    if not isinstance(found, typer.Typer):
        return _command(found, name)
    # A group that does something by itself says so with a callback.
    found.info.no_args_is_help = found.registered_callback is None
    found.rich_markup_mode = None
    group: Any = get_group(found)
    for plugged, point in plugins(name).items():
        group.add_command(_command(point.load(), plugged))
    group.name = name
    return group


def _command(function: Any, name: str) -> Any:
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command()(function)
    command: Any = get_command(alone)
    command.name = name
    return command
