-- How much tasks overlap: of the neighbours of a task's examples, which share belongs to each task. One row a pair
-- that meets; the rows of a task sum to 1.
-- Locks: none. Raises: LX001 bad k; LX002 unknown encoder.
create or replace function loradex.task_overlap(
    k int default 16, encoder text default 'all-MiniLM-L6-v2', examples_a_task int default null
) returns table (task text, neighbour_task text, share float8, mean_similarity float8)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    select n.task, n.neighbour_task, count(*) / sum(count(*)) over (partition by n.task)::float8, avg(n.similarity)
    from example_neighbours(k, encoder, examples_a_task) n
    group by n.task, n.neighbour_task
    order by n.task, 3 desc;
end
$$;
comment on function loradex.task_overlap(int, text, int) is
    'For every task the share of its examples'' neighbours that belongs to each task: a matrix in rows.';
revoke execute on function loradex.task_overlap(int, text, int) from public;
grant execute on function loradex.task_overlap(int, text, int) to loradex_reader, loradex_worker, loradex_admin;
