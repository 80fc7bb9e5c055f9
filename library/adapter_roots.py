"""Where adapter files may lie: directories below the configured roots, reached without links or `..`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

from loradex.errors import AdapterChangedError, AdapterRefusedError
from loradex.library import hub_cache
from loradex.library.installed import installed_libraries


def _split(value: object) -> object:
    return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value


RootList = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_split)]
"""A setting that holds directories, separated as in PATH."""


@dataclass(frozen=True)
class AdapterPlace:
    """Where an adapter lies: the root that it lies below, and what is stored of it."""

    root: Path
    uri: str


@dataclass(frozen=True)
class AdapterRoots:
    """LORADEX_ADAPTER_ROOTS: adapters are stored relative to one of them, so that roots can move."""

    roots: tuple[Path, ...]

    @classmethod
    def of(cls, configured: Sequence[Path], home: Path) -> "AdapterRoots":
        """The configured roots, then where installed libraries and `loradex train` keep adapters."""
        libraries = (directory.parent for directory in installed_libraries().values())
        chosen = (*configured, *libraries, home / "train", home / "adapters")
        return cls(tuple(dict.fromkeys(root.resolve() for root in chosen)))

    def joined(self, announced: Sequence[str]) -> "AdapterRoots":
        """The roots that living workers announced, then these: what a worker reads is a better place to name."""
        return AdapterRoots(
            tuple(dict.fromkeys((*(Path(root).resolve() for root in announced), *self.roots)))
        )

    def uri(self, directory: Path) -> str:
        """What to store for a directory, see `place`."""
        return self.place(directory).uri

    def place(self, directory: Path) -> AdapterPlace:
        """Where a directory lies; stored relative to its root, or absolute where that would be ambiguous."""
        given = Path(os.path.abspath(directory))  # noqa: PTH100 - links must stay visible here
        for root in self.roots:
            inside = self._inside(given, root)
            if inside is not None:
                relative = inside.relative_to(root).as_posix()
                plain = self._candidates(relative)[:1] == [inside]
                return AdapterPlace(root, relative if plain else str(inside))
        raise AdapterRefusedError(
            f"{directory}: it lies below none of the adapter roots ({self._shown}); "
            "copy it there or add its parent to LORADEX_ADAPTER_ROOTS"
        )

    def locate(self, uri: str) -> Path:
        """The directory a stored uri means; refuses what leads out of the roots, and says when it is gone."""
        path = PurePath(uri)
        if ".." in path.parts or "\0" in uri:
            raise AdapterRefusedError(f"{uri!r}: an adapter's place must not hold '..'")
        if path.is_absolute():
            places = [inside for root in self.roots if (inside := self._inside(Path(path), root)) is not None]
            if not places:
                raise AdapterRefusedError(f"{uri}: it lies below none of the adapter roots ({self._shown})")
        else:
            places = self._candidates(uri)
        if not places or not places[0].is_dir():
            raise AdapterChangedError(
                f"{uri}: no such directory below the adapter roots ({self._shown}); "
                "put it back or set LORADEX_ADAPTER_ROOTS"
            )
        return places[0]

    def _candidates(self, relative: str) -> list[Path]:
        places = (self._inside(root / relative, root) for root in self.roots)
        return [place for place in places if place is not None and place.is_dir()]

    def _inside(self, path: Path, root: Path) -> Path | None:
        """`path` if it lies below `root`; a link on the way there is refused, wherever it leads."""
        resolved = path.resolve()
        lexical = next((base for base in (root, *_aliases(path, root)) if path.is_relative_to(base)), None)
        if lexical is None:
            return None
        if resolved != root / path.relative_to(lexical):
            raise AdapterRefusedError(f"{path}: a symbolic link below an adapter root is not followed")
        cache = hub_cache.repository(resolved)
        if cache is not None and not cache.is_relative_to(root):
            raise AdapterRefusedError(
                f"{path}: its files lie in {cache / 'blobs'}, outside the adapter root {root}; make {cache} a root"
            )
        return resolved

    @property
    def _shown(self) -> str:
        return ", ".join(str(root) for root in self.roots)


def _aliases(path: Path, root: Path) -> list[Path]:
    """Parents of `path` that are `root` by another name, as when a root itself was given through a link."""
    return [parent for parent in (path, *path.parents) if parent.resolve() == root]
