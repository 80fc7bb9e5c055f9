-- The answers that an example helped to decide, where it weighed most first. It looks at the neighbours of every answer.
-- Locks: none. Raises: LX002 unknown example.
create or replace function loradex.example_influence(example bigint) returns table (
    answer_id uuid, created_at timestamptz, rank int, similarity float8, vote float8, task_weight float8, prompt text
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    if not exists (select from examples e where e.id = example)
       and not exists (select from answers a where a.example_ids @> array[example]) then
        raise exception using errcode = 'LX002', message = format(
            'no example %s; find its id in loradex.examples', coalesce(example::text, 'null'));
    end if;
    return query
    select a.id, a.created_at, r.rank, r.similarity, v.vote, a.task_weights[r.place], a.prompt
    from answers a
    cross join lateral (
        select n.rank, a.similarities[n.rank] as similarity, a.example_tasks[n.rank] as task,
               array_position(a.tasks, a.example_tasks[n.rank]) as place
        from (select array_position(a.example_ids, example) as rank) n
    ) r
    cross join lateral (
        -- Its share of its task's votes times the task's probability.
        select a.probabilities[r.place]
               * exp(greatest((r.similarity - a.task_similarities[r.place]) / greatest(a.temperature, 1e-9), -700))
               / sum(exp(greatest((o.similarity - a.task_similarities[r.place]) / greatest(a.temperature, 1e-9), -700)))
               as vote
        from unnest(a.example_tasks, a.similarities) o(task, similarity)
        where o.task = r.task
    ) v
    where a.example_ids @> array[example] and r.place is not null
    order by v.vote desc, a.position;
end
$$;
comment on function loradex.example_influence(bigint) is
    'Answers an example helped to decide: its rank, its share of all votes, and the weight its task got.';
revoke execute on function loradex.example_influence(bigint) from public;
grant execute on function loradex.example_influence(bigint) to loradex_reader, loradex_worker, loradex_admin;
