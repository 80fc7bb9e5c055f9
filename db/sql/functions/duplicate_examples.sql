-- Pairs of examples that are nearly the same by vector, within a task or across tasks, most alike first. Of each example
-- the 16 nearest others are looked at, so that of a larger group of near duplicates not all pairs are told.
-- Locks: none. Raises: LX001 bad threshold; LX002 unknown encoder.
create or replace function loradex.duplicate_examples(
    threshold float8 default 0.98, encoder text default 'all-MiniLM-L6-v2'
) returns table (
    example_id bigint, task text, duplicate_id bigint, duplicate_task text, similarity float8, same_text boolean
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    if threshold is null or not (threshold > 0 and threshold <= 1) then
        raise exception using errcode = 'LX001', message = format(
            'threshold is %s; give a similarity above 0 and at most 1', coalesce(threshold::text, 'null'));
    end if;
    return query
    with pair as (
        select least(n.example_id, n.neighbour_id) as one, greatest(n.example_id, n.neighbour_id) as other,
               max(n.similarity) as similarity
        from example_neighbours(16, encoder) n
        where n.similarity >= threshold
        group by 1, 2
    )
    select a.id, a.task, b.id, b.task, p.similarity, a.sha256 = b.sha256
    from pair p
    join examples a on a.id = p.one
    join examples b on b.id = p.other
    order by p.similarity desc, a.id, b.id;
end
$$;
comment on function loradex.duplicate_examples(float8, text) is
    'Pairs of examples whose vectors are at least as similar as the threshold, among the 16 nearest of each; most alike first.';
revoke execute on function loradex.duplicate_examples(float8, text) from public;
grant execute on function loradex.duplicate_examples(float8, text) to loradex_reader, loradex_worker, loradex_admin;
