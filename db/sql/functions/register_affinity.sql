-- Keeps how well an adapter answers a task, measured on rows that no adapter was trained on. Measuring again
-- replaces the figure; the adapter is told by its content, so a new version starts without one.
-- Locks: the pair's row. Raises: LX001 score outside 0 to 1, or no rows; LX002 unknown task or adapter.
create or replace function loradex.register_affinity(
    task text, base_model text, sha256 text, score float8, n int
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    -- NaN sorts above every number in Postgres, so it is outside too.
    if score is null or score not between 0 and 1 or coalesce(n, 0) < 1 then
        raise exception using errcode = 'LX001', message = format(
            'an affinity is a score from 0 to 1 over at least one row, not %s over %s',
            coalesce(score::text, 'null'), coalesce(n::text, 'null'));
    end if;
    if not exists (select from tasks t where t.name = register_affinity.task) then
        raise exception using errcode = 'LX002', message = format(
            'no task %s; known are those of loradex.tasks', shown(task));
    end if;
    insert into task_affinities (task, adapter_id, score, n)
    select register_affinity.task, a.id, register_affinity.score, register_affinity.n
    from adapters a
    where a.base_model = register_affinity.base_model and a.sha256 = register_affinity.sha256
    on conflict on constraint task_affinities_pkey do update
    set score = excluded.score, n = excluded.n, measured_at = excluded.measured_at;
    if not found then
        raise exception using errcode = 'LX002', message = format(
            'no adapter with content hash %s for base model %s; register it first',
            shown(sha256), shown(base_model));
    end if;
end
$$;
comment on function loradex.register_affinity(text, text, text, float8, int) is
    'Keeps how well an adapter answers a task: the score on rows it was not trained on.';
revoke execute on function loradex.register_affinity(text, text, text, float8, int) from public;
grant execute on function loradex.register_affinity(text, text, text, float8, int) to loradex_admin;
