-- Prolongs the lease of running jobs that are still this worker's, yet not beyond max_held_seconds altogether.
-- Locks: the jobs' rows. Raises: LX001 no lease, or a token that is too short.
create or replace function loradex.extend_lease(
    worker text, job_ids uuid[], lease interval, now timestamptz default now(), token text default null
) returns int
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    mine bytea := claim_hash(token);
    max_held int := (select s.value from settings s where s.name = 'max_held_seconds');
    extended int;
begin
    perform check_lease(lease, extend_lease.now);
    update jobs j
    set lease_until = least(
        extend_lease.now + lease, j.started_at + make_interval(secs => max_held - j.held_seconds))
    where j.id = any (job_ids) and j.state = 'running' and j.worker = extend_lease.worker and j.claim_hash = mine
      and held_seconds(j, extend_lease.now) < max_held;
    get diagnostics extended = row_count;
    return extended;
end
$$;
comment on function loradex.extend_lease(text, uuid[], interval, timestamptz, text) is
    'Prolongs the lease of running jobs that are still this worker''s; returns how many.';
revoke execute on function loradex.extend_lease(text, uuid[], interval, timestamptz, text) from public;
grant execute on function loradex.extend_lease(text, uuid[], interval, timestamptz, text) to loradex_worker;
