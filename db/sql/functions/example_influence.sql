-- The answers that an example helped to decide, where it weighed most first.
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
       and not exists (select from retrieved_examples r where r.example_id = example) then
        raise exception using errcode = 'LX002', message = format(
            'no example %s; find its id in loradex.examples', coalesce(example::text, 'null'));
    end if;
    return query
    select a.id, a.created_at, r.rank, r.similarity, v.vote, t.weight, a.prompt
    from retrieved_examples r
    join answers a on a.id = r.answer_id
    join retrievals q on q.answer_id = r.answer_id
    join retrieved_tasks t on t.answer_id = r.answer_id and t.task = r.task
    cross join lateral (
        -- Its share of its task's votes times the task's probability.
        select t.probability * exp(greatest((r.similarity - t.best_similarity) / greatest(q.temperature, 1e-9), -700))
               / sum(exp(greatest((o.similarity - t.best_similarity) / greatest(q.temperature, 1e-9), -700))) as vote
        from retrieved_examples o
        where o.answer_id = r.answer_id and o.task = r.task
    ) v
    where r.example_id = example
    order by v.vote desc, a.position;
end
$$;
comment on function loradex.example_influence(bigint) is
    'Answers an example helped to decide: its rank, its share of all votes, and the weight its task got.';
revoke execute on function loradex.example_influence(bigint) from public;
grant execute on function loradex.example_influence(bigint) to loradex_reader, loradex_worker, loradex_admin;
