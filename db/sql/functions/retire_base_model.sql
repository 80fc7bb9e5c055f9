-- Takes a base model out of service: jobs that name it are refused from now on. What it answered stays explained, and
-- registering it again brings it back. Retiring it twice changes nothing.
-- Locks: its row. Raises: LX001 it is the default, or jobs wait for it; LX002 unknown.
create or replace function loradex.retire_base_model(name text) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    waiting bigint;
begin
    if not exists (select from base_models m where m.name = retire_base_model.name for update) then
        raise exception using errcode = 'LX002', message = format(
            'no base model %s; known are: %s', shown(retire_base_model.name),
            coalesce((select string_agg(m.name, ', ' order by m.name) from base_models m), 'none yet'));
    end if;
    if to_jsonb(retire_base_model.name) = (select s.value from settings s where s.name = 'base_model') then
        raise exception using errcode = 'LX001', message = format(
            '%s is the base model of jobs that name none; make another one the default first: '
            'loradex settings set base_model NAME', shown(retire_base_model.name));
    end if;
    select count(*) into waiting from jobs j
    where j.base_model = retire_base_model.name and j.state in ('queued', 'running');
    if waiting > 0 then
        raise exception using errcode = 'LX001', message = format(
            '%s jobs wait for base model %s; let them be answered or end them first', waiting, shown(retire_base_model.name));
    end if;
    update base_models m set retired_at = now() where m.name = retire_base_model.name and m.retired_at is null;
end
$$;
comment on function loradex.retire_base_model(text) is
    'Takes a base model out of service: jobs that name it are refused from now on.';
revoke execute on function loradex.retire_base_model(text) from public;
grant execute on function loradex.retire_base_model(text) to loradex_admin;
