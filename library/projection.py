"""A map of the examples: their vectors in the plane in which they differ most (PCA), kept in the database."""

from dataclasses import dataclass
from typing import Any, LiteralString

import numpy as np
import numpy.typing as npt
import psycopg
from pgvector.psycopg import register_vector

from loradex.errors import InvalidArgumentError, UnknownNameError

SAMPLE = 50_000
"""Vectors that the plane is found from; in a larger library every n-th."""

BATCH = 2_000
LEAST = 3
COUNTED: LiteralString = """
    select e.dimensions, (select count(*) from loradex.example_embeddings x where x.encoder = e.name)
    from loradex.encoders e where e.name = %s"""
SAMPLED: LiteralString = """
    select embedding from loradex.example_embeddings
    where encoder = %s and example_id %% %s = 0"""
FORGOTTEN: LiteralString = "delete from loradex.projections where encoder = %s"
KEPT: LiteralString = """
    with placed as (
        select -(embedding operator(public.<#>) %(first)s::public.vector) - %(first_offset)s as x,
               -(embedding operator(public.<#>) %(second)s::public.vector) - %(second_offset)s as y
        from loradex.example_embeddings where encoder = %(encoder)s
    )
    insert into loradex.projections (
        encoder, method, examples, first, second, first_offset, second_offset, reach, explained)
    select %(encoder)s, 'pca', count(*), %(first)s, %(second)s, %(first_offset)s, %(second_offset)s,
           greatest(max(abs(x)), max(abs(y)), 1e-6), %(explained)s
    from placed"""
PLACED: LiteralString = """
    insert into loradex.projected_examples (example_id, encoder, task, x, y, near_duplicate, looks_like)
    select e.example_id, e.encoder, e.task, -(e.embedding operator(public.<#>) p.first) - p.first_offset,
           -(e.embedding operator(public.<#>) p.second) - p.second_offset, d.example_id is not null, m.looks_like
    from loradex.projections p
    join loradex.example_embeddings e on e.encoder = p.encoder
    left join (
        select distinct unnest(array[d.example_id, d.duplicate_id]) as example_id
        from loradex.duplicate_examples(encoder => %(encoder)s) d where %(compared)s
    ) d on d.example_id = e.example_id
    left join (
        select c.example_id, c.looks_like
        from loradex.mislabelled_candidates(encoder => %(encoder)s) c where %(compared)s
    ) m on m.example_id = e.example_id
    where p.encoder = %(encoder)s
    returning near_duplicate, looks_like is not null"""
Directions = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Projection:
    """What was drawn.

    Attributes:
        examples: How many there are on the map.
        explained: Share of the variance that the plane shows, 0 to 1.
        near_duplicates: Examples that are nearly the same as another.
        mislabelled: Examples whose neighbours nearly all belong to one other task.
    """

    encoder: str
    examples: int
    explained: float
    near_duplicates: int
    mislabelled: int


def project(connection: psycopg.Connection[Any], encoder: str, *, compared: bool = True) -> Projection:
    """Draw the map of an encoder's examples anew, in one transaction; the connection is the administrator's.

    Without `compared` no example is compared with the others, which takes most of the time: none of them is said to be
    a near duplicate, or mislabelled.

    Raises:
        UnknownNameError: There is no such encoder.
        InvalidArgumentError: It has too few examples for a plane.
    """
    register_vector(connection)
    with connection.transaction():
        found = connection.execute(COUNTED, (encoder,)).fetchone()
        if found is None:
            raise UnknownNameError(f"no encoder {encoder}; see `loradex encoder list`")
        dimensions, examples = found
        if examples < LEAST:
            raise InvalidArgumentError(
                f"{encoder} has vectors of {examples} examples, and a map needs {LEAST}: add examples first"
            )
        with connection.cursor("vectors", binary=True) as sampled:
            sampled.execute(SAMPLED, (encoder, max(examples // SAMPLE, 1)))
            directions, offsets, explained = plane(sampled, dimensions)
        values = {
            "encoder": encoder,
            "first": directions[0],
            "second": directions[1],
            "first_offset": offsets[0],
            "second_offset": offsets[1],
            "explained": explained,
            "compared": compared,
        }
        connection.execute(FORGOTTEN, (encoder,))
        connection.execute(KEPT, values)
        odd = connection.execute(PLACED, values).fetchall()
    return Projection(encoder, len(odd), explained, sum(one[0] for one in odd), sum(one[1] for one in odd))


def plane(rows: psycopg.ServerCursor[Any], dimensions: int) -> tuple[Directions, Directions, float]:
    """Principal components of vectors that are read in batches.

    Returns:
        The two directions of the largest variance, float64 `[2, dimensions]`, each of length one and with its largest
        component positive; the mean vector along each; and their share of the variance, from 0 to 1.
    """
    number, total, moment = 0, np.zeros(dimensions), np.zeros((dimensions, dimensions))
    while batch := rows.fetchmany(BATCH):
        vectors = np.stack([row[0].to_numpy() for row in batch]).astype(np.float64)
        number += len(vectors)
        total += vectors.sum(axis=0)
        moment += vectors.T @ vectors
    mean = total / max(number, 1)
    variances, directions = np.linalg.eigh(moment / max(number, 1) - np.outer(mean, mean))
    chosen = directions[:, [-1, -2 % dimensions]].T
    largest = np.take_along_axis(chosen, np.abs(chosen).argmax(axis=1)[:, None], axis=1)
    chosen = chosen * np.where(largest < 0, -1.0, 1.0)
    whole = float(variances.clip(min=0).sum())
    explained = float(variances[-2:].clip(min=0).sum()) / whole if whole > 0 else 1.0
    return chosen, chosen @ mean, explained
