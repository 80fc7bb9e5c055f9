-- Refuses the first value that is not what loradex.settings declares for a job's field: an unknown field, another type,
-- outside its range, not one of its options, a name nobody knows. `given` is an array of objects, field to value; null
-- counts as left out. `what` is how the message calls the objects, which are counted then; null: there is one.
-- Sizes are looked at before contents.
-- Locks: none. Raises: LX001 bad value or unknown field; LX002 unknown name.
create or replace function loradex.check_settings(given json, what text default null) returns void
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    longest_key constant int := 64;
    roles constant text[] := '{system,user,assistant}';
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
        when s.type in ('texts', 'strings') then case
            when json_typeof(f.value) <> 'array' then format('%s must be an array of texts', s.name)
            when json_array_length(f.value) < s.minimum then format(
                '%s has too few texts (%s); give at least %s', s.name, json_array_length(f.value), s.minimum)
            when json_array_length(f.value) > s.maximum then format(
                '%s has %s texts; give at most %s', s.name, json_array_length(f.value), s.maximum)
            when exists (select from json_array_elements(f.value) one where json_typeof(one) <> 'string')
                then format('%s must be an array of texts', s.name)
            when (select sum(length(one)) from json_array_elements_text(f.value) one) > s.longest then format(
                '%s have more than %s characters together; shorten them', s.name, s.longest)
            when exists (select from json_array_elements_text(f.value) one
                         where case s.type when 'strings' then one = '' else choice_form(one) = '' end)
                then format('a text of %s is empty; give each a text', s.name)
            when (select count(distinct case s.type when 'strings' then one else choice_form(one) end)
                  from json_array_elements_text(f.value) one)
                 < json_array_length(f.value) then format('two texts of %s are the same; give each once', s.name)
            end
        when s.type = 'messages' then case
            when json_typeof(f.value) <> 'array' then format('%s must be an array of objects with role and content', s.name)
            when json_array_length(f.value) not between s.minimum and s.maximum then format(
                '%s are %s; give %s to %s', s.name, json_array_length(f.value), s.minimum, s.maximum)
            -- A character is written in 12 bytes at most. What is longer is not taken apart.
            when pg_column_size(f.value) > 12 * s.longest + 1000 * s.maximum then format(
                '%s have more than %s characters together; shorten them', s.name, s.longest)
            when exists (select from json_array_elements(f.value) one where json_typeof(one) <> 'object')
                then format('%s must be an array of objects with role and content', s.name)
            when exists (
                select from json_array_elements(f.value) one
                where (select array_agg(key order by key) from json_object_keys(one) key) is distinct from '{content,role}'
                   or json_typeof(one -> 'role') <> 'string' or json_typeof(one -> 'content') <> 'string')
                then format('each of %s has role and content, both texts, and nothing else', s.name)
            when exists (select from json_array_elements(f.value) one where one ->> 'role' <> all (roles))
                then format('a role of %s is none of %s', s.name, array_to_string(roles, ', '))
            when (select sum(length(one ->> 'content')) from json_array_elements(f.value) one) > s.longest then format(
                '%s have more than %s characters together; shorten them', s.name, s.longest)
            when exists (select from json_array_elements(f.value) one where choice_form(one ->> 'content') = '')
                then format('one of %s is empty; leave it out', s.name)
            when f.value -> -1 ->> 'role' <> 'user' then format('the last of %s must be the user''s', s.name)
            end
        when s.type = 'pairs' then case
            when json_typeof(f.value) <> 'object' then format('%s must be an object of texts', s.name)
            -- A character is written in 12 bytes at most. What is longer is not taken apart.
            when pg_column_size(f.value) > s.maximum * (12 * (longest_key + s.longest) + 100) then format(
                '%s is too long; give at most %s pairs, with keys to %s and texts to %s characters',
                s.name, s.maximum, longest_key, s.longest)
            when (select count(*) from json_object_keys(f.value)) not between s.minimum and s.maximum then format(
                '%s has %s pairs; give at most %s', s.name, (select count(*) from json_object_keys(f.value)), s.maximum)
            when (select count(distinct key) from json_object_keys(f.value) key)
                 < (select count(*) from json_object_keys(f.value))
                then format('two keys of %s are the same; give each once', s.name)
            when exists (select from json_object_keys(f.value) key where length(key) > longest_key or key !~ '\S')
                then format('a key of %s must have 1 to %s characters', s.name, longest_key)
            when exists (select from json_each(f.value) pair where json_typeof(pair.value) <> 'string')
                then format('%s must be an object of texts; write numbers as texts', s.name)
            when exists (select from json_each_text(f.value) pair where length(pair.value) > s.longest)
                then format('a text of %s has more than %s characters; shorten it', s.name, s.longest)
            end
        when s.type = 'numbers' then case
            when json_typeof(f.value) <> 'object' then format('%s must be an object of numbers', s.name)
            -- A number is written in 64 characters at most, and its key in 10. What is longer is not taken apart.
            when pg_column_size(f.value) > s.maximum * 100 + 100 then format(
                '%s is too long; give at most %s numbers', s.name, s.maximum)
            when (select count(*) from json_object_keys(f.value)) not between s.minimum and s.maximum then format(
                '%s has %s numbers; give at most %s', s.name, (select count(*) from json_object_keys(f.value)), s.maximum)
            when exists (select from json_object_keys(f.value) key where key !~ '^(0|[1-9][0-9]{0,8})$')
                then format('%s has a key that is no whole number from 0 to 999999999', s.name)
            when (select count(distinct key) from json_object_keys(f.value) key)
                 < (select count(*) from json_object_keys(f.value))
                then format('two keys of %s are the same; give each once', s.name)
            when exists (select from json_each(f.value) one where json_typeof(one.value) <> 'number'
                         or octet_length(one.value::text) > 64)
                then format('%s must be an object of numbers', s.name)
            when exists (select from json_each(f.value) one
                         where abs((one.value #>> '{}')::numeric) > s.longest
                            or (one.value #>> '{}')::numeric <> 0 and abs((one.value #>> '{}')::numeric) < 1e-300)
                then format('%s has a number that is not from -%s to %s', s.name, s.longest, s.longest)
            end
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
        when wrong.complaint is null and s.names is not null and json_typeof(f.value) <> 'null' then (
            select format('%s names no %s %s; known are: %s', s.name, rtrim(s.names, 's'), shown(one), coalesce((
                select string_agg(k.name, ', ' order by k.name) from (
                    select m.name from methods m where s.names = 'methods'
                    union select b.name from base_models b where s.names = 'base_models' and b.retired_at is null
                    union select e.name from encoders e where s.names = 'encoders' and e.retired_at is null
                    union select t.name from tasks t where s.names = 'tasks'
                    union select a.name from adapters a where s.names = 'adapters'
                    order by name limit 50) k), 'none yet'))
            from json_array_elements_text(
                case s.type when 'texts' then f.value else json_build_array(f.value) end) one
            where not case s.names
                when 'methods' then exists (select from methods m where m.name = one)
                when 'base_models' then exists (select from base_models b where b.name = one and b.retired_at is null)
                when 'encoders' then exists (select from encoders e where e.name = one and e.retired_at is null)
                when 'tasks' then exists (select from tasks t where t.name = one)
                when 'adapters' then exists (select from adapters a where a.name = one)
                end
            limit 1)
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
