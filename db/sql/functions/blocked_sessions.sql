-- Who waits for a lock in this database and who holds it: one row per waiting session and per session it waits for. It
-- shows logins, programs and times, never a query.
-- Locks: none. Raises: nothing.
create or replace function loradex.blocked_sessions()
returns table (
    waiting_pid int, waiting_login text, waiting_program text, waiting_seconds float8, waits_for text,
    blocking_pid int, blocking_login text, blocking_program text, blocking_state text, blocking_seconds float8
)
language sql stable security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select w.pid, w.usename::text, w.application_name, extract(epoch from clock_timestamp() - l.waitstart)::float8,
           coalesce(l.relation::regclass::text, l.locktype), b.pid, b.usename::text, b.application_name, b.state,
           extract(epoch from clock_timestamp() - b.xact_start)::float8
    from pg_stat_activity w
    join pg_locks l on l.pid = w.pid and not l.granted
    cross join lateral unnest(pg_blocking_pids(w.pid)) blocking(pid)
    join pg_stat_activity b on b.pid = blocking.pid
    where w.datname = current_database()
$$;
comment on function loradex.blocked_sessions() is
    'Who waits for a lock in this database, for how long, and who holds it.';
revoke execute on function loradex.blocked_sessions() from public;
grant execute on function loradex.blocked_sessions() to loradex_reader, loradex_worker, loradex_admin;
