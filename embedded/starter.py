"""The starter library in a new embedded database, so that the first question finds adapters."""

from collections.abc import Callable
from pathlib import Path

from loradex.db.session import connect, translate_errors
from loradex.errors import LibraryMissingError
from loradex.library.adapter_roots import AdapterRoots, RootList
from loradex.library.installed import starter_library
from loradex.settings import Settings

MANUAL = "`loradex library load DIRECTORY` loads one"


class StarterSettings(Settings):
    """What decides whether the starter library fits the worker, and where other adapters lie.

    Attributes:
        base_model: Name of the worker's base model; None means the default, which the library is for.
        base_model_path: Directory of another model.
        encoder: Name of the worker's encoder; None means the default, whose vectors the library has.
        encoder_path: Directory of another encoder.
        adapter_roots: Directories below which adapter files may lie.
    """

    base_model: str | None = None
    base_model_path: Path | None = None
    encoder: str | None = None
    encoder_path: Path | None = None
    adapter_roots: RootList = ()


def load_starter(url: str, settings: StarterSettings, say: Callable[[str], None]) -> str | None:
    """Load the starter library if the database has no adapter and no example.

    Returns:
        What was done, or why nothing was, in a sentence; None for a database that is not empty.
    """
    if not _is_empty(url):
        return None
    try:
        directory = starter_library()
    except LibraryMissingError:
        return f"the database has no adapters: pip install loradex-starter, then run `loradex up`; {MANUAL}"
    # What reads a library (numpy, pyarrow) is there where the starter library is.
    from loradex.library.cards import load_cards  # noqa: PLC0415
    from loradex.library.load import load_library, open_library  # noqa: PLC0415

    say("loading the starter library")
    cards = load_cards()
    library = open_library(directory, cards)
    other = _made_for_others(settings, library.manifest.base_model.name, library.manifest.encoder.name)
    if other is not None:
        return f"the database has no adapters: {other}, which the starter library is not for; {MANUAL}"
    roots = AdapterRoots.of(settings.adapter_roots, settings.home)
    with translate_errors(), connect(url) as connection:
        report = load_library(connection, library, cards, roots, lambda _: None)
    return (
        f"loaded the starter library into the new database: {report.adapters_added} adapters, "
        f"{report.examples_added} examples"
    )


def _is_empty(url: str) -> bool:
    with translate_errors(), connect(url) as connection:
        row = connection.execute(
            "select not exists (select from loradex.adapters) and not exists (select from loradex.examples)"
        ).fetchone()
    return row is not None and bool(row[0])


def _made_for_others(settings: StarterSettings, base_model: str, encoder: str) -> str | None:
    """The setting that gives the worker another model or encoder than the library was made for."""
    if settings.base_model_path is not None:
        return "LORADEX_BASE_MODEL_PATH names a base model"
    if settings.base_model not in {None, base_model}:
        return f"LORADEX_BASE_MODEL is {settings.base_model}"
    if settings.encoder_path is not None:
        return "LORADEX_ENCODER_PATH names an encoder"
    if settings.encoder not in {None, encoder}:
        return f"LORADEX_ENCODER is {settings.encoder}"
    return None
