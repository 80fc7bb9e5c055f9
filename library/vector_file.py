"""`examples.parquet`: which examples a library retrieves by, as float16 vectors; no text of any data set."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from loradex.errors import LibraryCorruptError
from loradex.library.vectors import Vectors

UNIT_TOLERANCE = 0.01


@dataclass(frozen=True)
class ExampleVectors:
    """Rows of a library: `tasks`, `source_refs`, hex `sha256`; `vectors` is float32 `[rows, dimensions]`."""

    tasks: list[str]
    source_refs: list[str]
    sha256: list[str]
    vectors: Vectors

    def __len__(self) -> int:
        return len(self.tasks)


def schema(dimensions: int) -> pa.Schema:
    return pa.schema(
        [
            pa.field("task", pa.string(), nullable=False),
            pa.field("source_ref", pa.string(), nullable=False),
            pa.field("sha256", pa.binary(32), nullable=False),
            pa.field("embedding", pa.list_(pa.float16(), dimensions), nullable=False),
        ]
    )


def write_vectors(path: Path, rows: ExampleVectors) -> None:
    dimensions = rows.vectors.shape[1]
    halves: npt.NDArray[np.float16] = rows.vectors.astype(np.float16)
    table = pa.table(
        [
            pa.array(rows.tasks),
            pa.array(rows.source_refs),
            pa.array([bytes.fromhex(digest) for digest in rows.sha256], pa.binary(32)),
            pa.FixedSizeListArray.from_arrays(pa.array(halves.ravel()), dimensions),
        ],
        schema=schema(dimensions),
    )
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=["task"],
        # Signs and exponents beside each other pack better: 7.0 MiB instead of 7.5 for 10,651 rows.
        column_encoding={"embedding.list.element": "BYTE_STREAM_SPLIT"},
    )


def read_vectors(content: bytes, dimensions: int, name: str) -> ExampleVectors:
    """The rows of a file's `content`; `LibraryCorruptError` with `name` unless every row is usable."""
    try:
        table = pq.read_table(pa.BufferReader(content))
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise LibraryCorruptError(f"{name}: not a Parquet file ({str(error).splitlines()[0]})") from None
    expected = schema(dimensions)
    if not table.schema.remove_metadata().equals(expected):
        raise LibraryCorruptError(f"{name}: its columns are {table.schema.names}, not those of a library")
    embedding = table.column("embedding").combine_chunks()
    vectors = embedding.flatten().to_numpy().astype(np.float32).reshape(-1, dimensions)
    if len(vectors) != len(table) or not (np.abs(np.linalg.norm(vectors, axis=1) - 1) < UNIT_TOLERANCE).all():
        raise LibraryCorruptError(f"{name}: a vector is not of length one")
    rows = ExampleVectors(
        tasks=table.column("task").to_pylist(),
        source_refs=table.column("source_ref").to_pylist(),
        sha256=[digest.hex() for digest in table.column("sha256").to_pylist()],
        vectors=vectors,
    )
    if any("\0" in one for one in rows.source_refs):
        raise LibraryCorruptError(
            f"{name}: a source_ref has the character NUL, which Postgres does not store"
        )
    if len(set(zip(rows.tasks, rows.source_refs, strict=True))) != len(rows):
        raise LibraryCorruptError(f"{name}: an example stands there twice")
    return rows
