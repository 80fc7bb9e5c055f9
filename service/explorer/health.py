"""`/health`: whether questions are answered, by whom, what fails, and whether the chain was looked at."""

from typing import LiteralString

from starlette.responses import Response

from loradex.service.explorer.look import Look

QUEUE: LiteralString = "select * from loradex.queue_health"
WORKERS: LiteralString = """
    select name, living, silent_seconds, base_model, encoder, device, dtype, running, batch_rows, version, started_at,
           count(*) over () as known
    from loradex.worker_health order by living desc, name limit 200"""
FAILURES: LiteralString = """
    select state, error_code, count(*) as questions, max(finished_at) as latest, count(*) over () as known
    from loradex.jobs
    where finished_at >= now() - interval '1 day' and state in ('failed', 'cancelled', 'expired')
    group by state, error_code order by questions desc, error_code limit 50"""
HEAD: LiteralString = "select position, answer_id, chain_hash, created_at from loradex.audit_head()"
VERIFIED: LiteralString = """
    select max(value) filter (where figure = 'chain_verified_seconds') as seconds,
           (max(value) filter (where figure = 'chain_verified_position'))::bigint as position
    from loradex.monitor_figures()"""
TITLES = {
    "queued": "waiting",
    "running": "being answered",
    "living_workers": "living workers",
    "done_last_hour": "answered in the last hour",
    "failed_last_hour": "failed in the last hour",
    "cancelled_last_hour": "cancelled in the last hour",
    "expired_last_hour": "expired in the last hour",
    "unserved": "waiting for a model or encoder that no living worker has",
    "expired_leases": "with a worker that was lost",
    "blocked_sessions": "sessions that wait for a lock",
}
"""Counts of `loradex.queue_health` in words."""

WORRYING = frozenset({"failed_last_hour", "unserved", "expired_leases", "blocked_sessions"})
"""Those that should be 0."""


async def page(look: Look) -> Response:
    """The page."""
    look.require_everything()
    (queue,) = await look.source.rows(QUEUE)
    head = await look.source.rows(HEAD)
    (verified,) = await look.source.rows(VERIFIED)
    return look.page(
        "health.html",
        {
            "queue": queue,
            "titles": TITLES,
            "worrying": WORRYING,
            "workers": await look.source.rows(WORKERS),
            "failures": await look.source.rows(FAILURES),
            "chain": head[0] if head else None,
            "verified": verified,
            "queries": [" ".join(one.split()) + ";" for one in (QUEUE, WORKERS, FAILURES, HEAD, VERIFIED)],
        },
    )
