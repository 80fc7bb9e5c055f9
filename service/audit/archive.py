"""A part of the chain in Parquet files: what the database printed, so that it is verified like the database."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from loradex.bounded_file import bounded_text
from loradex.errors import InvalidArgumentError
from loradex.service.audit.batch import LINKS_AT_ONCE, Batch, batches, canonical
from loradex.service.audit.chain import Chain
from loradex.service.audit.draft import to_disk
from loradex.service.audit.evidence import LINKS, table
from loradex.service.audit.finding import Finding
from loradex.service.audit.snapshot import Connection

MANIFEST = "archive.json"
MAX_MANIFEST_BYTES = 1 << 20
DAMAGED = (
    OSError,
    pa.ArrowException,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What reading files may raise that somebody else wrote: no type and no value in them is promised."""
KINDS = b"loradex.kinds"
"""Key in a file's schema: column → type in the database; all are kept as the text that Postgres prints."""

NEXT = """
    select before, first_position, last_position, last_hash, answers, erased
    from loradex.archivable(coalesce(%s, now()))"""


@dataclass(frozen=True)
class Part:
    """The part of the chain that is archived next, as `loradex.archivable` says.

    `erased` of its answers hold no texts any more. If there are more of them later, it has to be written anew.
    """

    before: datetime
    first_position: int
    last_position: int
    last_hash: bytes
    answers: int
    erased: int

    @classmethod
    def next(cls, connection: Connection, now: datetime | None = None) -> "Part | None":
        row = connection.execute(NEXT, (now,)).fetchone()
        return None if row is None else cls(*row)

    @property
    def name(self) -> str:
        """A name for its directory, which sorts by age."""
        return f"{self.first_position:012d}-{self.last_position:012d}"


def write(connection: Connection, part: Part, previous: bytes, directory: Path) -> None:
    """Write a part in the snapshot of `connection`, where the link before it has the hash `previous`.

    It is on the disk afterwards, since the rows are dropped next. The directory must be there, and empty.
    """
    for name in LINKS:
        _write_table(connection, name, part, directory / f"{name}.parquet")
    told = {
        "first_position": part.first_position,
        "last_position": part.last_position,
        "previous_hash": previous.hex(),
        "last_hash": part.last_hash.hex(),
        "answers": part.answers,
        "erased": part.erased,
        "files": {file.name: _sha256(file) for file in sorted(directory.glob("*.parquet"))},
    }
    (directory / MANIFEST).write_text(json.dumps(told, indent=1) + "\n")
    for place in (*directory.iterdir(), directory):
        to_disk(place)


def _write_table(connection: Connection, name: str, part: Part, file: Path) -> None:
    columns = table(connection, name)
    kinds = json.dumps(dict(columns.columns)).encode()
    schema = pa.schema([(column, pa.string()) for column in columns.columns], metadata={KINDS: kinds})
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in batches(connection, columns, part.first_position, part.last_position):
            arrays = [pa.array(batch.columns[column], pa.string()) for column in columns.columns]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


@dataclass(frozen=True)
class Archive:
    """A directory that `write` wrote."""

    directory: Path
    told: Mapping[str, Any]

    @classmethod
    def at(cls, directory: Path) -> "Archive":
        """The archive in a directory.

        Raises:
            InvalidArgumentError: There is none, or not one of Loradex.
        """
        try:
            told = json.loads(bounded_text(directory / MANIFEST, MAX_MANIFEST_BYTES))
            found = cls(directory, told)
            _ = (
                found.first_position,
                found.previous_hash,
                found.end,
                found.answers,
                found.erased,
                found.files,
            )
        except DAMAGED as error:
            raise InvalidArgumentError(f"{directory} is not an archive of Loradex: {error}") from None
        return found

    @property
    def first_position(self) -> int:
        return int(self.told["first_position"])

    @property
    def previous_hash(self) -> bytes:
        return bytes.fromhex(self.told["previous_hash"])

    @property
    def end(self) -> tuple[int, bytes]:
        """Position after its last link, and that link's hash."""
        return int(self.told["last_position"]) + 1, bytes.fromhex(self.told["last_hash"])

    @property
    def answers(self) -> int:
        return int(self.told["answers"])

    @property
    def erased(self) -> int:
        """How many of its answers held no texts any more when it was written."""
        return int(self.told["erased"])

    @property
    def files(self) -> dict[str, str]:
        """Name → SHA-256 in hex, as they were written."""
        return dict(self.told["files"])

    def files_same(self) -> bool:
        """Whether its files are those that were written."""
        return self.files == {file.name: _sha256(file) for file in self.directory.glob("*.parquet")}

    def walk(self, chain: Chain, passed: Callable[[int], None] = lambda _: None) -> Iterator[Finding]:
        """Everything that is wrong with it, where `chain` has come to its first link; afterwards it is at its end.

        What was erased in it is counted: who took texts out of it would only have to put commitments in their place.
        """
        answers, erased = chain.answers, len(chain.erased)
        try:
            if not self.files_same():
                yield self._doubt(f"its files are not those that its {MANIFEST} names")
            yield from chain.walk([(name, self._read(name)) for name in LINKS], passed)
        except DAMAGED as error:
            yield self._doubt(f"it cannot be read: {error or type(error).__name__}")
        else:
            if (chain.expected, chain.before) != self.end:
                yield self._doubt("it does not end as it says")
            if (chain.answers - answers, len(chain.erased) - erased) != (self.answers, self.erased):
                yield self._doubt(
                    f"it holds {chain.answers - answers} answers, {len(chain.erased) - erased} of them erased, and its "
                    f"{MANIFEST} says {self.answers} and {self.erased}"
                )
        chain.expected, chain.before = self.end

    def unlike(self, noted: Collection[str], *, complete: bool) -> Iterator[Finding]:
        """Where its files are not those of the notes that speak of its links; `complete` says that there must be one.

        The notes are in the chain, so who changed an archive and its manifest cannot have changed them.
        """
        if not noted and complete:
            yield self._doubt("no note in the chain speaks of its links")
        elif noted and json.dumps(self.files, sort_keys=True) not in noted:
            yield self._doubt("its files are not those that its note in the chain names")

    def _doubt(self, reason: str) -> Finding:
        return Finding.of_database(f"{self.directory}: {reason}")

    def _read(self, name: str) -> Iterator[Batch]:
        with pq.ParquetFile(self.directory / f"{name}.parquet") as file:
            kinds = json.loads(file.schema_arrow.metadata[KINDS])
            for group in range(file.num_row_groups):
                # One was written at once, so that it has no more bytes than a batch may have.
                for rows in file.iter_batches(LINKS_AT_ONCE, row_groups=[group]):
                    columns = _columns(rows)
                    yield Batch(columns, canonical(name, kinds, columns))


def findings(
    archives: Sequence[Archive],
    heads: Collection[bytes] = (),
    passed: Callable[[int], None] = lambda _: None,
) -> Iterator[Finding]:
    """Everything that is wrong with archives, oldest first, without looking at a database.

    Each must begin where the one before it ends, and have the files that a note in a later one names. `heads` are
    hashes that were kept elsewhere; `passed` is told how many answers further the walk is.
    """
    chain = Chain(archives[0].first_position, archives[0].previous_hash, dict.fromkeys(heads))
    for archive in archives:
        yield from archive.walk(chain, passed)
    for archive in archives:
        yield from archive.unlike(chain.files_of(archive.first_position, archive.end[0] - 1), complete=False)
    yield from chain.missing_heads()


def _columns(rows: pa.RecordBatch) -> dict[str, list[str | None]]:
    return {name: rows.column(name).to_pylist() for name in rows.schema.names}


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
