-- Takes an encoder out of service: jobs that name it are refused from now on. What it answered stays explained, and
-- registering it again brings it back. Retiring it twice changes nothing.
-- Locks: its row. Raises: LX001 it is the default, or jobs wait for it; LX002 unknown.
create or replace function loradex.retire_encoder(name text) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    waiting bigint;
begin
    if not exists (select from encoders m where m.name = retire_encoder.name for update) then
        raise exception using errcode = 'LX002', message = format(
            'no encoder %s; known are: %s', shown(retire_encoder.name),
            coalesce((select string_agg(m.name, ', ' order by m.name) from encoders m), 'none yet'));
    end if;
    if to_jsonb(retire_encoder.name) = (select s.value from settings s where s.name = 'encoder') then
        raise exception using errcode = 'LX001', message = format(
            '%s is the encoder of jobs that name none; make another one the default first: '
            'loradex settings set encoder NAME', shown(retire_encoder.name));
    end if;
    select count(*) into waiting from jobs j
    where j.encoder = retire_encoder.name and j.state in ('queued', 'running');
    if waiting > 0 then
        raise exception using errcode = 'LX001', message = format(
            '%s jobs wait for encoder %s; let them be answered or end them first', waiting, shown(retire_encoder.name));
    end if;
    update encoders m set retired_at = now() where m.name = retire_encoder.name and m.retired_at is null;
end
$$;
comment on function loradex.retire_encoder(text) is
    'Takes an encoder out of service: jobs that name it are refused from now on.';
revoke execute on function loradex.retire_encoder(text) from public;
grant execute on function loradex.retire_encoder(text) to loradex_admin;
