-- Refuses a call of enqueue_jobs that is too large, is not an array of objects, or holds a job that says something
-- loradex.settings does not allow or that does not go together. Sizes are looked at before contents.
-- Locks: none. Raises: LX001 bad value or shape; LX002 unknown name.
create or replace function loradex.check_jobs(jobs jsonb, defaults jsonb) returns void
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    max_jobs int := (select s.value from settings s where s.name = 'max_jobs_per_call');
    max_bytes int := (select s.value from settings s where s.name = 'max_call_bytes');
    -- A value that a table keeps compressed is as large as its text.
    bytes int := case when pg_column_compression(check_jobs.jobs) is null then pg_column_size(check_jobs.jobs)
                 else octet_length(check_jobs.jobs::text) end;
    complaint text;
begin
    if bytes > max_bytes then
        raise exception using errcode = 'LX001', message = format(
            'the call has %s bytes of JSON and may have %s (setting max_call_bytes); split it', bytes, max_bytes);
    end if;
    if check_jobs.jobs is null or jsonb_typeof(check_jobs.jobs) <> 'array' then
        raise exception using errcode = 'LX001', message = 'jobs must be a JSON array of objects, one per job';
    end if;
    if jsonb_array_length(check_jobs.jobs) > max_jobs then
        raise exception using errcode = 'LX001', message = format(
            '%s jobs in one call; give at most %s at a time', jsonb_array_length(check_jobs.jobs), max_jobs);
    end if;

    select format('job %s is a JSON %s; give an object with at least a prompt', e.ordinal, jsonb_typeof(e.job))
    into complaint
    from jsonb_array_elements(check_jobs.jobs) with ordinality e(job, ordinal)
    where jsonb_typeof(e.job) <> 'object'
    order by e.ordinal limit 1;
    if found then
        raise exception using errcode = 'LX001', message = complaint;
    end if;

    perform check_settings(check_jobs.jobs, 'job');

    select format('job %s: %s', e.ordinal, wrong.complaint) into complaint
    from jsonb_array_elements(check_jobs.jobs) with ordinality e(job, ordinal)
    cross join lateral (select e.job -> 'choices' <> 'null', coalesce(e.job ->> 'method', defaults ->> 'method'),
        e.job ->> 'adapter', coalesce(e.job ->> 'base_model', defaults ->> 'base_model')
        ) j(choose, method, adapter, base_model)
    cross join lateral (select case
        when coalesce(e.job ->> 'prompt', '') !~ '\S' then 'the prompt is empty; give a question'
        when e.job ->> 'kind' = 'choose' and j.choose is not true
            then 'kind choose needs choices; give at least two'
        when e.job ->> 'kind' = 'generate' and j.choose then 'kind generate takes no choices; use kind choose'
        when j.method = 'own' and j.adapter is null then 'method own needs an adapter; name one'
        when j.method <> 'own' and j.adapter is not null then 'only method own takes an adapter; drop it or use own'
        end) wrong(complaint)
    where wrong.complaint is not null
    order by e.ordinal limit 1;
    if found then
        raise exception using errcode = 'LX001', message = complaint;
    end if;

    select format('job %s: no adapter %L for %s; see `loradex adapter list`', e.ordinal, j.adapter, j.base_model)
    into complaint
    from jsonb_array_elements(check_jobs.jobs) with ordinality e(job, ordinal)
    cross join lateral (select e.job ->> 'adapter', coalesce(e.job ->> 'base_model', defaults ->> 'base_model')
        ) j(adapter, base_model)
    where j.adapter is not null
      and not exists (select from adapters a where a.name = j.adapter and a.base_model = j.base_model)
    order by e.ordinal limit 1;
    if found then
        raise exception using errcode = 'LX002', message = complaint;
    end if;
    -- Defaults name what may not be there yet.
    perform check_settings(jsonb_build_array(jsonb_build_object(
        'base_model', defaults -> 'base_model', 'encoder', defaults -> 'encoder', 'method', defaults -> 'method')));
end
$$;
comment on function loradex.check_jobs(jsonb, jsonb) is
    'Raises LX001 or LX002 unless every job of an enqueue_jobs call is well formed and in range; internal.';
revoke execute on function loradex.check_jobs(jsonb, jsonb) from public;
