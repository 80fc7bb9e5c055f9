-- What is wrong with the value given for a setting, an object of texts, as check_settings says it; null: nothing.
-- Sizes are looked at before contents.
-- Locks: none. Raises: nothing.
create or replace function loradex.wrong_pairs(setting loradex.settings, given json) returns text
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    longest_key constant int := 64;
begin
    return case
        when json_typeof(given) <> 'object' then format('%s must be an object of texts', setting.name)
        -- A character is written in 12 bytes at most. What is longer is not taken apart.
        when pg_column_size(given) > setting.maximum * (12 * (longest_key + setting.longest) + 100) then format(
            '%s is too long; give at most %s pairs, with keys to %s and texts to %s characters',
            setting.name, setting.maximum, longest_key, setting.longest)
        when (select count(*) from json_object_keys(given)) not between setting.minimum and setting.maximum then format(
            '%s has %s pairs; give at most %s', setting.name, (select count(*) from json_object_keys(given)), setting.maximum)
        when (select count(distinct key) from json_object_keys(given) key)
             < (select count(*) from json_object_keys(given))
            then format('two keys of %s are the same; give each once', setting.name)
        when exists (select from json_object_keys(given) key where length(key) > longest_key or key !~ '\S')
            then format('a key of %s must have 1 to %s characters', setting.name, longest_key)
        when exists (select from json_each(given) pair where json_typeof(pair.value) <> 'string')
            then format('%s must be an object of texts; write numbers as texts', setting.name)
        when exists (select from json_each_text(given) pair where length(pair.value) > setting.longest)
            then format('a text of %s has more than %s characters; shorten it', setting.name, setting.longest)
        end;
end
$$;
comment on function loradex.wrong_pairs(loradex.settings, json) is
    'What is wrong with an object of texts given for a setting; null: nothing; internal.';
revoke execute on function loradex.wrong_pairs(loradex.settings, json) from public;
grant execute on function loradex.wrong_pairs(loradex.settings, json) to loradex_reader, loradex_worker, loradex_admin;
