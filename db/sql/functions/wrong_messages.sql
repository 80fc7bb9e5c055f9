-- What is wrong with the value given for a setting, the messages of a conversation, as check_settings says it; null: nothing.
-- Sizes are looked at before contents.
-- Locks: none. Raises: nothing.
create or replace function loradex.wrong_messages(setting loradex.settings, given json) returns text
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    roles constant text[] := '{system,user,assistant}';
begin
    return case
        when json_typeof(given) <> 'array' then format('%s must be an array of objects with role and content', setting.name)
        when json_array_length(given) not between setting.minimum and setting.maximum then format(
            '%s are %s; give %s to %s', setting.name, json_array_length(given), setting.minimum, setting.maximum)
        -- A character is written in 12 bytes at most. What is longer is not taken apart.
        when pg_column_size(given) > 12 * setting.longest + 1000 * setting.maximum then format(
            '%s have more than %s characters together; shorten them', setting.name, setting.longest)
        when exists (select from json_array_elements(given) one where json_typeof(one) <> 'object')
            then format('%s must be an array of objects with role and content', setting.name)
        when exists (
            select from json_array_elements(given) one
            where (select array_agg(key order by key) from json_object_keys(one) key) is distinct from '{content,role}'
               or json_typeof(one -> 'role') <> 'string' or json_typeof(one -> 'content') <> 'string')
            then format('each of %s has role and content, both texts, and nothing else', setting.name)
        when exists (select from json_array_elements(given) one where one ->> 'role' <> all (roles))
            then format('a role of %s is none of %s', setting.name, array_to_string(roles, ', '))
        when (select sum(length(one ->> 'content')) from json_array_elements(given) one) > setting.longest then format(
            '%s have more than %s characters together; shorten them', setting.name, setting.longest)
        when exists (select from json_array_elements(given) one where choice_form(one ->> 'content') = '')
            then format('one of %s is empty; leave it out', setting.name)
        when given -> -1 ->> 'role' <> 'user' then format('the last of %s must be the user''s', setting.name)
        end;
end
$$;
comment on function loradex.wrong_messages(loradex.settings, json) is
    'What is wrong with messages given for a setting; null: nothing; internal.';
revoke execute on function loradex.wrong_messages(loradex.settings, json) from public;
grant execute on function loradex.wrong_messages(loradex.settings, json) to loradex_reader, loradex_worker, loradex_admin;
