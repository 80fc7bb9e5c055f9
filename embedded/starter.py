"""The starter library in a new embedded database, so that the first question finds adapters."""

from collections.abc import Callable

from loradex.db.session import connect, translate_errors
from loradex.errors import LibraryMissingError
from loradex.library.installed import starter_library
from loradex.library.settings import LibrarySettings

MANUAL = "`loradex library load DIRECTORY` loads one"


def load_starter(url: str, settings: LibrarySettings, say: Callable[[str], None]) -> str | None:
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
    roots = settings.roots()
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


def _made_for_others(settings: LibrarySettings, base_model: str, encoder: str) -> str | None:
    """The setting that gives the worker another model or encoder than the library was made for."""
    if settings.base_model_path is not None:
        return "LORADEX_BASE_MODEL_PATH names a base model"
    if settings.base_model != base_model:
        return f"LORADEX_BASE_MODEL is {settings.base_model}"
    if settings.encoder_path is not None:
        return "LORADEX_ENCODER_PATH names an encoder"
    if settings.encoder != encoder:
        return f"LORADEX_ENCODER is {settings.encoder}"
    return None
