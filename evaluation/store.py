"""What an evaluation reads from Postgres, and the rows it leaves there."""

import hashlib
import subprocess
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from loradex.db.session import translate_errors
from loradex.errors import InvalidArgumentError
from loradex.evaluation.cells import Cell
from loradex.evaluation.rows import Seen
from loradex.worker.engine.training.settings import DIGITS


def adapters_by_task(connection: psycopg.Connection[Any], base_model: str) -> dict[str, list[str]]:
    """Task → names of its active adapters, and then of those that were declared to be trained on it.

    Raises:
        InvalidArgumentError: There is none at all.
    """
    with translate_errors():
        rows = connection.execute(
            "select task, array_agg(name order by own desc, share desc, name = task desc, name) from ("
            "select t.task, a.name, t.task = a.task as own, max(a.share) as share from loradex.adapters a "
            "cross join unnest(a.task || a.trained_on) t(task) "
            "where a.base_model = %s and a.state = 'active' group by 1, 2, 3) trained group by task",
            (base_model,),
        ).fetchall()
    if not rows:
        raise InvalidArgumentError(
            f"no active adapter for {base_model}; load some with `loradex library load`"
        )
    return dict(rows)


def models(connection: psycopg.Connection[Any], base_model: str, encoder: str) -> tuple[str, str, str | None]:
    """Revision and frame of the base model, and the encoder's revision, None where the database does not know it."""
    with translate_errors():
        found = connection.execute(
            "select m.revision, m.frame, (select e.revision from loradex.encoders e where e.name = %s) "
            "from loradex.base_models m where m.name = %s",
            (encoder, base_model),
        ).fetchone()
    if found is None:
        raise InvalidArgumentError(f"no base model {base_model}; `loradex model list` names those there are")
    return str(found[0]), str(found[1]), found[2]


def families(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """Task → family, of every task the database knows, whatever this process measures."""
    with translate_errors():
        return dict(connection.execute("select name, family from loradex.tasks").fetchall())


def rows_trained_on(connection: psycopg.Connection[Any], base_model: str, task: str) -> Seen:
    """Every row that an adapter of this task has seen, by its card."""
    with translate_errors():
        rows = connection.execute(
            "select distinct r.key, left(r.value, %s) from loradex.adapters a, "
            "jsonb_path_query(a.card, 'lax $.**.data.training') seen, "
            "jsonb_each_text(case when jsonb_typeof(seen) = 'object' then seen else '{}' end) r "
            "where a.base_model = %s and %s = any (a.task || a.trained_on)",
            (DIGITS, base_model, task),
        ).fetchall()
    return Seen({row for row, _ in rows}, {digits for _, digits in rows if len(digits or "") == DIGITS})


def without_rows(connection: psycopg.Connection[Any], base_model: str) -> list[str]:
    """Names of active adapters whose card does not say which rows they were trained on."""
    with translate_errors():
        rows = connection.execute(
            "select name from loradex.adapters where base_model = %s and state = 'active' "
            "and not jsonb_path_exists(card, 'lax $.**.data.training ? (@.type() == \"object\")') order by name",
            (base_model,),
        ).fetchall()
    return [name for (name,) in rows]


def library_hash(connection: psycopg.Connection[Any], base_model: str, encoder: str) -> str:
    """SHA-256, in hex, of what could answer: active adapters, affinities and their weight, examples."""
    with translate_errors():
        rows = connection.execute(
            "with active as ("
            "select id, sha256::text, share, trained_on from loradex.adapters "
            "where base_model = %s and state = 'active') "
            "select concat_ws(' ', sha256, nullif(share, 1), nullif(trained_on::text, '{}')) from active "
            "union all select concat_ws(' ', name, value) from loradex.settings where kind = 'routing' "
            "union all select concat_ws(' ', f.task, a.sha256, f.score, f.n) from loradex.task_affinities f "
            "join active a on a.id = f.adapter_id "
            "union all select x.sha256::text from loradex.examples x "
            "join loradex.example_embeddings e on e.example_id = x.id where e.encoder = %s order by 1",
            (base_model, encoder),
        ).fetchall()
    return hashlib.sha256("\n".join(row[0] for row in rows).encode()).hexdigest()


def revision() -> str:
    """The code's git revision, with `+` where files were changed since; `unknown` outside a checkout."""
    try:
        _, head, changed = (
            subprocess.run(
                ["git", *arguments],
                cwd=str(files("loradex.evaluation")),
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            for arguments in (
                # A package that merely lies inside somebody's checkout is not tracked there.
                ("ls-files", "--error-unmatch", "store.py"),
                ("rev-parse", "--short=12", "HEAD"),
                ("status", "--porcelain", "-uno"),
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")


def store_cells(connection: psycopg.Connection[Any], run: str, cells: Sequence[Cell]) -> None:
    """Add the cells to `loradex.evaluations`, those left out that this run has there with the very same figure.

    One that was measured anew stands there beside the old one, since no row is changed; the later counts.
    """
    with translate_errors(), connection.cursor() as cursor:
        cursor.executemany(
            "insert into loradex.evaluations (run, setting, method, settings, task, n, score, low, high, "
            "seconds, git_revision, library_hash) "
            "select %(run)s, %(setting)s, %(method)s, %(settings)s, %(task)s, %(n)s, %(score)s, %(low)s, "
            "%(high)s, %(seconds)s, %(revision)s, %(library)s where not exists (select from "
            "loradex.evaluations e where e.run = %(run)s and e.setting = %(setting)s and "
            "e.method = %(method)s and e.task = %(task)s and e.settings = %(settings)s and e.n = %(n)s "
            "and e.score = %(score)s and e.git_revision = %(revision)s)",
            [_row(run, cell) for cell in cells],
        )


def _row(run: str, cell: Cell) -> dict[str, Any]:
    low, high = cell.interval
    return {
        "run": run,
        "setting": cell.setting,
        "method": cell.method,
        "settings": Jsonb(
            {
                **(cell.origin.defaults or {}),
                **cell.options,
                "rows": cell.origin.rows,
                "dtype": cell.origin.dtype,
                "card": cell.card,
                "asked": cell.asked,
            }
        ),
        "task": cell.task,
        "n": cell.n,
        "score": cell.score,
        "low": low,
        "high": high,
        "seconds": cell.seconds,
        "revision": cell.revision,
        "library": cell.origin.library,
    }
