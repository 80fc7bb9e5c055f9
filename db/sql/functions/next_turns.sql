-- The turn of each job of a call, in order: see jobs.turn. Among the jobs of its priority, base model and encoder, which are
-- served one after the other, a job stands behind what its owner has there, and no further ahead than those who wait there.
-- Jobs that no worker takes, or that have another priority, are no measure of how far the others are.
-- Locks: none. Raises: nothing; check_jobs has read the document before.
create or replace function loradex.next_turns(jobs json, owner bigint, defaults jsonb) returns bigint[]
language sql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    with asked as (
        select e.ordinal,
               coalesce(e.job ->> 'priority', defaults ->> 'priority')::numeric::smallint as priority,
               coalesce(e.job ->> 'base_model', defaults ->> 'base_model') as base_model,
               coalesce(e.job ->> 'encoder', defaults ->> 'encoder') as encoder
        from json_array_elements(next_turns.jobs) with ordinality e(job, ordinal)
    ), begun as materialized (
        select c.priority, c.base_model, c.encoder, greatest(
            -- In the order of jobs_turn_index, or where one owner has most of the queue another index would be taken, in
            -- which the next owner's jobs are looked for in vain.
            coalesce((select l.turn
                      from (select j.* from loradex.jobs j
                            where j.state = 'queued' and (j.owner_id, j.base_model, j.encoder, j.priority)
                                  <= (next_turns.owner, c.base_model, c.encoder, c.priority)
                            order by j.owner_id desc, j.base_model desc, j.encoder desc, j.priority desc, j.turn desc
                            limit 1) l
                      where (l.owner_id, l.base_model, l.encoder, l.priority)
                            = (next_turns.owner, c.base_model, c.encoder, c.priority)), 0),
            coalesce((select j.turn - 1 from loradex.jobs j
                      where j.state = 'queued' and j.priority = c.priority and j.base_model = c.base_model
                        and j.encoder = c.encoder
                      order by j.turn, j.queue_position limit 1), 0)) as last
        from (select distinct priority, base_model, encoder from asked) c
    )
    select array_agg(b.last + a.nth order by a.ordinal)
    from (select *, row_number() over (partition by priority, base_model, encoder order by ordinal) as nth from asked) a
    join begun b using (priority, base_model, encoder)
$$;
comment on function loradex.next_turns(json, bigint, jsonb) is
    'The turn of each job of a call, behind what its owner has waiting; internal.';
revoke execute on function loradex.next_turns(json, bigint, jsonb) from public;
