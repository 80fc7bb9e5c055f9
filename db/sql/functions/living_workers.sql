-- The workers that gave a sign of life within the setting worker_silence_seconds.
-- Locks: none. Raises: nothing.
create or replace function loradex.living_workers() returns setof loradex.workers
language sql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select w.* from workers w
    where w.seen_at > now() - make_interval(secs => (
        select s.value::float8 from settings s where s.name = 'worker_silence_seconds'))
$$;
comment on function loradex.living_workers() is 'The workers that gave a sign of life lately.';
revoke execute on function loradex.living_workers() from public;
grant execute on function loradex.living_workers() to loradex_reader, loradex_worker, loradex_admin;
