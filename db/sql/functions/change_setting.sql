-- Changes the default of a job's setting, or a limit; `maximum` moves the end of its range first. Null leaves a thing as
-- it is. A range ends where the type that holds its values does, and takes in the default and what models say in its
-- place (generation_defaults): else who says nothing would get more than who asks. Jobs that are queued keep what they
-- were accepted with.
-- Locks: the setting's row. Raises: LX001 outside its range, or no such range; LX002 unknown setting or name.
create or replace function loradex.change_setting(name text, value jsonb default null, maximum numeric default null)
returns loradex.settings
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    setting settings;
    -- The greatest number that what reads the setting can hold.
    holds numeric;
    complaint text;
begin
    select s.* into setting from settings s where s.name = change_setting.name for update;
    if not found then
        raise exception using errcode = 'LX002', message = format(
            'no setting %s; known are: %s', shown(change_setting.name),
            (select string_agg(s.name, ', ' order by s.name) from settings s));
    end if;
    if maximum is not null then
        holds := case
            when setting.name = 'seed' then 9223372036854775807
            -- Seconds after now, and months before: further there is no timestamp.
            when setting.name = 'deadline' then 9000000000000
            when setting.name = 'retention_months' then 80000
            when setting.type = 'number' then 1e300
            when exists (select from pg_attribute a where a.attrelid = 'loradex.jobs'::regclass
                         and a.attname = setting.name and a.atttypid = 'int2'::regtype) then 32767
            else 2147483647 end;
        -- NaN and infinity sort above every number.
        complaint := case
            when setting.maximum is null then 'its range has no end'
            when change_setting.maximum <= setting.above then format('give one above %s', setting.above)
            when change_setting.maximum > holds or change_setting.maximum < coalesce(setting.minimum, 0)
                then format('give one from %s to %s', coalesce(setting.minimum, setting.above, 0),
                            case when holds = 1e300 then '1e300' else holds::text end)
            when setting.type <> 'number' and change_setting.maximum % 1 <> 0 then 'give a whole number' end;
        if complaint is null then
            update settings s set maximum = change_setting.maximum where s.name = setting.name returning s.* into setting;
            select format('the base model %s says %s; change that with set_generation_defaults, or give a higher one',
                          m.name, m.generation_defaults -> setting.name)
            into complaint
            from base_models m where (m.generation_defaults ->> setting.name)::numeric > setting.maximum
            order by m.name limit 1;
            if value is null and setting.kind = 'job' and setting.value is not null then
                begin
                    perform check_settings(json_build_array(json_build_object(setting.name, setting.value)));
                exception
                    when sqlstate 'LX001' then
                        complaint := format('its default is %s; give a value too', setting.value);
                end;
            elsif value is null and setting.value::numeric > setting.maximum then
                complaint := format('its value is %s; give one too', setting.value);
            end if;
        end if;
        if complaint is not null then
            raise exception using errcode = 'LX001', message = format(
                '%s cannot have the maximum %s: %s', setting.name, change_setting.maximum, complaint);
        end if;
    end if;
    if value is not null and setting.kind = 'job' then
        perform check_settings(json_build_array(json_build_object(setting.name, change_setting.value)));
        if change_setting.value = 'null' and setting.value is not null then
            raise exception using errcode = 'LX001', message = format(
                '%s needs a default; give a value', setting.name);
        end if;
    elsif value is not null and (
            jsonb_typeof(change_setting.value) <> 'number' or pg_column_size(change_setting.value) > 64
            or change_setting.value::numeric % 1 <> 0
            or change_setting.value::numeric not between setting.minimum and setting.maximum) then
        raise exception using errcode = 'LX001', message = format(
            '%s must be a whole number from %s to %s', setting.name, setting.minimum, setting.maximum);
    end if;
    update settings s
    set value = case when change_setting.value is null then s.value else nullif(change_setting.value, 'null') end,
        changed_at = now(), changed_by = session_user
    where s.name = setting.name
    returning s.* into setting;
    return setting;
end
$$;
comment on function loradex.change_setting(text, jsonb, numeric) is
    'Changes the default of a job''s setting, or a limit; returns its row.';
revoke execute on function loradex.change_setting(text, jsonb, numeric) from public;
grant execute on function loradex.change_setting(text, jsonb, numeric) to loradex_admin;
