-- What is wrong with the value given for a setting, a list of texts, as check_settings says it; null: nothing.
-- Locks: none. Raises: nothing.
create or replace function loradex.wrong_texts(setting loradex.settings, given json) returns text
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
    return case
        when json_typeof(given) <> 'array' then format('%s must be an array of texts', setting.name)
        when json_array_length(given) < setting.minimum then format(
            '%s has too few texts (%s); give at least %s', setting.name, json_array_length(given), setting.minimum)
        when json_array_length(given) > setting.maximum then format(
            '%s has %s texts; give at most %s', setting.name, json_array_length(given), setting.maximum)
        when exists (select from json_array_elements(given) one where json_typeof(one) <> 'string')
            then format('%s must be an array of texts', setting.name)
        when (select sum(length(one)) from json_array_elements_text(given) one) > setting.longest then format(
            '%s have more than %s characters together; shorten them', setting.name, setting.longest)
        when exists (select from json_array_elements_text(given) one
                     where case setting.type when 'strings' then one = '' else choice_form(one) = '' end)
            then format('a text of %s is empty; give each a text', setting.name)
        when (select count(distinct case setting.type when 'strings' then one else choice_form(one) end)
              from json_array_elements_text(given) one)
             < json_array_length(given) then format('two texts of %s are the same; give each once', setting.name)
        end;
end
$$;
comment on function loradex.wrong_texts(loradex.settings, json) is
    'What is wrong with a list of texts given for a setting; null: nothing; internal.';
revoke execute on function loradex.wrong_texts(loradex.settings, json) from public;
grant execute on function loradex.wrong_texts(loradex.settings, json) to loradex_reader, loradex_worker, loradex_admin;
