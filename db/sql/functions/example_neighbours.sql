-- The neighbours of stored examples, without themselves: what the functions of hygiene look at. `examples_a_task`
-- limits how many examples of each task are looked at (null: all); the first in order of id, so that it repeats.
-- Locks: none. Raises: LX001 bad k; LX002 unknown encoder.
create or replace function loradex.example_neighbours(
    k int default 16, encoder text default 'all-MiniLM-L6-v2', examples_a_task int default null
) returns table (
    example_id bigint, task text, rank int, neighbour_id bigint, neighbour_task text, similarity float8
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    chosen bigint[];
    -- Of one chunk.
    ids bigint[];
    tasks text[];
    requests route_request[];
    nearby neighbour[];
begin
    if k is null or k not between 1 and 999 then
        raise exception using errcode = 'LX001', message = format(
            'k is %s; ask for 1 to 999, since an example finds itself', coalesce(k::text, 'null'));
    end if;
    if not exists (select from encoders e where e.name = example_neighbours.encoder) then
        raise exception using errcode = 'LX002', message = format(
            'no encoder %s; known are those of loradex.encoders', shown(encoder));
    end if;
    -- Vectors are fetched a chunk at a time: sorted with all of them, a large library would not fit into memory.
    chosen := array(
        select x.example_id
        from (
            select y.example_id, row_number() over (partition by y.task order by y.example_id) as in_task
            from example_embeddings y where y.encoder = example_neighbours.encoder
        ) x
        where examples_a_task is null or x.in_task <= examples_a_task
        order by x.example_id);
    for start in 1 .. cardinality(chosen) by 256 loop
        ids := chosen[start : start + 255];
        select array_agg(y.task order by i.place),
               array_agg(row(i.place, y.embedding, k + 1, 1, 1, '{}', null, '{}', null)::route_request order by i.place)
        into tasks, requests
        from unnest(ids) with ordinality i(id, place)
        join example_embeddings y on y.example_id = i.id and y.encoder = example_neighbours.encoder;
        nearby := search_examples(requests, encoder);
        return query
        select ids[n.ordinal], tasks[n.ordinal], n.place::int, n.example_id, n.task, n.similarity
        from (
            select m.*, row_number() over (partition by m.ordinal order by m.rank) as place
            from unnest(nearby) m where m.example_id <> ids[m.ordinal]
        ) n
        where n.place <= k;
    end loop;
end
$$;
comment on function loradex.example_neighbours(int, text, int) is
    'The k nearest other examples of every example (or of the first examples_a_task of each task).';
revoke execute on function loradex.example_neighbours(int, text, int) from public;
grant execute on function loradex.example_neighbours(int, text, int) to loradex_reader, loradex_worker, loradex_admin;
