-- Accepts an array of jobs, all of them or none; what a job leaves out takes the defaults below. The only door to the
-- queue. An idempotency key that its owner used before gives the older job.
-- Locks: an insert waits for another transaction that just used the same idempotency key. A lock on the queue until
-- commit, waited for 5 s at most: shared, so that calls do not wait for each other, while half of the places are free
-- and the call is so small that every connection could make one like it and fit into the other half; otherwise
-- exclusive, so that none counts past another. Call it in a short transaction of its own, READ COMMITTED.
-- Raises: LX001 bad value or shape; LX002 unknown method, task, adapter, encoder or base model; LX007 the key was used
-- for a different job; LX008 the queue is full.
create or replace function loradex.enqueue_jobs(jobs jsonb)
returns table (ordinal int, job_id uuid, created boolean)
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    bounds limits;
    defaults loradex.jobs;
    requested loradex.jobs[];
    waiting int;
    inserted int;
    shared boolean;
    -- The caller's own.
    patience text := current_setting('lock_timeout');
    clash text;
begin
    select l.* into strict bounds from limits l;
    perform check_job_shapes(enqueue_jobs.jobs, bounds.max_jobs_per_call);

    defaults.owner := session_user;
    defaults.base_model := 'smollm2-135m-instruct';
    defaults.encoder := 'all-MiniLM-L6-v2';
    defaults.method := 'affinity_calibrated_cat';
    defaults.k := 32;
    defaults.top_p := 0.9;
    defaults.temperature := 0.1;
    defaults.density := 0.5;
    defaults.exclude_tasks := '{}';
    defaults.exclude_adapters := '{}';
    defaults.normalization := 'tokens';
    defaults.max_new_tokens := 64;
    defaults.sampling_temperature := 0;
    defaults.sampling_top_p := 1;
    defaults.priority := 0;
    select array_agg(jsonb_populate_record(defaults,
               jsonb_build_object('kind', case when given.job ? 'choices' then 'choose' else 'generate' end)
               || given.job || jsonb_build_object('id', gen_random_uuid()))
               order by given.ordinal)
    into requested
    from (select jsonb_strip_nulls(e.job) as job, e.ordinal
          from jsonb_array_elements(enqueue_jobs.jobs) with ordinality e(job, ordinal)) given;
    if requested is null then
        return;
    end if;
    perform check_jobs(requested, bounds);

    shared := cardinality(requested)
        <= bounds.max_waiting_jobs / 2 / current_setting('max_connections')::int;
    begin
        perform set_config('lock_timeout', '5s', true);
        if shared then
            begin
                perform pg_advisory_xact_lock_shared(hashtext('loradex'), hashtext('queue'));
                select count(*) into waiting
                from (select from loradex.jobs j where j.state = 'queued' limit bounds.max_waiting_jobs) w;
                if waiting + cardinality(requested) > bounds.max_waiting_jobs / 2 then
                    -- Leaving the block this way gives the shared lock back.
                    raise exception using errcode = 'LX008';
                end if;
            exception
                when sqlstate 'LX008' then
                    shared := false;
            end;
        end if;
        if not shared then
            perform pg_advisory_xact_lock(hashtext('loradex'), hashtext('queue'));
            select count(*) into waiting
            from (select from loradex.jobs j where j.state = 'queued' limit bounds.max_waiting_jobs) w;
        end if;
        perform set_config('lock_timeout', patience, true);
    exception
        when lock_not_available then
            raise exception using errcode = 'LX008', message =
                'the queue must count exactly and a session that enqueued has not committed for 5 s; try again later';
    end;
    if waiting + cardinality(requested) > bounds.max_waiting_jobs then
        raise exception using errcode = 'LX008', message = format(
            '%s jobs wait and the queue takes %s; try again later, start more workers, or raise '
            'loradex.limits.max_waiting_jobs', waiting, bounds.max_waiting_jobs);
    end if;

    return query
    with fresh as (
        insert into loradex.jobs as j (
            id, owner, kind, prompt, choices, base_model, encoder, method, adapter, k, top_p, temperature, density,
            exclude_tasks, exclude_adapters, normalization, max_new_tokens, sampling_temperature, sampling_top_p,
            seed, expected_task, idempotency_key, priority)
        select r.id, r.owner, r.kind, r.prompt, r.choices, r.base_model, r.encoder, r.method, r.adapter, r.k,
               r.top_p, r.temperature, r.density, r.exclude_tasks, r.exclude_adapters, r.normalization,
               r.max_new_tokens, r.sampling_temperature, r.sampling_top_p, r.seed, r.expected_task,
               r.idempotency_key, r.priority
        from unnest(requested) r
        on conflict (owner, idempotency_key) where idempotency_key is not null do nothing
        returning j.id
    )
    select place.ordinal, i.id, true
    from fresh i
    join generate_subscripts(requested, 1) place(ordinal) on requested[place.ordinal].id = i.id;
    get diagnostics inserted = row_count;
    if inserted = cardinality(requested) then
        return;
    end if;

    -- What was not inserted has a key that was used before, perhaps earlier in this very call.
    return query
    select place.ordinal, old.id, false
    from generate_subscripts(requested, 1) place(ordinal)
    join loradex.jobs old
        on old.owner = session_user and old.idempotency_key = requested[place.ordinal].idempotency_key
    where old.id <> requested[place.ordinal].id;

    select requested[place.ordinal].idempotency_key into clash
    from generate_subscripts(requested, 1) place(ordinal)
    join loradex.jobs old
        on old.owner = session_user and old.idempotency_key = requested[place.ordinal].idempotency_key
    where job_request(old) <> job_request(requested[place.ordinal])
    limit 1;
    if found then
        raise exception using errcode = 'LX007', message = format(
            'idempotency key %L was used before for a different job; use a new key, or ask the same again', clash);
    end if;
end
$$;
comment on function loradex.enqueue_jobs(jsonb) is
    'Accepts jobs (a JSON array of objects with the columns of loradex.jobs), all or none; returns their ids.';
revoke execute on function loradex.enqueue_jobs(jsonb) from public;
grant execute on function loradex.enqueue_jobs(jsonb) to loradex_client, loradex_admin;
