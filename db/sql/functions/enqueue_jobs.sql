-- Accepts a JSON array of jobs, all of them or none; what a job leaves out takes the defaults of loradex.settings. The
-- only door to the queue. Its statements are planned once per session, since a plan made for the very document would
-- copy it. The document comes as text, which is measured by its type, before it is planned for or read; the form for
-- jsonb below is for callers that have one, and Postgres reads it before anything of ours can measure it. An idempotency
-- key that its owner used before gives the older job, however full the queue is: where it has no room for all jobs of a
-- call, only those are counted that would be new (fresh_jobs).
-- Locks: an insert waits for another transaction that just used the same idempotency key. A lock on the queue until
-- commit, waited for 5 s at most: shared, so that calls do not wait for each other, while half of the places are free
-- and the call is so small that every connection could make one like it and fit into the other half; otherwise
-- exclusive, so that none counts past another. Call it in a short READ COMMITTED transaction.
-- An API key with a limit of waiting jobs is locked until commit, before the queue: those who ask with it count one after
-- the other, and nobody else waits for them.
-- Raises: LX001 bad value or shape, or another isolation; LX002 unknown method, task, adapter, encoder or base model;
-- LX007 the key was used for a different job; LX008 the queue is full, or the key's part of it; LX011 and 42501 the API key may not ask.
create or replace function loradex.enqueue_jobs(jobs loradex.call_document)
returns table (ordinal int, job_id uuid, created boolean)
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    defaults jsonb := (
        select jsonb_object_agg(s.name, s.value) from settings s where s.kind = 'job' and s.value is not null);
    max_waiting int := (select s.value from settings s where s.name = 'max_waiting_jobs');
    columns text[] := array(
        select a.attname::text from pg_attribute a where a.attrelid = 'loradex.jobs'::regclass and a.attnum > 0);
    integers text[] := array(select s.name from settings s where s.kind = 'job' and s.type = 'integer');
    asking bigint := current_owner();
    with_key constant bigint := current_key();
    key_takes int;
    wanted int;
    turns bigint[];
    ids uuid[];
    waiting int;
    inserted int;
    shared boolean;
    -- The caller's own.
    patience text := current_setting('lock_timeout');
    clash text;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception using errcode = 'LX001', message =
            'enqueue_jobs counts the queue as it is now; call it in a READ COMMITTED transaction';
    end if;
    perform check_scope('ask');
    perform check_jobs(enqueue_jobs.jobs, defaults);
    wanted := json_array_length(enqueue_jobs.jobs::json);
    if wanted = 0 then
        return;
    end if;

    shared := wanted <= max_waiting / 2 / current_setting('max_connections')::int;
    begin
        perform set_config('lock_timeout', '5s', true);
        if asking is null then
            insert into owners (name, role) select r.rolname, r.oid from pg_roles r where r.rolname = session_user
            on conflict do nothing;
            asking := current_owner();
        end if;
        if with_key is not null then
            select k.max_waiting into key_takes from api_keys k where k.id = with_key;
        end if;
        if key_takes is not null then
            perform from api_keys k where k.id = with_key for no key update;
            select count(*) into waiting
            from (select from loradex.jobs j where j.api_key_id = with_key and j.state = 'queued' limit key_takes) w;
            if waiting + wanted > key_takes
               and waiting + fresh_jobs(enqueue_jobs.jobs::json, asking) > key_takes then
                raise exception using errcode = 'LX008', message = format(
                    '%s jobs of this key wait and it may have %s; wait for some, or hand in fewer', waiting, key_takes);
            end if;
        end if;
        if shared then
            begin
                lock table loradex.queue_lock in share mode;
                select count(*) into waiting
                from (select from loradex.jobs j where j.state = 'queued' limit max_waiting) w;
                if waiting + wanted > max_waiting / 2 then
                    -- Leaving the block this way gives the shared lock back.
                    raise exception using errcode = 'LX008';
                end if;
            exception
                when sqlstate 'LX008' then
                    shared := false;
            end;
        end if;
        if not shared then
            lock table loradex.queue_lock in exclusive mode;
            select count(*) into waiting
            from (select from loradex.jobs j where j.state = 'queued' limit max_waiting) w;
        end if;
        perform set_config('lock_timeout', patience, true);
    exception
        when lock_not_available then
            if fresh_jobs(enqueue_jobs.jobs::json, asking) > 0 then
                raise exception using errcode = 'LX008', message =
                    'the queue must count exactly and a session that enqueued has not committed for 5 s; try again later';
            end if;
            waiting := 0;
    end;
    if waiting + wanted > max_waiting and waiting + fresh_jobs(enqueue_jobs.jobs::json, asking) > max_waiting then
        raise exception using errcode = 'LX008', message = format(
            '%s jobs wait and the queue takes %s; try again later, start more workers, or raise the setting '
            'max_waiting_jobs', waiting, max_waiting);
    end if;

    turns := next_turns(enqueue_jobs.jobs::json, asking, defaults);
    ids := array(select uuidv7() from generate_series(1, wanted));
    insert into loradex.jobs overriding user value
    select r.*
    from json_array_elements(enqueue_jobs.jobs::json) with ordinality e(job, ordinal)
    cross join lateral complete_job(ids[e.ordinal], asking, turns[e.ordinal], e.job::jsonb, defaults, columns, integers) r
    on conflict (owner_id, idempotency_key) where idempotency_key is not null do nothing;
    get diagnostics inserted = row_count;
    if inserted > 0 then
        perform notify_workers();
    end if;
    if inserted = wanted then
        return query select i.ordinal::int, i.id, true from unnest(ids) with ordinality i(id, ordinal);
        return;
    end if;

    -- What was not inserted has a key that was used before, perhaps earlier in this very call. The same words are the same
    -- request, though the defaults were others then; so are other words that come to the same.
    select e.job ->> 'idempotency_key' into clash
    from json_array_elements(enqueue_jobs.jobs::json) with ordinality e(job, ordinal)
    join loradex.jobs old on old.owner_id = asking and old.idempotency_key = e.job ->> 'idempotency_key'
    cross join lateral complete_job(ids[e.ordinal], asking, turns[e.ordinal], e.job::jsonb, defaults, columns, integers) r
    where old.id <> ids[e.ordinal] and old.asked is distinct from r.asked and job_request(old) <> job_request(r)
    limit 1;
    if found then
        raise exception using errcode = 'LX007', message = format(
            'idempotency key %s was used before for a different job; use a new key, or ask the same again', shown(clash));
    end if;
    return query
    select e.ordinal::int, coalesce(fresh.id, old.id), fresh.id is not null
    from json_array_elements(enqueue_jobs.jobs::json) with ordinality e(job, ordinal)
    left join loradex.jobs fresh on fresh.id = ids[e.ordinal]
    left join loradex.jobs old on old.owner_id = asking and old.idempotency_key = e.job ->> 'idempotency_key';
end
$$;
comment on function loradex.enqueue_jobs(loradex.call_document) is
    'Accepts jobs (a JSON array of objects with the fields of loradex.settings), all or none; returns their ids.';
revoke execute on function loradex.enqueue_jobs(loradex.call_document) from public;
grant execute on function loradex.enqueue_jobs(loradex.call_document) to loradex_client, loradex_admin;

create or replace function loradex.enqueue_jobs(jobs jsonb)
returns table (ordinal int, job_id uuid, created boolean)
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
    -- A value that a table keeps compressed is measured as text, by the other form.
    perform check_call_size(pg_column_size(enqueue_jobs.jobs));
    return query select * from enqueue_jobs(enqueue_jobs.jobs::text::call_document);
end
$$;
comment on function loradex.enqueue_jobs(jsonb) is
    'enqueue_jobs for a document that is jsonb already.';
revoke execute on function loradex.enqueue_jobs(jsonb) from public;
grant execute on function loradex.enqueue_jobs(jsonb) to loradex_client, loradex_admin;
