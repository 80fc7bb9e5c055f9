"""Bytes of an answer on disk with its indexes, and of the write-ahead log that its whole way writes."""

import argparse
from typing import Any

import psycopg
from psycopg.types.json import Jsonb
from tests.world import answer_document

from loradex.benchmarks.answers import CLAIM, KEEP, RECORD, ROUTED, database, fill
from loradex.benchmarks.frame import Measure, Options, finish
from loradex.db.session import connect

BAR_BYTES = 5000
BAR_WAL_BYTES = 9000
A_BATCH = 16
SETTINGS = Options(json=True, rounds=1, threads=1, device="cpu", dtype="float32")
PARTS = """
    select sum(pg_relation_size(p.relid)), sum(pg_table_size(p.relid) - pg_relation_size(p.relid)),
           sum(pg_indexes_size(p.relid))
    from pg_partition_tree('loradex.answers') p where p.isleaf"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--answers", type=int, default=10_000, help="(default %(default)s)")
    asked = parser.parse_args()
    with database() as url, connect(url) as connection:
        # The first answers warm up: what is made once, such as a partition, is not an answer's.
        fill(connection, ROUTED)
        connection.execute("checkpoint")
        sizes, log, jobs = _sizes(connection), _wal(connection), _jobs(connection)
        for _ in range(asked.answers // A_BATCH):
            answer_batch(connection)
        answered = asked.answers // A_BATCH * A_BATCH
        wal = (_wal(connection) - log) / answered
        connection.execute("vacuum")
        heap, outside, indexes = (
            (now - before) / answered for now, before in zip(_sizes(connection), sizes, strict=True)
        )
        a_job = (_jobs(connection) - jobs) / answered
    total = heap + outside + indexes
    measures = [
        Measure(
            ratio=round(BAR_BYTES / total, 3),
            bar=1.0,
            what=f"bytes of an answer with its indexes against {BAR_BYTES}",
            sides={
                "bytes_an_answer": round(total),
                "heap": round(heap),
                "out_of_line": round(outside),
                "indexes": round(indexes),
                "bytes_a_job": round(a_job),
            },
        ),
        Measure(
            ratio=round(BAR_WAL_BYTES / wal, 3),
            bar=1.0,
            what=f"bytes of WAL of an answer's whole way against {BAR_WAL_BYTES}",
            sides={"wal_bytes_an_answer": round(wal)},
        ),
    ]
    notes = [
        f"{answered} answers with 32 neighbours and vectors of 384 numbers, after {ROUTED} that are not counted",
        f"{A_BATCH} jobs are enqueued, claimed and routed at a time; each answer is recorded in its own transaction",
        "WAL with full page images, from a checkpoint to the last answer; what autovacuum writes is in it",
    ]
    finish("size", Options(**{**SETTINGS.__dict__, "json": asked.json}), measures, None, notes)


def answer_batch(connection: psycopg.Connection[Any]) -> None:
    """A batch on its way from the question to the last answer."""
    said = answer_document(None, 0, "")
    merge = said.pop("merge")
    jobs = [{"prompt": f"Question {place}: is the chain whole?"} for place in range(A_BATCH)]
    connection.execute("select loradex.enqueue_jobs(%s)", (Jsonb(jobs),))
    connection.execute(CLAIM, (A_BATCH,))
    connection.execute(KEEP)
    for place in range(1, A_BATCH + 1):
        connection.execute(RECORD + " where j.place = %s", (Jsonb(said), Jsonb(merge), place))
    connection.execute("drop table claimed")


def _sizes(connection: psycopg.Connection[Any]) -> tuple[int, int, int]:
    (row,) = connection.execute(PARTS).fetchall()
    return int(row[0]), int(row[1]), int(row[2])


def _jobs(connection: psycopg.Connection[Any]) -> int:
    (row,) = connection.execute("select pg_total_relation_size('loradex.jobs')").fetchall()
    return int(row[0])


def _wal(connection: psycopg.Connection[Any]) -> int:
    (row,) = connection.execute("select pg_current_wal_insert_lsn() - '0/0'").fetchall()
    return int(row[0])


if __name__ == "__main__":
    main()
