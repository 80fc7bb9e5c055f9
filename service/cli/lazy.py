"""A command group that knows its commands by name and one line, and imports a command when it is called."""

from importlib import import_module
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group


class Entry(NamedTuple):
    """A command in the table.

    Attributes:
        target: `module:attribute`; the attribute is a function, or a `typer.Typer` with commands of its own.
        help: What `loradex --help` says about it.
    """

    target: str
    help: str


class LazyGroup(TyperGroup):
    """Shows the commands of `table`; subclass it to say which."""

    table: ClassVar[dict[str, Entry]] = {}

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        for name, entry in self.table.items():
            self.add_command(
                TyperCommand(name=name, help=entry.help, short_help=entry.help, rich_markup_mode=None)
            )

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and name in self.table:
            command = load(name, self.table[name])
        return name, command, rest


def load(name: str, entry: Entry) -> Any:
    """The command itself, imported now."""
    module, _, attribute = entry.target.partition(":")
    found = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        found.info.no_args_is_help = True
        found.rich_markup_mode = None
        command: Any = get_group(found)
    else:
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command()(found)
        command = get_command(alone)
    command.name = name
    return command
