-- Refuses the first value that is not what loradex.settings declares for a job's field: an unknown field, another type,
-- outside its range, not one of its options, a name nobody knows. `given` is an array of objects, field to value; null
-- counts as left out. `what` is how the message calls the objects, which are counted then; null: there is one.
-- Sizes are looked at before contents. What lists and objects may hold is judged by functions of their own: to make
-- their queries ready took two thirds of the time of a call that has none of them.
-- Locks: none. Raises: LX001 bad value or unknown field; LX002 unknown name.
create or replace function loradex.check_settings(given json, what text default null) returns void
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    found_wrong record;
begin
    select g.ordinal, f.field, wrong.complaint, unknown.complaint as stranger into found_wrong
    from json_array_elements(given) with ordinality g(fields, ordinal)
    cross join lateral json_each(g.fields) f(field, value)
    left join settings s on s.name = f.field and s.kind = 'job'
    -- A text is read once, and not at all where it is longer than its characters could make it (12 bytes each).
    cross join lateral (select case
        when s.type = 'text' and json_typeof(f.value) = 'string'
             and pg_column_size(f.value) <= 12 * coalesce(s.maximum, 1000) + 100 then f.value #>> '{}' end
        offset 0) t(text)
    cross join lateral (select case
        when s.name is null then format('unknown field %s; known are: %s', left(to_json(f.field)::text, 100),
            (select string_agg(k.name, ', ' order by k.name) from settings k where k.kind = 'job'))
        when json_typeof(f.value) = 'null' then null
        when s.type = 'text' then case
            when json_typeof(f.value) <> 'string' then format('%s must be text', s.name)
            when length(t.text) < s.minimum then format('%s is empty; give a text', s.name)
            when t.text is null or length(t.text) > coalesce(s.maximum, 1000) then format(
                '%s has %s; give at most %s', s.name, coalesce(length(t.text) || ' characters', 'too many characters'),
                coalesce(s.maximum, 1000))
            when not (t.text = any (s.options)) then format(
                '%s must be one of %s', s.name, array_to_string(s.options, ', '))
            end
        when s.type in ('texts', 'strings') then wrong_texts(s, f.value)
        when s.type = 'messages' then wrong_messages(s, f.value)
        when s.type = 'pairs' then wrong_pairs(s, f.value)
        when s.type = 'numbers' then wrong_numbers(s, f.value)
        when s.type = 'boolean' then case
            when json_typeof(f.value) <> 'boolean' then format('%s must be true or false', s.name)
            end
        -- Longer than any number that could be in range: it is not read.
        when json_typeof(f.value) <> 'number' or octet_length(f.value::text) > 64
             or (s.type = 'integer' and (f.value #>> '{}')::numeric % 1 <> 0)
             or (f.value #>> '{}')::numeric not between -1e300 and 1e300 or ((f.value #>> '{}')::numeric <> 0 and abs((f.value #>> '{}')::numeric) < 1e-300)
             or (f.value #>> '{}')::numeric < s.minimum or (f.value #>> '{}')::numeric > s.maximum or (f.value #>> '{}')::numeric <= s.above
            then format('%s is %s; give a %s number %s', s.name,
                case when json_typeof(f.value) = 'number' then left(f.value::text, 40) else 'not a number' end,
                case s.type when 'integer' then 'whole' else 'finite' end,
                case when s.above is not null then concat_ws(' and ', 'above ' || s.above, 'at most ' || s.maximum)
                     when s.maximum is not null then format('from %s to %s', s.minimum, s.maximum)
                     else format('of %s or more', s.minimum) end)
        end) wrong(complaint)
    cross join lateral (select case
        when wrong.complaint is null and s.names is not null and json_typeof(f.value) <> 'null'
            then unknown_name(s, f.value)
        end) unknown(complaint)
    where wrong.complaint is not null or unknown.complaint is not null
    order by g.ordinal, wrong.complaint is null, f.field
    limit 1;
    if found then
        raise exception using
            errcode = case when found_wrong.complaint is not null then 'LX001' else 'LX002' end,
            message = case when what is null then '' else format('%s %s: ', what, found_wrong.ordinal) end
                || coalesce(found_wrong.complaint, found_wrong.stranger);
    end if;
end
$$;
comment on function loradex.check_settings(json, text) is
    'Raises LX001 or LX002 for the first value that is not what loradex.settings declares; internal.';
revoke execute on function loradex.check_settings(json, text) from public;
grant execute on function loradex.check_settings(json, text) to loradex_reader, loradex_worker, loradex_admin;
