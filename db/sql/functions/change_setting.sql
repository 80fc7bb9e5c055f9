-- Changes the default of a job's setting, or a limit; `maximum` moves the end of its range first. Null leaves a thing as
-- it is. Jobs that are queued keep what they were accepted with.
-- Locks: the setting's row. Raises: LX001 outside its range; LX002 unknown setting or name.
create or replace function loradex.change_setting(name text, value jsonb default null, maximum numeric default null)
returns loradex.settings
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    setting settings;
begin
    select s.* into setting from settings s where s.name = change_setting.name for update;
    if not found then
        raise exception using errcode = 'LX002', message = format(
            'no setting %s; known are: %s', shown(change_setting.name),
            (select string_agg(s.name, ', ' order by s.name) from settings s));
    end if;
    if maximum is not null then
        if setting.maximum is null or change_setting.maximum < coalesce(setting.minimum, setting.above, 0) then
            raise exception using errcode = 'LX001', message = format(
                '%s cannot have the maximum %s', setting.name, change_setting.maximum);
        end if;
        update settings s set maximum = change_setting.maximum where s.name = setting.name returning s.* into setting;
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
