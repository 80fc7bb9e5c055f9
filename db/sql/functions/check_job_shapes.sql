-- Refuses jobs that are no array of objects with known fields of the right JSON types, so that nothing after it can
-- fail to read them. A field that is null counts as left out.
-- Locks: none. Raises: LX001.
create or replace function loradex.check_job_shapes(jobs jsonb, max_jobs int) returns void
language plpgsql immutable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    shapes constant jsonb := '{
        "kind": "text", "prompt": "text", "choices": "texts", "base_model": "text", "encoder": "text",
        "method": "text", "adapter": "text", "k": "integer", "top_p": "number", "temperature": "number",
        "density": "number", "exclude_tasks": "texts", "exclude_adapters": "texts", "normalization": "text",
        "max_new_tokens": "integer", "sampling_temperature": "number", "sampling_top_p": "number",
        "seed": "bigint", "expected_task": "text", "idempotency_key": "text", "priority": "smallint"}';
    complaint text;
begin
    if jobs is null or jsonb_typeof(jobs) <> 'array' then
        raise exception using errcode = 'LX001', message = 'jobs must be a JSON array of objects, one a job';
    end if;
    if jsonb_array_length(jobs) > max_jobs then
        raise exception using errcode = 'LX001', message = format(
            '%s jobs in one call; give at most %s at a time', jsonb_array_length(jobs), max_jobs);
    end if;

    select format('job %s is a JSON %s; give an object with at least a prompt', e.ordinal, jsonb_typeof(e.job))
    into complaint
    from jsonb_array_elements(jobs) with ordinality e(job, ordinal)
    where jsonb_typeof(e.job) <> 'object'
    order by e.ordinal limit 1;
    if found then
        raise exception using errcode = 'LX001', message = complaint;
    end if;

    select case
        when not shapes ? f.field then format(
            'job %s has an unknown field %s; known are: %s', e.ordinal, left(to_json(f.field)::text, 100),
            (select string_agg(s.key, ', ' order by s.key) from jsonb_each(shapes) s))
        else format('job %s: %s must be %s', e.ordinal, f.field, case shapes ->> f.field
            when 'text' then 'text' when 'texts' then 'an array of texts' when 'number' then 'a finite number'
            else format('a whole number that fits in %s', shapes ->> f.field) end)
        end
    into complaint
    from jsonb_array_elements(jobs) with ordinality e(job, ordinal)
    cross join lateral jsonb_each(e.job) f(field, value)
    where jsonb_typeof(f.value) <> 'null'
      and not coalesce(case shapes ->> f.field
        when 'text' then jsonb_typeof(f.value) = 'string'
        when 'texts' then case when jsonb_typeof(f.value) = 'array' then not exists (
            select from jsonb_array_elements(f.value) one where jsonb_typeof(one) <> 'string') end
        when 'number' then case when jsonb_typeof(f.value) = 'number' then
            f.value = '0' or abs(f.value::numeric) between 1e-300 and 1e300 end
        when 'integer' then case when jsonb_typeof(f.value) = 'number' then
            f.value::numeric % 1 = 0 and f.value::numeric between -2147483648 and 2147483647 end
        when 'bigint' then case when jsonb_typeof(f.value) = 'number' then
            f.value::numeric % 1 = 0 and f.value::numeric between -9223372036854775808 and 9223372036854775807 end
        when 'smallint' then case when jsonb_typeof(f.value) = 'number' then
            f.value::numeric % 1 = 0 and f.value::numeric between -32768 and 32767 end
        end, false)
    order by e.ordinal, f.field limit 1;
    if found then
        raise exception using errcode = 'LX001', message = complaint;
    end if;
end
$$;
comment on function loradex.check_job_shapes(jsonb, int) is
    'Raises LX001 unless jobs is an array of objects with known fields of the right types; internal.';
revoke execute on function loradex.check_job_shapes(jsonb, int) from public;
