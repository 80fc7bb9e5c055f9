-- Takes answers out of the database once an archive holds them, with their jobs, and leaves a note in the chain. What is
-- dropped must be exactly what archivable says, and end with the hash that the archive ends with. As many answers must be
-- erased as there were when the archive was written, or it holds texts that should be gone.
-- Nobody answers while it waits for a lock, so it waits for each for 5 seconds at most, whatever the session says.
-- Locks: the table chain_lock, loradex.answers exclusively, and the rows of the jobs, until the transaction ends.
-- Raises: LX001 no such part, another end, texts erased since, or another isolation; LX008 answers or jobs are in use: try
-- again.
create or replace function loradex.drop_archived(
    before timestamptz, last_hash bytea, erased bigint, files jsonb, now timestamptz default now()
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
    part record;
    partition regclass;
    head record;
    note archives;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception using errcode = 'LX001', message =
            'drop_archived reads the newest link of the chain; call it in a READ COMMITTED transaction';
    end if;
    if jsonb_typeof(files) is distinct from 'object' or pg_column_size(files) > 10000 then
        raise exception using errcode = 'LX001', message = 'files must be an object from file to hash';
    end if;
    begin
        lock table loradex.chain_lock in exclusive mode;
        lock table loradex.answers in access exclusive mode;
        select * into part from archivable(drop_archived.now);
        if part.before is distinct from drop_archived.before or part.last_hash is distinct from drop_archived.last_hash then
            raise exception using errcode = 'LX001', message =
                'what may be archived next is another part of the chain, or ends with another hash; archive it anew';
        end if;
        if part.erased is distinct from drop_archived.erased then
            raise exception using errcode = 'LX001', message = format(
                '%s answers of it are erased, and the archive was written when %s were; archive it anew',
                part.erased, coalesce(drop_archived.erased::text, 'null'));
        end if;
        select * into head from chain_head();
        delete from jobs j using answers a where a.id < first_id(part.before) and j.answer_id = a.id;
    exception
        -- An erasure locks jobs, then answers, and the chain after them.
        when lock_not_available or deadlock_detected then
            raise exception using errcode = 'LX008', message =
                'answers or jobs have been in use for 5 s, so that none can be taken out; try again later';
    end;
    for partition in
        select i.inhrelid::regclass from pg_inherits i
        where i.inhparent = 'loradex.answers'::regclass
          and to_date(right(i.inhrelid::regclass::text, 7), 'YYYY_MM') < (part.before at time zone 'UTC')::date
    loop
        execute format('alter table loradex.answers detach partition %s', partition);
        execute format('drop table %s', partition);
    end loop;

    note.id := uuidv7();
    note.position := head.position + 1;
    note.first_position := part.first_position;
    note.last_position := part.last_position;
    note.last_hash := part.last_hash;
    note.answer_count := part.answers;
    note.before := part.before;
    note.files := drop_archived.files;
    note.login := session_user;
    note.created_at := clock_timestamp();
    note.previous_hash := head.chain_hash;
    note.chain_hash := sha256(note.previous_hash || convert_to(archive_canonical(note), 'UTF8'));
    insert into archives select note.*;
end
$$;
comment on function loradex.drop_archived(timestamptz, bytea, bigint, jsonb, timestamptz) is
    'Takes answers that an archive holds out of the database, with their jobs, and leaves a chained note.';
revoke execute on function loradex.drop_archived(timestamptz, bytea, bigint, jsonb, timestamptz) from public;
grant execute on function loradex.drop_archived(timestamptz, bytea, bigint, jsonb, timestamptz) to loradex_admin;
