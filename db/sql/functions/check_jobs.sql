-- Refuses the first job with a value outside its range or a name nobody knows. Defaults are filled in already.
-- Locks: none. Raises: LX001 bad value; LX002 unknown name.
create or replace function loradex.check_jobs(requested loradex.jobs[], bounds loradex.limits) returns void
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    complaint text;
begin
    select format('job %s: %s', place, wrong.complaint) into complaint
    from generate_subscripts(requested, 1) place
    cross join lateral (select (requested[place]).*) r
    cross join lateral (select case
        when r.prompt is null or r.prompt !~ '\S' then 'the prompt is empty; give a question'
        when length(r.prompt) > bounds.max_prompt_characters then format(
            'the prompt has %s characters; give at most %s', length(r.prompt), bounds.max_prompt_characters)
        when r.kind not in ('generate', 'choose') then 'kind must be generate or choose'
        when r.kind = 'choose' and r.choices is null then 'kind choose needs choices; give at least two'
        when r.kind = 'generate' and r.choices is not null then 'kind generate takes no choices; use kind choose'
        when cardinality(r.choices) < 2 then format(
            '%s choices; give at least two', cardinality(r.choices))
        when cardinality(r.choices) > bounds.max_choices then format(
            '%s choices; give at most %s', cardinality(r.choices), bounds.max_choices)
        when exists (select from unnest(r.choices) c where c !~ '\S') then 'a choice is empty; give every choice a text'
        when (select sum(length(c)) from unnest(r.choices) c) > bounds.max_prompt_characters then format(
            'the choices have more than %s characters; shorten them', bounds.max_prompt_characters)
        when (select count(distinct btrim(c)) from unnest(r.choices) c) < cardinality(r.choices)
            then 'two choices are the same; give each once'
        when r.k not between 1 and 1000 then format('k is %s; ask for 1 to 1000 neighbours', r.k)
        when not (r.top_p > 0 and r.top_p <= 1) then format(
            'top_p is %s; give a share above 0 and at most 1', r.top_p)
        when not (r.temperature > 0) then format('temperature is %s; give a number above 0', r.temperature)
        when not (r.density > 0 and r.density <= 1) then format(
            'density is %s; give a share above 0 and at most 1', r.density)
        when r.normalization not in ('none', 'tokens', 'bytes') then 'normalization must be none, tokens or bytes'
        when r.max_new_tokens not between 1 and bounds.max_new_tokens then format(
            'max_new_tokens is %s; give 1 to %s', r.max_new_tokens, bounds.max_new_tokens)
        when not (r.sampling_temperature between 0 and 100) then format(
            'sampling_temperature is %s; give 0 (greedy) to 100', r.sampling_temperature)
        when not (r.sampling_top_p > 0 and r.sampling_top_p <= 1) then format(
            'sampling_top_p is %s; give a share above 0 and at most 1', r.sampling_top_p)
        when r.seed < 0 then format('seed is %s; give 0 or more', r.seed)
        when r.method = 'own' and r.adapter is null then 'method own needs an adapter; name one'
        when r.method <> 'own' and r.adapter is not null then 'only method own takes an adapter; drop it or use own'
        when r.idempotency_key = '' or length(r.idempotency_key) > 200
            then 'the idempotency key must have 1 to 200 characters'
        end) wrong(complaint)
    where wrong.complaint is not null
    order by place limit 1;
    if found then
        raise exception using errcode = 'LX001', message = complaint;
    end if;

    select format('job %s: %s', place, wrong.complaint) into complaint
    from generate_subscripts(requested, 1) place
    cross join lateral (select (requested[place]).*) r
    cross join lateral (select case
        when not exists (select from methods m where m.name = r.method) then format(
            'no method %L; use one of %s', r.method, (select string_agg(m.name, ', ' order by m.name) from methods m))
        when not exists (select from base_models b where b.name = r.base_model) then format(
            'no base model %L; known are: %s', r.base_model,
            coalesce((select string_agg(b.name, ', ' order by b.name) from base_models b), 'none yet'))
        when not exists (select from encoders e where e.name = r.encoder) then format(
            'no encoder %L; known are: %s', r.encoder,
            coalesce((select string_agg(e.name, ', ' order by e.name) from encoders e), 'none yet'))
        when r.adapter is not null and not exists (
            select from adapters a where a.name = r.adapter and a.base_model = r.base_model) then format(
            'no adapter %L for %s; see `loradex adapter list`', r.adapter, r.base_model)
        when r.expected_task is not null and not exists (select from tasks t where t.name = r.expected_task)
            then format('expected_task names no task %L; known are those of loradex.tasks', r.expected_task)
        when exists (select from unnest(r.exclude_tasks) n where not exists (select from tasks t where t.name = n))
            then 'exclude_tasks names a task nobody knows; known are those of loradex.tasks'
        when exists (
            select from unnest(r.exclude_adapters) n where not exists (select from adapters a where a.name = n))
            then 'exclude_adapters names an adapter nobody knows; see `loradex adapter list`'
        end) wrong(complaint)
    where wrong.complaint is not null
    order by place limit 1;
    if found then
        raise exception using errcode = 'LX002', message = complaint;
    end if;
end
$$;
comment on function loradex.check_jobs(loradex.jobs[], loradex.limits) is
    'Raises LX001 or LX002 for the first job with a value out of range or an unknown name; internal.';
revoke execute on function loradex.check_jobs(loradex.jobs[], loradex.limits) from public;
