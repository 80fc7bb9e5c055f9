"""Where adapter files may lie: directories below the configured roots, reached without links or `..`."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

from loradex.errors import AdapterChangedError, AdapterRefusedError
from loradex.library import hub_cache
from loradex.library.adapter_copies import AdapterCopies
from loradex.library.adapter_sources import allowed_by, is_remote
from loradex.library.installed import installed_libraries

if TYPE_CHECKING:
    from loradex.library.adapter_cache import AdapterCache


HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def _split(value: object) -> object:
    return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value


RootList = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_split)]
"""A setting that holds directories, separated as in PATH."""


@dataclass(frozen=True)
class AdapterPlace:
    """Where an adapter lies: the root or the beginning of an address that it lies below, and what is stored of it."""

    root: str
    uri: str


@dataclass(frozen=True)
class AdapterRoots:
    """LORADEX_ADAPTER_ROOTS: adapters are stored relative to one of them, so that roots can move.

    What lies elsewhere (LORADEX_ADAPTER_SOURCES) comes through the cache. Several roots may have a directory of one
    name; which of them is an adapter is told by its content hash.
    """

    roots: tuple[Path, ...]
    cache: "AdapterCache | None" = None
    copies: AdapterCopies = field(default_factory=AdapterCopies, compare=False, repr=False)

    @classmethod
    def of(
        cls, configured: Sequence[Path], home: Path, cache: "AdapterCache | None" = None
    ) -> "AdapterRoots":
        """The configured roots, then where installed libraries and `loradex train` keep adapters."""
        libraries = (directory.parent for directory in installed_libraries().values())
        chosen = (*configured, *libraries, home / "train", home / "adapters")
        return cls(tuple(dict.fromkeys(root.resolve() for root in chosen)), cache)

    @property
    def announced(self) -> list[str]:
        """What a worker says it reads: directories, and beginnings of addresses."""
        return [*map(str, self.roots), *(self.cache.allowed if self.cache else ())]

    def joined(self, announced: Sequence[str]) -> "AdapterRoots":
        """The roots that living workers announced, then these: what a worker reads is a better place to name."""
        theirs = (Path(root).resolve() for root in announced if not is_remote(root))
        sources = [root for root in announced if is_remote(root)]
        cache = None if self.cache is None else self.cache.allowing(sources)
        return replace(self, roots=tuple(dict.fromkeys((*theirs, *self.roots))), cache=cache)

    def found(self, named: str) -> tuple[AdapterPlace, Path]:
        """Where the adapter lies that somebody names by its directory or address, and where its files are here.

        Raises:
            AdapterRefusedError: It lies below no root, or at an address that is not allowed.
            AdapterUnavailableError: It cannot be fetched from there.
        """
        if HUB_NAME.fullmatch(named) and not Path(named).exists():
            raise AdapterRefusedError(
                f"{named}: there is no such directory; if a repository of the hub is meant, name it "
                f"hf://{named}@<commit>"
            )
        if not is_remote(named):
            return self.place(Path(named)), Path(named)
        place, directory = self._remote(named).adopt(named)
        return AdapterPlace(allowed_by(place.url, self._remote(named).allowed), str(place)), directory

    def uri(self, directory: Path) -> str:
        """What to store for a directory, see `place`."""
        return self.place(directory).uri

    def place(self, directory: Path) -> AdapterPlace:
        """Where a directory lies; stored relative to its root, or absolute where that would be ambiguous."""
        given = Path(os.path.abspath(directory))  # noqa: PTH100 - links must stay visible here
        for root, inside in self._below((given, root) for root in self.roots):
            relative = inside.relative_to(root).as_posix()
            plain = self._directories(relative)[:1] == [inside]
            return AdapterPlace(str(root), relative if plain else str(inside))
        raise AdapterRefusedError(
            f"{directory}: it lies below none of the adapter roots ({self._shown}); "
            "copy it there or add its parent to LORADEX_ADAPTER_ROOTS"
        )

    def locate(self, uri: str, sha256: str | None = None) -> Path:
        """The directory a stored uri means; refuses what leads out of the roots, and says when it is gone.

        Of several directories of that name it is the one with the content hash, or the first where none is asked for.
        A single one is not hashed: whoever reads it does that. What lies elsewhere is fetched, unless it is in the
        cache; see `AdapterCache.locate`.
        """
        if is_remote(uri):
            return self._remote(uri).locate(uri)
        if ".." in PurePath(uri).parts or "\0" in uri:
            raise AdapterRefusedError(f"{uri!r}: an adapter's place must not hold '..'; register it again")
        places = self._directories(uri)
        if not places:
            raise AdapterChangedError(
                f"{uri}: no such directory below the adapter roots ({self._shown}); "
                "put it back or set LORADEX_ADAPTER_ROOTS"
            )
        if sha256 is None or len(places) == 1:
            return places[0]
        found = self.copies.registered(places, sha256)
        if found is None:
            raise AdapterChangedError(
                f"{uri}: none of {', '.join(map(str, places))} has the content hash {sha256}, which is registered; "
                "put the registered files back or register these as a new version"
            )
        return found

    def at_hand(self, uri: str) -> bool:
        """Whether `locate` fetches nothing."""
        return not is_remote(uri) or (self.cache is not None and self.cache.holds(uri))

    def renewed(self, uri: str) -> Path:
        """The directory of what lies elsewhere, fetched anew."""
        self._remote(uri).forget(uri)
        return self.locate(uri)

    def _remote(self, uri: str) -> "AdapterCache":
        if self.cache is None:
            raise AdapterRefusedError(f"{uri}: this program reads adapters from directories alone; name one")
        return self.cache

    def _directories(self, uri: str) -> list[Path]:
        """The directories that a stored uri may mean, in the order of the roots."""
        # Of an absolute uri that is itself, below each root.
        inside = [place for _, place in self._below((root / uri, root) for root in self.roots)]
        if not inside:
            raise AdapterRefusedError(
                f"{uri}: it lies below none of the adapter roots ({self._shown}); "
                "add its parent to LORADEX_ADAPTER_ROOTS"
            )
        return list(dict.fromkeys(place for place in inside if _is_there(place)))

    def _below(self, places: Iterable[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
        """The root and the resolved path of each that lies below its root.

        One that is refused stands in nobody's way, unless it is all that there is.
        """
        found, refused = [], list[AdapterRefusedError]()
        for path, root in places:
            try:
                inside = self._inside(path, root)
            except AdapterRefusedError as error:
                refused.append(error)
            except (OSError, RuntimeError) as error:
                refused.append(
                    AdapterRefusedError(f"{path}: {error}; make it readable, or take {root} out of the roots")
                )
            else:
                if inside is not None:
                    found.append((root, inside))
        if refused and not any(_is_there(inside) for _, inside in found):
            raise refused[0]
        return found

    def _inside(self, path: Path, root: Path) -> Path | None:
        """`path` if it lies below `root`; a link on the way there is refused, wherever it leads."""
        resolved = path.resolve()
        lexical = root if path.is_relative_to(root) else next(_aliases(path, root), None)
        if lexical is None:
            return None
        if resolved != root / path.relative_to(lexical):
            raise AdapterRefusedError(
                f"{path}: a symbolic link below an adapter root is not followed; "
                "name the directory itself, and add its parent to LORADEX_ADAPTER_ROOTS"
            )
        cache = hub_cache.repository(resolved)
        if cache is not None and not cache.is_relative_to(root):
            raise AdapterRefusedError(
                f"{path}: its files lie in {cache / 'blobs'}, outside the adapter root {root}; make {cache} a root"
            )
        return resolved

    @property
    def _shown(self) -> str:
        return ", ".join(str(root) for root in self.roots)


def _is_there(directory: Path) -> bool:
    try:
        return directory.is_dir()
    except OSError:
        return False


def _aliases(path: Path, root: Path) -> Iterator[Path]:
    """Parents of `path` that are `root` by another name, as when a root itself was given through a link."""
    return (parent for parent in (path, *path.parents) if parent.resolve() == root)
