-- Gives a base model the settings that its texts are written with where a job does not say them, other ones, or none.
-- Jobs that are in the queue keep what they were accepted with, and answers what they were written with.
-- Locks: its row. Raises: LX001 bad value, or a setting that no model may give; LX002 unknown base model.
create or replace function loradex.set_generation_defaults(name text, defaults jsonb) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    -- How tokens are chosen. How many are written at most is what an answer may cost, which is not the model's to say.
    its_own constant text[] := array(
        select s.name from settings s
        where s.kind = 'job' and (s.name like 'sampling\_%' or s.name = 'repetition_penalty') order by s.name);
    given jsonb;
begin
    if defaults is not null and (
        jsonb_typeof(defaults) <> 'object' or pg_column_size(defaults) > 10000 or defaults - its_own <> '{}') then
        raise exception using errcode = 'LX001', message = format(
            'generation defaults are an object of at most 10,000 bytes, of numbers for %s',
            array_to_string(its_own, ', '));
    end if;
    given := nullif(jsonb_strip_nulls(defaults), '{}');
    begin
        perform check_settings(json_build_array(given)) where given is not null;
    exception
        when sqlstate 'LX001' then
            raise exception using errcode = 'LX001', message = format(
                'the generation defaults of %s cannot be kept: %s; leave them out with --no-generation-config',
                shown(set_generation_defaults.name), sqlerrm);
    end;
    -- A whole number is written without a fraction.
    given := (select jsonb_object_agg(g.key, trim_scale((g.value #>> '{}')::numeric)) from jsonb_each(given) g);
    update base_models m set generation_defaults = given where m.name = set_generation_defaults.name;
    if not found then
        raise exception using errcode = 'LX002', message = format(
            'no base model %s; known are: %s', shown(set_generation_defaults.name),
            coalesce((select string_agg(m.name, ', ' order by m.name) from base_models m), 'none yet'));
    end if;
end
$$;
comment on function loradex.set_generation_defaults(text, jsonb) is
    'Gives a base model the settings its texts are written with where a job does not say them; null: none.';
revoke execute on function loradex.set_generation_defaults(text, jsonb) from public;
grant execute on function loradex.set_generation_defaults(text, jsonb) to loradex_admin;
