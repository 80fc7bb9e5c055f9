"""The option that names task cards, declared once for every command that reads them."""

from pathlib import Path
from typing import Annotated

import typer

from loradex.library.installed import TASKS_DIRECTORY

Cards = Annotated[Path, typer.Option("--cards", envvar="LORADEX_CARDS", help="Directory of task cards.")]
OUR_CARDS = TASKS_DIRECTORY
"""Its default."""
