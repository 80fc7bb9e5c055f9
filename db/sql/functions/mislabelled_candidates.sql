-- Examples whose neighbours nearly all belong to one other task: filed under the wrong task, or not telling.
-- Locks: none. Raises: LX001 bad k or share; LX002 unknown encoder.
create or replace function loradex.mislabelled_candidates(
    k int default 16, share float8 default 0.9, encoder text default 'all-MiniLM-L6-v2'
) returns table (
    example_id bigint, task text, source_ref text, looks_like text, neighbours_alike int, neighbour_share float8
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    if share is null or not (share > 0.5 and share <= 1) then
        raise exception using errcode = 'LX001', message = format(
            'share is %s; give more than 0.5 and at most 1', coalesce(share::text, 'null'));
    end if;
    return query
    with counted as (
        select n.example_id, n.task, n.neighbour_task, count(*)::int as alike,
               count(*) / sum(count(*)) over (partition by n.example_id)::float8 as part
        from example_neighbours(k, encoder) n
        group by n.example_id, n.task, n.neighbour_task
    )
    select c.example_id, c.task, e.source_ref, c.neighbour_task, c.alike, c.part
    from counted c
    join examples e on e.id = c.example_id
    where c.neighbour_task <> c.task and c.part >= share
    order by c.part desc, c.example_id;
end
$$;
comment on function loradex.mislabelled_candidates(int, float8, text) is
    'Examples of whose k nearest neighbours at least the given share belongs to one other task.';
revoke execute on function loradex.mislabelled_candidates(int, float8, text) from public;
grant execute on function loradex.mislabelled_candidates(int, float8, text) to loradex_reader, loradex_worker, loradex_admin;
