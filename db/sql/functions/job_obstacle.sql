-- Why a job does not move: null, or a sentence for whoever waits for it.
-- Locks: none. Raises: nothing.
create or replace function loradex.job_obstacle(job_id uuid) returns text
language sql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select format('no living worker takes jobs of base model %s with encoder %s; start one, or name others',
                  j.base_model, j.encoder)
    from jobs j
    where j.id = job_obstacle.job_id and j.state = 'queued' and not is_served(j.base_model, j.encoder)
$$;
comment on function loradex.job_obstacle(uuid) is
    'Why a job does not move, as a sentence; null if a worker will take it.';
revoke execute on function loradex.job_obstacle(uuid) from public;
grant execute on function loradex.job_obstacle(uuid) to loradex_client, loradex_admin;
