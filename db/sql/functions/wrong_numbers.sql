-- What is wrong with the value given for a setting, an object of numbers, as check_settings says it; null: nothing.
-- Sizes are looked at before contents.
-- Locks: none. Raises: nothing.
create or replace function loradex.wrong_numbers(setting loradex.settings, given json) returns text
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
    return case
        when json_typeof(given) <> 'object' then format('%s must be an object of numbers', setting.name)
        -- A number is written in 64 characters at most, and its key in 10. What is longer is not taken apart.
        when pg_column_size(given) > setting.maximum * 100 + 100 then format(
            '%s is too long; give at most %s numbers', setting.name, setting.maximum)
        when (select count(*) from json_object_keys(given)) not between setting.minimum and setting.maximum then format(
            '%s has %s numbers; give at most %s', setting.name, (select count(*) from json_object_keys(given)), setting.maximum)
        when exists (select from json_object_keys(given) key where key !~ '^(0|[1-9][0-9]{0,8})$')
            then format('%s has a key that is no whole number from 0 to 999999999', setting.name)
        when (select count(distinct key) from json_object_keys(given) key)
             < (select count(*) from json_object_keys(given))
            then format('two keys of %s are the same; give each once', setting.name)
        when exists (select from json_each(given) one where json_typeof(one.value) <> 'number'
                     or octet_length(one.value::text) > 64)
            then format('%s must be an object of numbers', setting.name)
        when exists (select from json_each(given) one
                     where abs((one.value #>> '{}')::numeric) > setting.longest
                        or (one.value #>> '{}')::numeric <> 0 and abs((one.value #>> '{}')::numeric) < 1e-300)
            then format('%s has a number that is not from -%s to %s', setting.name, setting.longest, setting.longest)
        end;
end
$$;
comment on function loradex.wrong_numbers(loradex.settings, json) is
    'What is wrong with an object of numbers given for a setting; null: nothing; internal.';
revoke execute on function loradex.wrong_numbers(loradex.settings, json) from public;
grant execute on function loradex.wrong_numbers(loradex.settings, json) to loradex_reader, loradex_worker, loradex_admin;
