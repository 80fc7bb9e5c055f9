-- Lets one example of each group of near duplicates stand for all in the index of an encoder, which is then as small
-- and as quick to search as if there were no copies. Who stands for whom is in duplicate_of; a search opens the groups
-- it finds. Returns how many examples joined a group.
--
-- One pass in random order (the leader algorithm, Hartigan 1975): an example joins one of its task that is 0.98 alike
-- or more, if there is one, or stands for itself. Groups of before stay. If there were none, and of the first sixteenth
-- (at least 1,000) not one in ten has joined, it ends there and changes nothing: too few are copies.
-- Call it between drop_encoder_index and build_encoder_index, each in a transaction of its own: what joined is written
-- anew, and an index built in the same transaction would hold the old rows too. Vacuum afterwards.
-- Locks: example_embeddings against writes. Raises: LX002 unknown encoder.
create or replace function loradex.group_duplicates(encoder text) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
set hnsw.ef_search = 16
set hnsw.iterative_scan = off
set enable_hashjoin = on
set enable_mergejoin = on
as $$
declare
    -- As duplicate_examples has it.
    farthest constant float8 := 1 - 0.98;
    dimensions constant int := (select e.dimensions from encoders e where e.name = encoder);
    of_before bigint;
    trial bigint;
    looked bigint := 0;
    example record;
    vector halfvec;
    leader bigint;
    joined bigint[] := '{}';
    joined_to bigint[] := '{}';
begin
    if dimensions is null then
        raise exception using errcode = 'LX002', message = format(
            'no encoder %s; register it with loradex.register_encoder', shown(encoder));
    end if;
    lock table example_embeddings in share row exclusive mode;
    execute format(
        'create unlogged table loradex.leaders (example_id bigint, task text, embedding halfvec(%s))', dimensions);
    create index on leaders using hnsw (embedding halfvec_cosine_ops);
    insert into leaders
    select x.example_id, x.task, x.embedding
    from example_embeddings x
    where x.encoder = group_duplicates.encoder
      and x.example_id in (
        select d.duplicate_of from example_embeddings d where d.encoder = group_duplicates.encoder);
    get diagnostics of_before = row_count;

    select greatest(count(*) / 16, 1000) into trial
    from example_embeddings x where x.encoder = group_duplicates.encoder and x.duplicate_of is null;
    -- By the ids alone: with their vectors they would be sorted on disk.
    for example in
        select x.example_id as id, x.task
        from example_embeddings x
        where x.encoder = group_duplicates.encoder and x.duplicate_of is null
          and not exists (select from leaders l where l.example_id = x.example_id)
        order by hashint8(x.example_id)
    loop
        select x.embedding into vector
        from example_embeddings x where x.example_id = example.id and x.encoder = group_duplicates.encoder;
        -- Of the nearest four, since another task may have the same text.
        select n.example_id into leader
        from (
            select l.example_id, l.task, l.embedding <=> vector as distance
            from leaders l order by l.embedding <=> vector limit 4
        ) n
        where n.task = example.task and n.distance <= farthest
        order by n.distance
        limit 1;
        if found then
            joined := joined || example.id;
            joined_to := joined_to || leader;
        else
            insert into leaders values (example.id, example.task, vector);
        end if;
        looked := looked + 1;
        if looked = trial and of_before = 0 and cardinality(joined) < looked / 10 then
            joined := '{}';
            joined_to := '{}';
            exit;
        end if;
    end loop;
    drop table leaders;

    -- In order of the groups, each with who stands for it, so that a group's new rows lie together: opening one then
    -- reads 6 pages, not 30. Joined any other way the rows would come in another order.
    perform set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true);
    update example_embeddings x set duplicate_of = nullif(g.leader, g.example_id)
    from (
        select * from unnest(joined, joined_to) u(example_id, leader)
        union
        select u.leader, u.leader from unnest(joined_to) u(leader)
        order by leader, example_id
    ) g
    where x.example_id = g.example_id and x.encoder = group_duplicates.encoder;
    return cardinality(joined);
end
$$;
comment on function loradex.group_duplicates(text) is
    'Groups near duplicates, so that one of each group stands for all in the index of the encoder.';
revoke execute on function loradex.group_duplicates(text) from public;
grant execute on function loradex.group_duplicates(text) to loradex_admin;
