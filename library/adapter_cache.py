"""Adapters fetched from elsewhere, kept on disk by their content hash: what is there is what was registered."""

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from loradex.errors import AdapterChangedError, AdapterRefusedError, AdapterUnavailableError
from loradex.library.adapter_files import (
    CONFIG,
    MAX_CONFIG_BYTES,
    MAX_WEIGHTS_BYTES,
    WEIGHTS,
    hash_of_digests,
)
from loradex.library.adapter_sources import PINNED, RemotePlace, allowed_by, checked
from loradex.library.adapter_streams import STALLED_SECONDS, BrokenOffError, pieces

TRIES: Final = 4
WAIT_SECONDS: Final = 0.5
SLOWEST: Final = 64 << 10
"""Bytes a second, below which a file is given up, however steadily it trickles."""
START_SECONDS: Final = 30.0
IN_USE_SECONDS: Final = 300.0
"""For so long after it was asked for, an adapter is not thrown out: whoever asked may still read its files."""
FREE_BYTES: Final = 256 << 20
"""What is left free on the disk for everybody else."""
LEFT_ALONE_SECONDS: Final = 30.0
"""A place that did not answer is not asked again: each time takes long to fail."""
PART: Final = ".part-"
PART_SECONDS: Final = 2 * (START_SECONDS + MAX_WEIGHTS_BYTES / SLOWEST)
"""Longer than anybody fetches: a part as old was left by a process that was killed."""

Fetched = TypeVar("Fetched")


@dataclass(frozen=True)
class AdapterCache:
    """A directory that processes share; each entry is a directory that is named by its content hash.

    An entry appears whole or not at all, so that processes which fetch the same one do not harm each other. Those
    least recently asked for go first.

    Attributes:
        directory: Made when it is first needed.
        budget: Bytes of all entries; only entries in use go beyond it.
        allowed: Beginnings of the addresses that are fetched from.
        free_bytes: Below that much free space on its disk nothing is fetched.
        stalled_seconds: How long no byte may come.
        wait_seconds: Before a place is asked a second time; twice as long before each time after it.
    """

    directory: Path
    budget: int
    allowed: tuple[str, ...] = ()
    free_bytes: int = FREE_BYTES
    stalled_seconds: float = STALLED_SECONDS
    wait_seconds: float = WAIT_SECONDS
    failures: dict[str, tuple[float, str]] = field(default_factory=dict, compare=False, repr=False)
    """Places that did not answer: until when they are not asked again, and what was wrong."""

    def locate(self, uri: str) -> Path:
        """The directory of an adapter that is registered elsewhere; fetched now unless it is here.

        Raises:
            AdapterRefusedError: Its place is not allowed.
            AdapterUnavailableError: It cannot be had now, or there is no room for it.
            AdapterChangedError: Other files lie there than were registered.
        """
        place = RemotePlace.parse(uri)
        allowed_by(place.url, self.allowed)
        return self._here(place) or self._tried(place.url, partial(self._fetched, place))

    def holds(self, uri: str) -> bool:
        """Whether an adapter is here, so that `locate` will hardly wait."""
        match = PINNED.fullmatch(uri)
        return match is not None and (self.directory / match["sha256"]).is_dir()

    def adopt(self, url: str) -> tuple[RemotePlace, Path]:
        """Fetch an adapter that is not registered yet, and say what it is; same errors as `locate`."""
        address = checked(url)
        allowed_by(address, self.allowed)
        return self._tried(address, partial(self._adopted, address))

    def allowing(self, beginnings: Sequence[str]) -> "AdapterCache":
        """The same entries, fetched from more places."""
        return replace(self, allowed=tuple(dict.fromkeys((*beginnings, *self.allowed))))

    def forget(self, uri: str) -> None:
        """Throw an entry out, so that it is fetched anew."""
        if self.directory.is_dir():
            with self._locked(fcntl.LOCK_EX):
                self._throw_out(self.directory / RemotePlace.parse(uri).sha256)

    def _tried(self, url: str, fetch: Callable[[], Fetched]) -> Fetched:
        """What comes of `fetch`, asked again a few times; a place that fails all of them is left alone for a while."""
        until, reason = self.failures.get(url, (0.0, ""))
        if time.monotonic() < until:
            raise AdapterUnavailableError(reason)
        tries = Retrying(
            stop=stop_after_attempt(TRIES),
            wait=wait_exponential(multiplier=self.wait_seconds),
            # Bytes that were changed on their way are other files, once.
            retry=retry_if_exception_type((BrokenOffError, AdapterChangedError)),
            reraise=True,
        )
        try:
            return tries(fetch)
        except BrokenOffError as error:
            reason = f"{url}: it could not be fetched in {TRIES} tries: {error}"
            self.failures[url] = (time.monotonic() + LEFT_ALONE_SECONDS, reason)
            raise AdapterUnavailableError(reason) from error

    def _here(self, place: RemotePlace) -> Path | None:
        """The entry, marked as used now; None if there is none, or one of other sizes."""
        if not self.directory.is_dir():
            return None
        entry = self.directory / place.sha256
        with self._locked(fcntl.LOCK_SH):
            try:
                os.utime(entry)
                sizes = tuple((entry / name).lstat().st_size for name in (CONFIG, WEIGHTS))
            except FileNotFoundError:
                return None
        if sizes == (place.config_bytes, place.weights_bytes):
            return entry
        self.forget(str(place))
        return None

    def _fetched(self, place: RemotePlace) -> Path:
        self._make_room(place.bytes)
        with self._part() as part:
            digests = {
                name: self._download(place.url, part / name, size, exact=True)[0]
                for name, size in ((CONFIG, place.config_bytes), (WEIGHTS, place.weights_bytes))
            }
            found = hash_of_digests(digests)
            if found != place.sha256:
                raise AdapterChangedError(
                    f"{place.url}: the content hash of what lies there is {found}, registered is {place.sha256}; "
                    "put the registered files back or register these as a new version"
                )
            return self._keep(part, found)

    def _adopted(self, url: str) -> tuple[RemotePlace, Path]:
        self._make_room(0)
        with self._part() as part:
            config = self._download(url, part / CONFIG, MAX_CONFIG_BYTES, exact=False)
            weights = self._download(url, part / WEIGHTS, MAX_WEIGHTS_BYTES, exact=False)
            found = hash_of_digests({CONFIG: config[0], WEIGHTS: weights[0]})
            return RemotePlace(url, found, config[1], weights[1]), self._keep(part, found)

    def _keep(self, part: Path, sha256: str) -> Path:
        """Give a whole entry its name; where another process was first, its entry is as good."""
        _flush(part)
        entry = self.directory / sha256
        with self._locked(fcntl.LOCK_EX):
            if entry.is_dir():
                os.utime(entry)
            else:
                part.rename(entry)
                _flush(self.directory)
        return entry

    def _make_room(self, wanted: int) -> None:
        """Throw out what was not asked for longest; `AdapterUnavailableError` if the disk is nearly full even so."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        now = time.time()
        with self._locked(fcntl.LOCK_EX):
            entries = sorted(filter(None, map(_entry, self.directory.iterdir())))
            total = sum(size for _, size, _ in entries)
            for used, size, path in entries:
                left = path.name.startswith(PART) and now - used > PART_SECONDS
                too_much = total + wanted > self.budget or self._free() < wanted + self.free_bytes
                if left or (too_much and now - used > IN_USE_SECONDS and not path.name.startswith(PART)):
                    self._throw_out(path)
                    total -= size
        self._require_room(wanted)

    def _require_room(self, wanted: int) -> None:
        if self._free() < wanted + self.free_bytes:
            raise AdapterUnavailableError(
                f"{self.directory}: {self._free()} bytes are free, {wanted} are wanted and {self.free_bytes} must "
                "stay free; make room, or move LORADEX_HOME"
            )

    def _free(self) -> int:
        return shutil.disk_usage(self.directory).free

    def _throw_out(self, entry: Path) -> None:
        """Take it away from under its name first: nobody finds half an entry."""
        if entry.exists():
            doomed = Path(tempfile.mkdtemp(prefix=PART, dir=self.directory))
            entry.rename(doomed / entry.name)
            shutil.rmtree(doomed)

    def _download(self, url: str, path: Path, limit: int, *, exact: bool) -> tuple[str, int]:
        """Write a file that lies elsewhere, hashed while it comes; its hex SHA-256 and its bytes.

        It stops at `limit`; where that is what was registered (`exact`), one with more or fewer bytes is another file.
        """
        sha256, size = hashlib.sha256(), 0
        whole_seconds = START_SECONDS + limit / SLOWEST
        give_up_at = time.monotonic() + whole_seconds
        with path.open("wb") as file:
            if exact:
                try:
                    os.posix_fallocate(file.fileno(), 0, limit)
                except OSError as error:
                    raise AdapterUnavailableError(
                        f"{path.parent}: no room for {limit} bytes: {error.strerror}"
                    ) from error
            for piece in pieces(url, path.name, whole_seconds, self.stalled_seconds):
                size += len(piece)
                if size > limit:
                    break
                if not exact:
                    self._require_room(len(piece))
                if time.monotonic() > give_up_at:
                    raise BrokenOffError(f"less than {SLOWEST} bytes came a second")
                sha256.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if size > limit and not exact:
            raise AdapterRefusedError(
                f"{url}/{path.name}: more than {limit} bytes, which is the limit; save it in half "
                "precision, or train less of the model"
            )
        if exact and size != limit:
            more = "more" if size > limit else f"{size}"
            raise AdapterChangedError(f"{url}/{path.name}: it has {more} bytes, registered are {limit}")
        return sha256.hexdigest(), size

    @contextmanager
    def _part(self) -> Iterator[Path]:
        """A directory to fetch into; gone afterwards, unless it was given a name."""
        part = Path(tempfile.mkdtemp(prefix=PART, dir=self.directory))
        try:
            yield part
        finally:
            shutil.rmtree(part, ignore_errors=True)

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        """Among all processes: some mark entries as used, or one throws some out."""
        with (self.directory / ".lock").open("ab") as lock:
            fcntl.flock(lock, how)
            yield


def _entry(path: Path) -> tuple[float, int, Path] | None:
    """When it was used, its bytes and itself; None if it is no entry, or is gone: others fetch and give up."""
    try:
        return path.stat().st_mtime, sum(file.lstat().st_size for file in path.iterdir()), path
    except (FileNotFoundError, NotADirectoryError):
        return None


def _flush(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
