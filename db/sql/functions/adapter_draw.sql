-- When an adapter comes in, in the race for a job among the active adapters that share a task: the smallest number wins.
-- It is -ln(u) / share, where u is a hash of job and adapter, so each wins as often as its share says, and one job is
-- always won by the same one. The number depends on no other adapter: if one comes or goes, only its own jobs change
-- hands. Without a job it is the mean, 1 / share, which the largest share wins.
-- Locks: none. Raises: nothing.
create or replace function loradex.adapter_draw(job_id uuid, sha256 text, share float8) returns float8
language sql immutable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select case
        when adapter_draw.share > 0 is not true then null
        when job_id is null then 1 / share
        -- The first 52 bits as a number between 0 and 1, never either.
        else -ln(((('x' || left(encode(sha256(convert_to(job_id || ' ' || adapter_draw.sha256, 'UTF8')), 'hex'), 13))
                   ::bit(52)::bigint + 0.5) / 2 ^ 52)::float8) / share
        end
$$;
comment on function loradex.adapter_draw(uuid, text, float8) is
    'The number an adapter (by its content hash) draws for a job with its share; of a task''s adapters the smallest wins.';
revoke execute on function loradex.adapter_draw(uuid, text, float8) from public;
grant execute on function loradex.adapter_draw(uuid, text, float8) to loradex_reader, loradex_worker, loradex_admin;
