"""New files of an adapter: all of them appear or none does, and what somebody put there meanwhile stays."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loradex.errors import AdapterRefusedError


@contextmanager
def new_files(directory: Path, names: tuple[str, ...]) -> Iterator[Path]:
    """A directory to write them in; when the caller is done they are moved to their own, in this order.

    After an error there are none of them, and no directory that was made for them.

    Raises:
        AdapterRefusedError: One is there already, or the disk does not take them.
    """
    made = [one for one in (directory, *directory.parents) if not os.path.lexists(one)]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=directory, prefix=".new-"))
        try:
            yield draft
            _appear(draft, directory, names)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except BaseException as error:
        for one in made:
            with suppress(OSError):
                one.rmdir()
        if isinstance(error, OSError):
            raise AdapterRefusedError(
                f"{directory}: {error.strerror or error}; make room or rights there, or name another directory with "
                "--to"
            ) from error
        raise


def _appear(draft: Path, directory: Path, names: tuple[str, ...]) -> None:
    """Give every file its name; those of before the one that failed lose theirs again."""
    done: list[Path] = []
    try:
        for name in names:
            (draft / name).chmod(0o644)
            _move(draft / name, directory / name)
            done.append(directory / name)
    except BaseException:
        for path in done:
            path.unlink(missing_ok=True)
        raise


def _move(new: Path, path: Path) -> None:
    """By a link of our own, which writes over nothing; where there are no links, into a name that we made."""
    try:
        os.link(new, path)
    except FileExistsError as error:
        raise _there(path) from error
    except OSError:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError as error:
            raise _there(path) from error
        new.replace(path)


def _there(path: Path) -> AdapterRefusedError:
    return AdapterRefusedError(f"{path}: it is there already; name another directory with --to")
