-- Refuses a call of enqueue_jobs that is not an array of objects, or holds a job that says something
-- loradex.settings does not allow or that does not go together. Sizes are looked at before contents, and the document
-- is read as text that stays text, so that a call needs little more memory than it is long.
-- Locks: none. Raises: LX001 bad value or shape; LX002 unknown name.
create or replace function loradex.check_jobs(jobs text, defaults jsonb) returns void
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    max_jobs int := (select s.value from settings s where s.name = 'max_jobs_per_call');
    document json;
    wrong record;
begin
    document := check_jobs.jobs;
    if document is null or json_typeof(document) <> 'array' then
        raise exception using errcode = 'LX001', message = 'jobs must be a JSON array of objects, one per job';
    end if;
    if json_array_length(document) > max_jobs then
        raise exception using errcode = 'LX001', message = format(
            '%s jobs in one call; give at most %s at a time', json_array_length(document), max_jobs);
    end if;

    select format('job %s is a JSON %s; give an object with at least a prompt', e.ordinal, json_typeof(e.job))
        as complaint
    into wrong
    from json_array_elements(document) with ordinality e(job, ordinal)
    where json_typeof(e.job) <> 'object'
    order by e.ordinal limit 1;
    if found then
        raise exception using errcode = 'LX001', message = wrong.complaint;
    end if;

    perform check_settings(document, 'job');

    select format('job %s: %s', e.ordinal, coalesce(w.complaint, w.stranger)) as message,
           case when w.complaint is not null then 'LX001' else 'LX002' end as code
    into wrong
    from json_array_elements(document) with ordinality e(job, ordinal)
    cross join lateral (select e.job ->> 'choices' is not null, coalesce(e.job ->> 'method', defaults ->> 'method'),
        e.job ->> 'adapter', coalesce(e.job ->> 'base_model', defaults ->> 'base_model'),
        -- What is null was left out.
        case when json_typeof(e.job -> 'messages') = 'array' then e.job -> 'messages' end
        ) j(choose, method, adapter, base_model, messages)
    left join base_models b on b.name = j.base_model
    cross join lateral (select case
        when j.messages is not null and e.job ->> 'prompt' is not null then 'give a prompt or messages, not both'
        when j.messages is null and coalesce(e.job ->> 'prompt', '') !~ '\S' then 'the prompt is empty; give a question'
        when b.chat_template is null and (json_array_length(j.messages) > 1) then format(
            '%s has no chat template, so that it reads one message of the user and no more; give it one: '
            'loradex model register PATH --name %s --messages own', j.base_model, j.base_model)
        when not b.system_role and exists (
            select from json_array_elements(j.messages) one where one ->> 'role' = 'system')
            then format('the chat template of %s has no system message; say it in the first message of the user',
                j.base_model)
        when e.job ->> 'kind' = 'choose' and not j.choose then 'kind choose needs choices; give at least two'
        when e.job ->> 'kind' = 'generate' and j.choose then 'kind generate takes no choices; use kind choose'
        when j.choose and e.job ->> 'logprobs' is not null
            then 'logprobs are of a text that is written, and choices have scores; drop one of them'
        when j.choose and (e.job ->> 'json_schema' is not null or e.job ->> 'regex' is not null)
            then 'json_schema and regex are of a text that is written; drop them, or the choices'
        when e.job ->> 'json_schema' is not null and e.job ->> 'regex' is not null
            then 'give json_schema or regex, not both'
        when e.job ->> 'json_schema' is not null and (case when pg_input_is_valid(e.job ->> 'json_schema', 'json')
                then json_typeof((e.job ->> 'json_schema')::json) end) is distinct from 'object'
            then 'json_schema is not an object in JSON, written as a text'
        when coalesce(e.job ->> 'min_tokens', defaults ->> 'min_tokens')::numeric
             > coalesce(e.job ->> 'max_new_tokens', defaults ->> 'max_new_tokens')::numeric
            then 'min_tokens is more than max_new_tokens; lower it'
        when e.job ->> 'traceparent' !~ '^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$'
            then 'traceparent is no W3C trace context of version 00; leave it out'
        when j.method = 'own' and j.adapter is null then 'method own needs an adapter; name one'
        when j.method <> 'own' and j.adapter is not null then 'only method own takes an adapter; drop it or use own'
        when j.adapter is not null
             and coalesce(case when json_typeof(e.job -> 'exclude_adapters') = 'array'
                               then (e.job -> 'exclude_adapters')::jsonb end,
                          defaults -> 'exclude_adapters') ? j.adapter
            then format('adapter %s is one of exclude_adapters; name another, or take it out there', shown(j.adapter))
        end, case
        when j.adapter is not null and not exists (
            select from adapters a where a.name = j.adapter and a.base_model = j.base_model)
            then format('no adapter %s for %s; see `loradex adapter list`', shown(j.adapter), j.base_model)
        end) w(complaint, stranger)
    where w.complaint is not null or w.stranger is not null
    order by e.ordinal limit 1;
    if found then
        raise exception using errcode = wrong.code, message = wrong.message;
    end if;
    -- Defaults may name what is not there yet.
    if not exists (select from base_models b where b.name = defaults ->> 'base_model')
       or not exists (select from encoders e where e.name = defaults ->> 'encoder') then
        perform check_settings(json_build_array(json_build_object(
            'base_model', coalesce(e.job -> 'base_model', defaults::json -> 'base_model'),
            'encoder', coalesce(e.job -> 'encoder', defaults::json -> 'encoder'))))
        from json_array_elements(document) e(job);
    end if;
exception
    -- What is no JSON, or holds text that Postgres cannot store.
    when data_exception then
        raise exception using errcode = 'LX001', message = format('the call is not valid JSON: %s', sqlerrm);
end
$$;
comment on function loradex.check_jobs(text, jsonb) is
    'Raises LX001 or LX002 unless every job of an enqueue_jobs call is well formed and in range; internal.';
revoke execute on function loradex.check_jobs(text, jsonb) from public;
